//! Segments: files of keyed state, sorted by key group, key and state
//! (`docs/formats/segment.md`).
//!
//! A segment is an Arrow IPC file of one flat schema, which ordinary tools read. [`Writer`] writes
//! it with the `arrow-ipc` crate. [`Reader`] reads it by itself: what it refuses it refuses by
//! name, whatever the bytes are, and it looks only at the key groups that are asked for.

mod frame;
mod merge;
mod read;
mod rows;
mod write;

use arrow_schema::{ArrowError, DataType, Field, Schema};
use wasmill_core::checkpoint::{self, Digest, ObjectRef, SegmentKind};
use wasmill_core::encoding::EncodingError;
use wasmill_core::key::KeyGroupRange;

pub use merge::{Merge, Stretch};
pub use read::{Reader, Rows};
pub use rows::for_each_row;
pub use write::{Put, Writer};

/// The version of the format that is written, and the newest that is read: all before it are read
/// too.
pub const FORMAT_VERSION: u32 = 2;

/// Under this name the schema's metadata holds the version.
const VERSION_KEY: &str = "wasmill.segment";
/// Under this name it holds the kinds of the states that the dictionary names, one word each.
const KINDS_KEY: &str = "wasmill.kinds";
/// Under this name it says whether the segment is a base or a delta.
const EXTENT_KEY: &str = "wasmill.extent";
/// How many words the dictionary of kinds had in version 1, where there were no deltas.
const KINDS_V1: usize = 5;

/// Why bytes are no segment, or state cannot be one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// Not the bytes that were written.
    #[error(
        "the segment is damaged: it has {bytes} bytes with the digest {found}, and {bytes_written} \
         bytes with {written} were written"
    )]
    Digest {
        /// How many bytes there are.
        bytes: u64,
        /// Their digest.
        found: Digest,
        /// How many there should be.
        bytes_written: u64,
        /// The digest that they should have.
        written: Digest,
    },
    /// Bytes that are not what the format says.
    #[error("the segment is not what the format says at byte {at}: {what}")]
    Content {
        /// Where, from the start of the file.
        at: usize,
        /// What is wrong there.
        what: String,
    },
    /// Another version of the format.
    #[error(
        "the segment has format version `{version}`, and this program reads up to \
         {FORMAT_VERSION}: use the program that wrote it, or a newer one"
    )]
    Version {
        /// What it says it is.
        version: String,
    },
    /// A base that the manifest calls a delta, or the other way round.
    #[error("the segment says that it is a {found}, and the checkpoint names it as a {named}")]
    Extent {
        /// What it says.
        found: &'static str,
        /// What the manifest says.
        named: &'static str,
    },
    /// Two bases for one key.
    #[error("two segments hold all state of key group {key_group}, and one key stands in both")]
    Twice {
        /// The group.
        key_group: u16,
    },
    /// Changes, and no base before them.
    #[error("the changes of key group {key_group} come without the base that they change")]
    NoBase {
        /// The group.
        key_group: u16,
    },
    /// Nobody stores it.
    #[error("{0}")]
    NotTaken(String),
    /// One key's bytes, or one value, are more than a batch of a segment can hold.
    #[error("a row of {bytes} bytes is too large for a segment")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A value without an encoding.
    #[error("a row of operator `{operator}` cannot be written: {source}")]
    Value {
        /// The operator.
        operator: String,
        /// Why not.
        source: EncodingError,
    },
    /// More states and timers than a segment can name.
    #[error("{count} states are more than a segment can name")]
    TooManyNames {
        /// How many there are.
        count: usize,
    },
    /// The file cannot be put together.
    #[error("the segment cannot be written: {0}")]
    Write(ArrowError),
}

/// What a row is about: a kind, and a name within the kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// The kind.
    pub kind: Kind,
    /// The state's or timer's name in its operator's descriptor; a feature memory's definition.
    pub name: String,
}

/// The kinds of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A value; reducing and aggregating states are values too.
    Value,
    /// An item of a list.
    List,
    /// An entry of a map.
    Map,
    /// A pending timer.
    Timer,
    /// What a declared feature remembers.
    Feature,
    /// Nothing is left of the key.
    Gone,
}

impl Kind {
    /// All of them, by their numbers.
    const ALL: [Self; 6] = [
        Self::Value,
        Self::List,
        Self::Map,
        Self::Timer,
        Self::Feature,
        Self::Gone,
    ];

    /// The word that stands in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
            Self::Timer => "timer",
            Self::Feature => "feature",
            Self::Gone => "gone",
        }
    }
}

/// A row of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// The key group.
    pub key_group: u16,
    /// The key's bytes.
    pub key: &'a [u8],
    /// What it is about: a position among the segment's addresses.
    pub address: usize,
    /// A map's key; a list item's position, four bytes, most significant first.
    pub entry: Option<&'a [u8]>,
    /// The value; timers have none.
    pub value: Option<&'a [u8]>,
    /// When the value was written, by the clock of its time to live, if it has one; when a timer is
    /// due. Microseconds.
    pub time: Option<i64>,
}

/// A segment that has been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The file.
    pub bytes: Vec<u8>,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Whether it changes what earlier ones say.
    pub kind: SegmentKind,
    /// The key groups that it covers.
    pub range: KeyGroupRange,
    /// Where each of them begins, and the last one ends.
    pub offsets: Vec<u64>,
    /// How many rows it has.
    pub rows: u64,
}

impl Encoded {
    /// How a manifest names the segment, once it is stored as `name`.
    pub fn segment(&self, name: String) -> checkpoint::Segment {
        checkpoint::Segment {
            object: ObjectRef {
                name,
                bytes: self.bytes.len() as u64,
                digest: self.digest,
            },
            kind: self.kind,
            range: self.range,
            offsets: self.offsets.clone(),
        }
    }
}

/// The word for a segment's kind, in files and errors.
fn extent(kind: SegmentKind) -> &'static str {
    match kind {
        SegmentKind::Base => "base",
        SegmentKind::Delta => "delta",
    }
}

/// The columns, in order. Readers know them by their places.
fn schema(kind: SegmentKind, addresses: &[Address]) -> Schema {
    let word = |bits| DataType::Dictionary(Box::new(bits), Box::new(DataType::Utf8));
    let fields = vec![
        Field::new("key_group", DataType::UInt16, false),
        Field::new("key", DataType::Binary, false),
        Field::new("kind", word(DataType::UInt8), false),
        Field::new("state", word(DataType::UInt16), false),
        Field::new("entry", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("time", DataType::Int64, true),
    ];
    let kinds: Vec<&str> = addresses.iter().map(|of| of.kind.name()).collect();
    let metadata = [
        (VERSION_KEY.to_owned(), FORMAT_VERSION.to_string()),
        (KINDS_KEY.to_owned(), kinds.join(" ")),
        (EXTENT_KEY.to_owned(), extent(kind).to_owned()),
    ];
    Schema::new(fields).with_metadata(metadata.into())
}

#[cfg(test)]
mod tests;

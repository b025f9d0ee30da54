//! The bytes of a log's entry: a line of JSON and a line with its checksum.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::{AttemptStart, Digest, Manifest, Name, Place, Position, Scope};

/// The version of the format that is written, and the newest that is read.
pub const FORMAT_VERSION: u32 = 1;

/// The longest entry: one that is longer is damaged or hostile.
pub const ENTRY_BYTES_MAX: usize = 64 << 20;

/// What the checksum's line begins with.
const CHECKSUM: &[u8] = b"sha256:";

/// An entry of a job's log.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// An attempt has begun.
    Attempt(Box<AttemptStart>),
    /// A checkpoint has been decided.
    Checkpoint(Box<Manifest>),
}

/// Why bytes are no entry of a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Too long.
    #[error("it has {bytes} bytes, an entry has at most {ENTRY_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The lines are not there.
    #[error("it is cut off: it does not end with a line `sha256:` and 64 hexadecimal digits")]
    CutOff,
    /// The bytes are not those that were written.
    #[error("it is damaged: its checksum is {found}, and {written} was written")]
    Checksum {
        /// What the bytes give.
        found: Digest,
        /// What stands there.
        written: Digest,
    },
    /// Another format.
    #[error(
        "it is a `{kind}` of format version {version}, and this program reads up to \
         {FORMAT_VERSION}: use the program that wrote it, or a newer one"
    )]
    Version {
        /// What it says it is.
        kind: String,
        /// Its version.
        version: u32,
    },
    /// Whole, but not what the format says.
    #[error("it is whole, but no entry of a checkpoint log: {0}")]
    Content(String),
    /// Another job's, or another number's.
    #[error("it says that it is {found}, and it was found at {expected}: it has been moved")]
    Elsewhere {
        /// The name that it gives itself.
        found: String,
        /// The name that was read.
        expected: String,
    },
}

/// What is read before anything else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    wasmill: String,
    version: u32,
    #[serde(rename = "body")]
    _body: IgnoredAny,
}

/// The line of JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<T> {
    wasmill: String,
    version: u32,
    body: T,
}

impl Entry {
    /// Where it stands.
    pub fn place(&self) -> &Place {
        match self {
            Self::Attempt(start) => &start.place,
            Self::Checkpoint(manifest) => &manifest.place,
        }
    }

    /// Its bytes. The digest by which others name it is that of all of them.
    pub fn encode(&self) -> Vec<u8> {
        let line = match self {
            Self::Attempt(start) => to_line("attempt", start.as_ref()),
            Self::Checkpoint(manifest) => to_line("manifest", manifest.as_ref()),
        };
        let checksum = Digest::of(&line);
        let mut bytes = line;
        bytes.push(b'\n');
        bytes.extend_from_slice(CHECKSUM);
        bytes.extend_from_slice(checksum.to_string().as_bytes());
        bytes.push(b'\n');
        bytes
    }

    /// Reads bytes from a store: they may be anything.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let line = checked_line(bytes)?;
        let content = |error: serde_json::Error| EntryError::Content(error.to_string());
        let header: Header = serde_json::from_slice(line).map_err(content)?;
        let (kind, version) = (header.wasmill, header.version);
        if version != FORMAT_VERSION {
            return Err(EntryError::Version { kind, version });
        }
        let entry = match kind.as_str() {
            "attempt" => {
                let document: Document<Box<AttemptStart>> =
                    serde_json::from_slice(line).map_err(content)?;
                Self::Attempt(document.body)
            }
            "manifest" => {
                let document: Document<Box<Manifest>> =
                    serde_json::from_slice(line).map_err(content)?;
                Self::Checkpoint(document.body)
            }
            _ => return Err(EntryError::Content(format!("there is no kind `{kind}`"))),
        };
        entry.check().map_err(EntryError::Content)?;
        Ok(entry)
    }

    /// Reads the bytes that were found at a place of a log.
    pub fn decode_at(scope: &Scope, position: Position, bytes: &[u8]) -> Result<Self, EntryError> {
        let entry = Self::decode(bytes)?;
        let place = entry.place();
        if place.is_of(scope) && place.position == position {
            return Ok(entry);
        }
        let found = Scope::new(&place.tenant, &place.job, place.range);
        let found = found.map_or_else(
            |error| error.to_string(),
            |scope| scope.entry(place.position),
        );
        Err(EntryError::Elsewhere {
            found,
            expected: scope.entry(position),
        })
    }

    /// What the types alone do not say.
    fn check(&self) -> Result<(), String> {
        let place = self.place();
        if place.range.start >= place.range.end {
            return Err("a log of no key groups".into());
        }
        if place.previous.is_none() != (place.position == Position::FIRST) {
            return Err("only the first entry has no predecessor".into());
        }
        let rising = |pair: &[super::Decided]| pair[0].checkpoint < pair[1].checkpoint;
        if !place.decided.windows(2).all(rising) {
            return Err("the decided checkpoints do not rise".into());
        }
        match self {
            Self::Attempt(_) => Ok(()),
            Self::Checkpoint(manifest) => manifest.check(),
        }
    }
}

impl Manifest {
    /// What the types alone do not say.
    fn check(&self) -> Result<(), String> {
        let before = self.place.decided.last();
        if before.is_some_and(|before| before.checkpoint >= self.checkpoint) {
            return Err("its number is not above those decided before".into());
        }
        for object in self.objects() {
            if !matches!(Name::parse(&object.name), Name::Object { .. }) {
                return Err(format!("`{}` is no object's name", object.name));
            }
        }
        let segments = self.operators.values().flat_map(|state| &state.segments);
        for segment in segments {
            let (offsets, range) = (&segment.offsets, segment.range);
            let spans = usize::from(range.end).checked_sub(usize::from(range.start));
            let counted = offsets.is_empty() || Some(offsets.len()) == spans.map(|count| count + 1);
            let ordered = offsets.is_sorted() && offsets.last() <= Some(&segment.object.bytes);
            if spans.is_none() || !counted || !ordered {
                return Err(format!(
                    "the key groups of `{}` are wrong",
                    segment.object.name
                ));
            }
        }
        Ok(())
    }
}

/// One line of JSON: no line break stands in it, since JSON text escapes them.
fn to_line<T: Serialize>(kind: &str, body: &T) -> Vec<u8> {
    let document = Document {
        wasmill: kind.to_owned(),
        version: FORMAT_VERSION,
        body,
    };
    serde_json::to_vec(&document).expect("keys are text and nothing fails to serialize")
}

/// The first line, if the second is its checksum and nothing follows.
fn checked_line(bytes: &[u8]) -> Result<&[u8], EntryError> {
    if bytes.len() > ENTRY_BYTES_MAX {
        let bytes = bytes.len();
        return Err(EntryError::TooLong { bytes });
    }
    let checksum_at = bytes.len().checked_sub(CHECKSUM.len() + 65);
    let (head, tail) = bytes.split_at(checksum_at.ok_or(EntryError::CutOff)?);
    let line = head.strip_suffix(b"\n").ok_or(EntryError::CutOff)?;
    let written = tail
        .strip_prefix(CHECKSUM)
        .and_then(|tail| tail.strip_suffix(b"\n"));
    let written = written.and_then(|digits| Digest::parse(str::from_utf8(digits).ok()?));
    let written = written.ok_or(EntryError::CutOff)?;
    let found = Digest::of(line);
    if found == written {
        Ok(line)
    } else {
        Err(EntryError::Checksum { found, written })
    }
}

#[cfg(test)]
mod tests;

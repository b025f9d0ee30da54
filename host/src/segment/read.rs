//! Reading a segment.

use arrow_ipc::{Endianness, MessageHeader, Schema, Type};
use bytes::Bytes;
use wasmill_core::checkpoint::{self, Digest, SegmentKind};
use wasmill_core::key::KeyGroupRange;

use super::frame::{Buffers, Frame, Strings, frame, is_valid, wrong};
use super::{
    Address, EXTENT_KEY, FORMAT_VERSION, KINDS_KEY, KINDS_V1, Kind, Row, SegmentError, VERSION_KEY,
    extent, schema,
};

/// What an Arrow IPC file begins and ends with.
const MAGIC: &[u8] = b"ARROW1";
/// Where its first message stands.
const FIRST: usize = 8;

/// A segment whose bytes are at hand.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    addresses: Vec<Address>,
    kind: SegmentKind,
    /// Where the rows begin.
    start: usize,
    /// The key groups and where each begins, if that is known.
    pub(super) index: Option<(KeyGroupRange, Vec<u64>)>,
}

/// Rows of one key group, in the segment's order.
pub struct Rows<'a> {
    len: usize,
    key_group: u16,
    keys: Strings<'a>,
    states: &'a [[u8; 2]],
    entries: Strings<'a>,
    values: Strings<'a>,
    times: (&'a [[u8; 8]], Option<&'a [u8]>),
}

impl Reader {
    /// A segment as a manifest names it. All of its bytes are compared with the manifest's digest
    /// before any is believed.
    ///
    /// # Errors
    /// If they are not those that were written, or of another version.
    pub fn open(bytes: Bytes, segment: &checkpoint::Segment) -> Result<Self, SegmentError> {
        let (found, written) = (Digest::of(&bytes), segment.object.digest);
        if bytes.len() as u64 != segment.object.bytes || found != written {
            return Err(SegmentError::Digest {
                bytes: bytes.len() as u64,
                found,
                bytes_written: segment.object.bytes,
                written,
            });
        }
        let mut reader = Self::parse(bytes)?.expect_kind(segment.kind)?;
        let offsets = segment.offsets.clone();
        reader.index = (!offsets.is_empty()).then_some((segment.range, offsets));
        Ok(reader)
    }

    /// A segment by itself, for tools: whether its bytes are those that were written is not known.
    ///
    /// # Errors
    /// If they are no segment.
    pub fn parse(bytes: Bytes) -> Result<Self, SegmentError> {
        if !bytes.starts_with(MAGIC) || !bytes.ends_with(MAGIC) {
            return Err(wrong(0, "it does not begin and end with `ARROW1`"));
        }
        let first = expect(&bytes, FIRST)?;
        let header = first.message.header_as_schema();
        let header = header.ok_or_else(|| wrong(first.at, "it has no schema"))?;
        let head = check_schema(header, first.at)?;
        let (kinds, at) = words(&bytes, first.next, Kind::ALL.len())?;
        let names_max = usize::from(u16::MAX);
        let (names, at) = words(&bytes, at, names_max)?;
        if kinds != Kind::ALL.map(Kind::name)[..head.kinds] {
            return Err(wrong(at, "its kinds are not those of the format"));
        }
        if names.len() != head.names.len() {
            return Err(wrong(
                at,
                "it names more or fewer states than it has kinds of",
            ));
        }
        let addresses = head.names.into_iter().zip(names);
        Ok(Self {
            addresses: addresses
                .map(|(kind, name)| Address { kind, name })
                .collect(),
            kind: head.kind,
            start: at,
            index: None,
            bytes,
        })
    }

    /// Itself, if it is what a manifest says that it is.
    ///
    /// # Errors
    /// If it is a delta and not a base, or the other way round.
    pub fn expect_kind(self, named: SegmentKind) -> Result<Self, SegmentError> {
        if self.kind != named {
            return Err(SegmentError::Extent {
                found: extent(self.kind),
                named: extent(named),
            });
        }
        Ok(self)
    }

    /// What its rows are about.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Whether it changes what earlier ones say.
    pub fn kind(&self) -> SegmentKind {
        self.kind
    }

    /// Whether it may have rows of a key group.
    pub fn covers(&self, key_group: u16) -> bool {
        let index = self.index.as_ref();
        index.is_none_or(|(range, _)| range.contains(key_group))
    }

    /// The rows of a range of key groups, batch by batch.
    ///
    /// Each batch may be an error: bytes that are not what the format says.
    pub fn rows(
        &self,
        range: KeyGroupRange,
    ) -> impl Iterator<Item = Result<Rows<'_>, SegmentError>> + use<'_> {
        let (mut at, end) = self.stretch(range);
        std::iter::from_fn(move || {
            while at < end {
                let next = match frame(&self.bytes, at) {
                    Ok(Some(frame)) => {
                        at = frame.next;
                        self.batch(&frame)
                    }
                    Ok(None) => return None,
                    Err(error) => Err(error),
                };
                match next {
                    Ok(rows) if !range.contains(rows.key_group) || rows.len == 0 => {}
                    Ok(rows) => return Some(Ok(rows)),
                    Err(error) => {
                        at = end;
                        return Some(Err(error));
                    }
                }
            }
            None
        })
    }

    /// Where the rows of some key groups stand in the file.
    fn stretch(&self, range: KeyGroupRange) -> (usize, usize) {
        let Some((own, offsets)) = &self.index else {
            return (self.start, self.bytes.len());
        };
        let (first, last) = (range.start.max(own.start), range.end.min(own.end));
        let offset = |group: u16| offsets.get(usize::from(group - own.start)).copied();
        if first >= last {
            return (0, 0);
        }
        let place = |group: u16| offset(group).and_then(|at| usize::try_from(at).ok());
        match (place(first), place(last)) {
            (Some(start), Some(end)) => (start.max(self.start), end),
            _ => (self.start, self.bytes.len()),
        }
    }

    fn batch<'a>(&'a self, frame: &Frame<'a>) -> Result<Rows<'a>, SegmentError> {
        let header = frame.message.header_as_record_batch();
        let header = header.ok_or_else(|| wrong(frame.at, "it is no batch of rows"))?;
        let mut columns = Buffers::new(frame, header)?;
        let groups = columns.fixed(2)?.as_chunks::<2>().0;
        let keys = columns.strings()?;
        let kinds = columns.fixed(1)?;
        let states = columns.fixed(2)?.as_chunks::<2>().0;
        let (entries, values) = (columns.strings()?, columns.strings()?);
        let (times, timed) = columns.nullable(8)?;
        if keys.has_nulls() {
            return Err(wrong(frame.at, "a row has no key"));
        }
        if groups.iter().any(|group| *group != groups[0]) {
            return Err(wrong(frame.at, "a batch has rows of two key groups"));
        }
        for (kind, state) in kinds.iter().zip(states) {
            let address = self.addresses.get(usize::from(u16::from_le_bytes(*state)));
            if address.is_none_or(|address| address.kind as u8 != *kind) {
                return Err(wrong(frame.at, "a row is about a state that is not named"));
            }
        }
        Ok(Rows {
            len: columns.rows,
            key_group: groups.first().map_or(0, |group| u16::from_le_bytes(*group)),
            keys,
            states,
            entries,
            values,
            times: (times.as_chunks().0, timed),
        })
    }
}

impl<'a> Rows<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Their key group.
    pub fn key_group(&self) -> u16 {
        self.key_group
    }

    /// The key of one of them.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline]
    pub fn key(&self, at: usize) -> &'a [u8] {
        self.keys.get(at).unwrap_or_default()
    }

    /// One of them.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline]
    pub fn get(&self, at: usize) -> Row<'a> {
        let (times, timed) = self.times;
        Row {
            key_group: self.key_group,
            key: self.key(at),
            address: usize::from(u16::from_le_bytes(self.states[at])),
            entry: self.entries.get(at),
            value: self.values.get(at),
            time: is_valid(timed, at).then(|| i64::from_le_bytes(times[at])),
        }
    }
}

fn expect(bytes: &[u8], at: usize) -> Result<Frame<'_>, SegmentError> {
    frame(bytes, at)?.ok_or_else(|| wrong(at, "it ends before its rows"))
}

/// What the schema says beside its columns.
struct Head {
    kind: SegmentKind,
    /// How many words the dictionary of kinds has.
    kinds: usize,
    /// The kinds of the named states.
    names: Vec<Kind>,
}

/// Checks that the columns are the format's, and gives what else the schema says.
fn check_schema(found: Schema<'_>, at: usize) -> Result<Head, SegmentError> {
    let entry = |key: &str| {
        let entries = found.custom_metadata().into_iter().flatten();
        let mut of_key = entries.filter(|entry| entry.key() == Some(key));
        of_key.next().and_then(|entry| entry.value())
    };
    let version = entry(VERSION_KEY).ok_or_else(|| wrong(at, "its schema has no version"))?;
    let number = version.parse().ok();
    let number = number.filter(|number| (1..=FORMAT_VERSION).contains(number));
    let Some(number) = number else {
        let version = version.chars().take(32).collect();
        return Err(SegmentError::Version { version });
    };
    let (kind, kinds) = match (number, entry(EXTENT_KEY)) {
        (1, _) => (SegmentKind::Base, KINDS_V1),
        (_, Some("base")) => (SegmentKind::Base, Kind::ALL.len()),
        (_, Some("delta")) => (SegmentKind::Delta, Kind::ALL.len()),
        _ => return Err(wrong(at, "it is neither a base nor a delta")),
    };
    let types = [
        Type::Int,
        Type::Binary,
        Type::Utf8,
        Type::Utf8,
        Type::Binary,
        Type::Binary,
        Type::Int,
    ];
    let schema = schema(kind, &[]);
    let expected = schema.fields().iter().zip(types);
    let fields = found.fields().into_iter().flatten();
    let fields: Vec<_> = fields
        .map(|field| {
            (
                field.name(),
                field.type_type(),
                field.dictionary().is_some(),
            )
        })
        .collect();
    let is_word = |name: &str| matches!(name, "kind" | "state");
    let expected: Vec<_> = expected
        .map(|(field, of)| (Some(field.name().as_str()), of, is_word(field.name())))
        .collect();
    if fields != expected || found.endianness() != Endianness::Little {
        return Err(wrong(at, "its columns are not those of the format"));
    }
    let known = &Kind::ALL[..kinds];
    let words = entry(KINDS_KEY).unwrap_or_default().split_whitespace();
    let of_word = |word: &str| known.iter().copied().find(|kind| kind.name() == word);
    let names = words.map(|word| of_word(word).ok_or_else(|| wrong(at, "a kind is unknown")));
    Ok(Head {
        kind,
        kinds,
        names: names.collect::<Result<_, _>>()?,
    })
}

/// The words of a dictionary, and where the next message stands.
fn words(bytes: &[u8], at: usize, count_max: usize) -> Result<(Vec<String>, usize), SegmentError> {
    let frame = expect(bytes, at)?;
    let header = match frame.message.header_type() {
        MessageHeader::DictionaryBatch => frame.message.header_as_dictionary_batch(),
        _ => None,
    };
    let header = header.and_then(|header| header.data());
    let header = header.ok_or_else(|| wrong(at, "a dictionary is missing"))?;
    let mut columns = Buffers::new(&frame, header)?;
    let strings = columns.strings()?;
    if columns.rows > count_max {
        return Err(wrong(at, "a dictionary has too many words"));
    }
    let word = |row: usize| {
        let word = strings.get(row).and_then(|word| str::from_utf8(word).ok());
        let word = word.ok_or_else(|| wrong(at, "a word of a dictionary is not UTF-8"))?;
        Ok(word.to_owned())
    };
    let words = (0..columns.rows).map(word);
    Ok((words.collect::<Result<_, _>>()?, frame.next))
}

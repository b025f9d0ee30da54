//! Reading a segment.

use arrow_ipc::{Endianness, MessageHeader, Schema, Type};
use bytes::Bytes;
use wasmill_core::checkpoint::{self, Digest, SegmentKind};
use wasmill_core::key::KeyGroupRange;

use super::frame::{Buffers, Frame, Strings, frame, is_valid, wrong};
use super::{Address, FORMAT_VERSION, KINDS_KEY, Kind, Row, SegmentError, VERSION_KEY, schema};

/// What an Arrow IPC file begins and ends with.
const MAGIC: &[u8] = b"ARROW1";
/// Where its first message stands.
const FIRST: usize = 8;

/// A segment whose bytes are at hand.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    addresses: Vec<Address>,
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
        if segment.kind == SegmentKind::Delta {
            return Err(SegmentError::Delta);
        }
        let mut reader = Self::parse(bytes)?;
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
        let of_names = check_schema(header, first.at)?;
        let (kinds, at) = words(&bytes, first.next, Kind::ALL.len())?;
        let names_max = usize::from(u16::MAX);
        let (names, at) = words(&bytes, at, names_max)?;
        if kinds != Kind::ALL.map(Kind::name) {
            return Err(wrong(at, "its kinds are not those of the format"));
        }
        if names.len() != of_names.len() {
            return Err(wrong(
                at,
                "it names more or fewer states than it has kinds of",
            ));
        }
        let addresses = of_names.into_iter().zip(names);
        Ok(Self {
            addresses: addresses
                .map(|(kind, name)| Address { kind, name })
                .collect(),
            start: at,
            index: None,
            bytes,
        })
    }

    /// What its rows are about.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The rows of a range of key groups, batch by batch.
    ///
    /// Each batch may be an error: bytes that are not what the format says.
    pub fn rows(
        &self,
        range: KeyGroupRange,
    ) -> impl Iterator<Item = Result<Rows<'_>, SegmentError>> {
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

    /// One of them.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline]
    pub fn get(&self, at: usize) -> Row<'a> {
        let (times, timed) = self.times;
        Row {
            key_group: self.key_group,
            key: self.keys.get(at).unwrap_or_default(),
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

/// Checks that the columns are the format's, and gives the kinds of the named states.
fn check_schema(found: Schema<'_>, at: usize) -> Result<Vec<Kind>, SegmentError> {
    let entry = |key: &str| {
        let entries = found.custom_metadata().into_iter().flatten();
        let mut of_key = entries.filter(|entry| entry.key() == Some(key));
        of_key.next().and_then(|entry| entry.value())
    };
    let version = entry(VERSION_KEY).ok_or_else(|| wrong(at, "its schema has no version"))?;
    if version != FORMAT_VERSION.to_string() {
        let version = version.chars().take(32).collect();
        return Err(SegmentError::Version { version });
    }
    let types = [
        Type::Int,
        Type::Binary,
        Type::Utf8,
        Type::Utf8,
        Type::Binary,
        Type::Binary,
        Type::Int,
    ];
    let schema = schema(&[]);
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
    let kinds = entry(KINDS_KEY).unwrap_or_default().split_whitespace();
    let kind = |word: &str| Kind::ALL.into_iter().find(|kind| kind.name() == word);
    let kinds = kinds.map(|word| kind(word).ok_or_else(|| wrong(at, "a kind is unknown")));
    kinds.collect()
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

//! Rows as Kafka's records, one behind the other in one buffer: that is how they wait for their
//! checkpoint, and how they are handed to the client.
//!
//! ```text
//! len:u32 | parts:u8 | headers:u16 | time:i64? | partition:i32? | topic:text16? | key:bytes32? |
//! value:bytes32? | headers x (name:text16 value:bytes32)
//! ```
//!
//! Numbers are little-endian, `len` counts what stands behind it, `parts` says which of the parts
//! with a question mark are there. A text16 is its length (u16) with the zero byte behind it, a
//! bytes32 its length (u32) and the bytes. A record names its headers, and its topic where that is
//! not the same for all, so that a share can be applied when the document has changed.

use std::{ffi::CStr, io::BufRead};

use arrow_schema::SchemaRef;
use wasmill_core::{
    batch::{Batch, op},
    lineage::row_id,
    pipeline::{
        EncodeSpec,
        document::{KafkaSink, TopicOfRow},
        is_topic,
    },
};

use crate::{
    clock,
    connector::{ConnectorError, KafkaError},
    format::{
        FormatError,
        encode::{Encoder, Metadata, Pieces, View, Viewed, view},
    },
};

/// The header that holds a row's id where rows may come more than once.
pub(super) const ROW_ID: &CStr = c"wasmill-row-id";
/// The longest record that is taken from a share: more than any broker takes.
const RECORD_BYTES_MAX: u32 = 256 << 20;

/// Which parts a record has.
pub(super) mod part {
    pub(in crate::connector::kafka::sink) const TIME: u8 = 1;
    pub(in crate::connector::kafka::sink) const PARTITION: u8 = 2;
    pub(in crate::connector::kafka::sink) const TOPIC: u8 = 4;
    pub(in crate::connector::kafka::sink) const KEY: u8 = 8;
    pub(in crate::connector::kafka::sink) const VALUE: u8 = 16;
}

/// A record of Kafka.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Milliseconds since 1970; the time of sending if none.
    pub(super) time_ms: Option<i64>,
    /// The key decides if none.
    pub(super) partition: Option<i32>,
    /// That of the sink if none.
    pub(super) topic: Option<&'a CStr>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Headers<'a>,
}

/// Names and values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Headers<'a> {
    left: u16,
    bytes: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a CStr, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some((text(&mut self.bytes)?, octets(&mut self.bytes)?))
    }
}

impl<'a> Record<'a> {
    /// The first record of some bytes, which then begin behind it; none if they begin with none.
    pub(super) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let len = u32::from_le_bytes(fixed(bytes)?);
        let mut rest = bytes.split_off(..len as usize)?;
        Self::parse(&mut rest)
    }

    /// A record without its length.
    fn parse(rest: &mut &'a [u8]) -> Option<Self> {
        let [parts] = fixed(rest)?;
        let left = u16::from_le_bytes(fixed(rest)?);
        let has = |part| parts & part != 0;
        let mut record = Self::default();
        if has(part::TIME) {
            record.time_ms = Some(i64::from_le_bytes(fixed(rest)?));
        }
        if has(part::PARTITION) {
            record.partition = Some(i32::from_le_bytes(fixed(rest)?));
        }
        if has(part::TOPIC) {
            record.topic = Some(text(rest)?);
        }
        if has(part::KEY) {
            record.key = Some(octets(rest)?);
        }
        if has(part::VALUE) {
            record.value = Some(octets(rest)?);
        }
        record.headers = Headers { left, bytes: rest };
        let is_whole = record.headers.count() == usize::from(left);
        is_whole.then_some(record)
    }
}

fn fixed<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    bytes.split_off(..N)?.try_into().ok()
}

fn octets<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32::from_le_bytes(fixed(bytes)?);
    bytes.split_off(..len as usize)
}

fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a CStr> {
    let len = u16::from_le_bytes(fixed(bytes)?);
    CStr::from_bytes_with_nul(bytes.split_off(..usize::from(len))?).ok()
}

/// Hands on every record that a reader gives; `unread` tells what is wrong with it.
pub(super) fn for_each(
    reader: &mut impl BufRead,
    mut take: impl FnMut(&Record<'_>) -> Result<(), ConnectorError>,
    unread: impl Fn(String) -> ConnectorError,
) -> Result<(), ConnectorError> {
    let broken = |error: std::io::Error| unread(error.to_string());
    let mut buffer = Vec::new();
    while !reader.fill_buf().map_err(broken)?.is_empty() {
        let mut len = [0; 4];
        reader.read_exact(&mut len).map_err(broken)?;
        let len = u32::from_le_bytes(len);
        if len > RECORD_BYTES_MAX {
            return Err(unread(format!("a record of {len} bytes")));
        }
        buffer.resize(len as usize, 0);
        reader.read_exact(&mut buffer).map_err(broken)?;
        let record = Record::parse(&mut &buffer[..]);
        take(&record.ok_or_else(|| unread("a record is not whole".into()))?)?;
    }
    Ok(())
}

/// Hands on every record of a buffer that was written just now. Those without a time have this
/// moment's: the client would ask its clock for each.
pub(super) fn for_each_in<E>(
    mut buffer: &[u8],
    mut take: impl FnMut(&Record<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let now_ms = clock::wall_us() / 1_000;
    while let Some(mut record) = Record::take(&mut buffer) {
        record.time_ms.get_or_insert(now_ms);
        take(&record)?;
    }
    debug_assert!(buffer.is_empty(), "it was written just now");
    Ok(())
}

/// Makes records of rows.
pub(super) struct RecordEncoder {
    metadata: Metadata,
    encoder: Encoder,
    job: String,
    columns: Columns,
    upsert: bool,
    /// Whether each record carries its row's id.
    has_ids: bool,
    pieces: Pieces,
    scratch: Vec<u8>,
}

/// Which columns stand beside a record's value, by position.
struct Columns {
    topic: Option<usize>,
    key: Option<usize>,
    partition: Option<usize>,
    time: Option<usize>,
    /// With the name and its zero byte.
    headers: Vec<(Vec<u8>, usize)>,
}

impl Columns {
    fn new(schema: &SchemaRef, sink: &KafkaSink) -> Self {
        let find = |name: &str| schema.index_of(name).expect("the document was checked");
        let of = |name: &Option<String>| name.as_deref().map(find);
        let headers = sink.headers.iter().map(|(name, column)| {
            let mut name = name.clone().into_bytes();
            name.push(0);
            (name, find(column))
        });
        Self {
            topic: match &sink.topic {
                TopicOfRow::Topic(_) => None,
                TopicOfRow::Column(topic) => Some(find(&topic.column)),
            },
            key: of(&sink.key),
            partition: of(&sink.partition),
            time: of(&sink.timestamp),
            headers: headers.collect(),
        }
    }
}

impl RecordEncoder {
    pub(super) fn new(
        (sink, format): (&KafkaSink, &EncodeSpec),
        metadata: Metadata,
        (job, has_ids): (&str, bool),
    ) -> Result<Self, ConnectorError> {
        let topic = match &sink.topic {
            TopicOfRow::Topic(topic) => Some(topic.as_str()),
            TopicOfRow::Column(_) => None,
        };
        Ok(Self {
            encoder: Encoder::open(metadata.schema(), format, topic)?,
            columns: Columns::new(metadata.schema(), sink),
            metadata,
            job: job.into(),
            upsert: sink.upsert,
            has_ids,
            pieces: Pieces::default(),
            scratch: Vec::new(),
        })
    }

    /// Appends a record for every row; for a row's old form, that a changelog tells, none.
    pub(super) fn encode(
        &mut self,
        batch: &Batch,
        out: &mut Vec<u8>,
    ) -> Result<(), ConnectorError> {
        let rows = self.metadata.extend(batch).map_err(FormatError::from)?;
        self.pieces.clear();
        self.encoder.encode_each(&rows, &mut self.pieces)?;
        let beside = Beside {
            columns: &self.columns,
            views: view(&rows)?,
        };
        for row in 0..rows.num_rows() {
            let kind = match &batch.ops {
                Some(ops) if self.upsert => ops[row],
                _ => op::INSERT,
            };
            if kind == op::UPDATE_BEFORE {
                continue;
            }
            let mut record = Writer::begin(out);
            let event_time = batch.times.as_ref().map(|times| times[row]);
            record.time(beside.time_us(row).or(event_time));
            record.partition(beside.partition(row)?);
            record.topic(beside.topic(row)?);
            let key = (self.columns.key).and_then(|at| beside.cell(at, row, &mut self.scratch));
            if self.upsert && key.is_none() {
                return Err(KafkaError::NoKey.into());
            }
            record.octets(part::KEY, key);
            let value = self.pieces.get(row).filter(|_| kind != op::DELETE);
            record.octets(part::VALUE, value);
            for (name, at) in &self.columns.headers {
                if let Some(value) = beside.cell(*at, row, &mut self.scratch) {
                    record.header(name, value);
                }
            }
            if self.has_ids {
                self.scratch.clear();
                row_id(&self.job, &batch.lineage, row, &mut self.scratch);
                record.header(ROW_ID.to_bytes_with_nul(), &self.scratch);
            }
            record.end();
        }
        Ok(())
    }
}

/// What stands beside the values.
struct Beside<'a> {
    columns: &'a Columns,
    views: Vec<Viewed<'a>>,
}

impl Beside<'_> {
    /// A text, octets, or an integer as text; none where it is null.
    fn cell<'b>(&'b self, at: usize, row: usize, scratch: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        let column = &self.views[at];
        if column.array.is_null(row) {
            return None;
        }
        match &column.view {
            View::Text(values) => return Some(values.value(row).as_bytes()),
            View::Octets(values) => return Some(values.value(row)),
            _ => {}
        }
        scratch.clear();
        let mut digits = itoa::Buffer::new();
        scratch.extend_from_slice(digits.format(self.integer(at, row)?).as_bytes());
        Some(scratch)
    }

    fn integer(&self, at: usize, row: usize) -> Option<i128> {
        Some(match &self.views[at].view {
            View::I8(values) => values[row].into(),
            View::I16(values) => values[row].into(),
            View::I32(values) => values[row].into(),
            View::I64(values) => values[row].into(),
            View::U8(values) => values[row].into(),
            View::U16(values) => values[row].into(),
            View::U32(values) => values[row].into(),
            View::U64(values) => values[row].into(),
            _ => return None,
        })
    }

    /// What the column of times says, in microseconds.
    fn time_us(&self, row: usize) -> Option<i64> {
        let column = &self.views[self.columns.time?];
        match &column.view {
            View::Timestamp(values) if !column.array.is_null(row) => Some(values[row]),
            _ => None,
        }
    }

    fn partition(&self, row: usize) -> Result<Option<i32>, KafkaError> {
        let Some(at) = self.columns.partition else {
            return Ok(None);
        };
        if self.views[at].array.is_null(row) {
            return Ok(None);
        }
        let number = self.integer(at, row).unwrap_or(-1);
        let partition = i32::try_from(number).ok().filter(|number| *number >= 0);
        let partition = partition.ok_or(KafkaError::NotAPartition { number })?;
        Ok(Some(partition))
    }

    fn topic(&self, row: usize) -> Result<Option<&[u8]>, KafkaError> {
        let Some(at) = self.columns.topic else {
            return Ok(None);
        };
        let View::Text(values) = &self.views[at].view else {
            return Ok(None);
        };
        let topic = values.value(row);
        match is_topic(topic) {
            true => Ok(Some(topic.as_bytes())),
            false => Err(KafkaError::NotATopic),
        }
    }
}

/// Writes a record behind others.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
    parts: u8,
    headers: u16,
}

impl<'a> Writer<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        let begin = out.len();
        // Length, parts and number of headers are known at the end.
        out.extend_from_slice(&[0; 7]);
        Self {
            out,
            begin,
            parts: 0,
            headers: 0,
        }
    }

    /// A time that Kafka cannot hold is left out: 0 and what lies before it.
    pub(super) fn time(&mut self, us: Option<i64>) {
        let ms = us.map(|us| us.div_euclid(1000));
        if let Some(ms) = ms.filter(|ms| *ms > 0) {
            self.parts |= part::TIME;
            self.out.extend_from_slice(&ms.to_le_bytes());
        }
    }

    pub(super) fn partition(&mut self, partition: Option<i32>) {
        if let Some(partition) = partition {
            self.parts |= part::PARTITION;
            self.out.extend_from_slice(&partition.to_le_bytes());
        }
    }

    fn topic(&mut self, topic: Option<&[u8]>) {
        if let Some(topic) = topic {
            self.parts |= part::TOPIC;
            self.out
                .extend_from_slice(&(topic.len() as u16 + 1).to_le_bytes());
            self.out.extend_from_slice(topic);
            self.out.push(0);
        }
    }

    pub(super) fn octets(&mut self, part: u8, octets: Option<&[u8]>) {
        if let Some(octets) = octets {
            self.parts |= part;
            self.counted(octets);
        }
    }

    /// A name with its zero byte, and the value.
    pub(super) fn header(&mut self, name: &[u8], value: &[u8]) {
        self.headers += 1;
        self.out
            .extend_from_slice(&(name.len() as u16).to_le_bytes());
        self.out.extend_from_slice(name);
        self.counted(value);
    }

    fn counted(&mut self, octets: &[u8]) {
        self.out
            .extend_from_slice(&(octets.len() as u32).to_le_bytes());
        self.out.extend_from_slice(octets);
    }

    pub(super) fn end(self) {
        let len = (self.out.len() - self.begin - 4) as u32;
        let head = &mut self.out[self.begin..self.begin + 7];
        head[..4].copy_from_slice(&len.to_le_bytes());
        head[4] = self.parts;
        head[5..].copy_from_slice(&self.headers.to_le_bytes());
    }
}

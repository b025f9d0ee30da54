//! Rows that wait for their time, as of a barrier and back (`docs/formats/segment.md`).

use std::{io::Cursor, sync::Arc};

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt8Type, UInt64Type};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, UInt8Array, UInt32Array, UInt64Array};
use arrow_ipc::{reader::FileReader, writer::FileWriter};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use wasmill_core::batch::Batch;
use wasmill_core::checkpoint::{Digest, Part};
use wasmill_core::key::{self, KeyCodec, KeyGroupRange};
use wasmill_core::lineage::trail;
use wasmill_core::watermark;

use super::{Run, Sorter, SorterError};

/// Under this name a part tells about a sorter.
const HELD: &str = "held-rows";

/// The engine's columns, which stand before the stream's.
const ENGINE: [(&str, DataType, bool); 5] = [
    ("wasmill.time", DataType::Int64, false),
    ("wasmill.clock", DataType::Int64, true),
    ("wasmill.hash", DataType::UInt64, true),
    ("wasmill.op", DataType::UInt8, true),
    ("wasmill.trail", DataType::Binary, false),
];

/// Why held rows could not be put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeldError {
    /// Not the bytes that were written.
    #[error("the held rows of subtask {subtask} are damaged: their digest is not the manifest's")]
    Digest {
        /// The subtask that held them.
        subtask: u16,
    },
    /// Bytes that are not what the format says.
    #[error("the held rows of subtask {subtask} are not what the format says")]
    Content {
        /// The subtask that held them.
        subtask: u16,
    },
    /// A column that was not carried along before.
    #[error(
        "rows that wait for the watermark have no column `{column}` of the type that is read now: \
         let the old pipeline end with a drain, or leave its columns as they were"
    )]
    Column {
        /// The column.
        column: String,
    },
    /// They cannot be written, read or put in order.
    #[error("the held rows cannot be arranged: {0}")]
    Rows(#[from] ArrowError),
    /// They do not fit.
    #[error(transparent)]
    Order(#[from] SorterError),
}

/// What a part tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Told {
    /// Which of the task's inputs.
    input: usize,
    /// Up to where rows have been given out, in microseconds of event time.
    released: i64,
    rows: usize,
}

/// The rows that a sorter held at a barrier: taken on the slot, encoded elsewhere.
#[derive(Debug)]
pub struct SorterImage {
    told: Told,
    runs: Vec<Batch>,
}

/// Held rows, ready to be stored.
#[derive(Debug)]
pub struct EncodedSorter {
    /// For [`Part::state`].
    pub state: Json,
    /// For the only one of [`Part::objects`]; none if no rows are held.
    pub rows: Option<Vec<u8>>,
}

/// Which held rows are a subtask's.
#[derive(Debug)]
pub enum Share<'a> {
    /// Those of its keys.
    Keys {
        /// The input's key columns.
        codec: &'a KeyCodec,
        /// The subtask's key groups.
        range: KeyGroupRange,
        /// How many the job has.
        key_groups: u16,
    },
    /// Those of the first subtask: all have them alike.
    Alike,
    /// Without keys, those of the same subtask before, or of one that is no more.
    Subtask {
        /// The subtask.
        subtask: u16,
        /// How many there are.
        parallelism: u16,
    },
}

impl Sorter {
    /// The rows that are held now. Nothing is copied.
    pub fn image(&self) -> SorterImage {
        let runs = self.levels.iter().flatten();
        let left = |run: &Run| run.batch.slice(run.next, run.places.len() - run.next);
        SorterImage {
            told: Told {
                input: self.input,
                released: self.released,
                rows: self.rows(),
            },
            runs: runs.map(left).collect(),
        }
    }

    /// Holds again what a checkpoint's parts hold for this input, as far as it is this subtask's,
    /// before the first row: `parts` of all subtasks then, each with its object's bytes; `schema`
    /// as the input's rows have it now.
    ///
    /// # Errors
    /// If they are damaged, or lack a column that is read now.
    pub fn restore(
        &mut self,
        parts: &[(Part, Option<Bytes>)],
        schema: &SchemaRef,
        share: &Share<'_>,
    ) -> Result<(), HeldError> {
        let mut released: Option<i64> = None;
        for (part, bytes) in parts {
            let subtask = part.subtask;
            let Some(told) = part.state.get(HELD) else {
                continue;
            };
            let told = Told::deserialize(told).map_err(|_| HeldError::Content { subtask })?;
            if told.input != self.input {
                continue;
            }
            // A row that was not late before is not late now.
            released = Some(released.map_or(told.released, |least| least.min(told.released)));
            if let Some(object) = part.objects.first() {
                let bytes = bytes.as_ref();
                let bytes = bytes.filter(|bytes| Digest::of(bytes) == object.digest);
                let bytes = bytes.ok_or(HeldError::Digest { subtask })?;
                self.restore_rows(bytes, (subtask, schema), share)?;
            }
        }
        self.released = released.unwrap_or(watermark::START);
        Ok(self.check()?)
    }

    fn restore_rows(
        &mut self,
        bytes: &Bytes,
        (subtask, schema): (u16, &SchemaRef),
        share: &Share<'_>,
    ) -> Result<(), HeldError> {
        for batch in FileReader::try_new(Cursor::new(bytes), None)? {
            let batch = read(&batch?, subtask, schema)?;
            let own: Vec<u32> = match share.of(&batch, subtask) {
                Some(hashes) => (0..)
                    .zip(hashes)
                    .filter_map(|(row, is)| is.then_some(row))
                    .collect(),
                None => continue,
            };
            let batch = batch.take(&UInt32Array::from(own))?;
            if let Some(times) = batch.times.clone().filter(|times| !times.is_empty()) {
                self.add(0, Run::sort(batch, &times)?)?;
            }
        }
        Ok(())
    }
}

impl Share<'_> {
    /// Which rows of a batch that a subtask held are meant; none if no row is.
    fn of(&self, batch: &Batch, held_by: u16) -> Option<Vec<bool>> {
        match self {
            Self::Keys {
                codec,
                range,
                key_groups,
            } => {
                let hashes = batch.hashes.clone();
                let hashes = hashes.unwrap_or_else(|| codec.keys(&batch.rows).hashes());
                let is_own = |hash: &u64| range.contains(key::key_group(*hash, *key_groups));
                Some(hashes.iter().map(is_own).collect())
            }
            Self::Alike => (held_by == 0).then(|| vec![true; batch.len()]),
            Self::Subtask {
                subtask,
                parallelism,
            } => (held_by % parallelism == *subtask).then(|| vec![true; batch.len()]),
        }
    }
}

impl SorterImage {
    /// Writes the rows down: not on a slot.
    ///
    /// # Errors
    /// If their columns cannot be written.
    pub fn encode(self) -> Result<EncodedSorter, HeldError> {
        let state =
            serde_json::json!({ HELD: serde_json::to_value(&self.told).unwrap_or_default() });
        let Some(first) = self.runs.first() else {
            return Ok(EncodedSorter { state, rows: None });
        };
        let engine = ENGINE.map(|(name, of, nullable)| Arc::new(Field::new(name, of, nullable)));
        let own = first.rows.schema();
        let fields: Vec<_> = engine
            .into_iter()
            .chain(own.fields().iter().cloned())
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let mut file = FileWriter::try_new(Vec::new(), &schema)?;
        for run in &self.runs {
            file.write(&RecordBatch::try_new(schema.clone(), columns(run)?)?)?;
        }
        let rows = Some(file.into_inner()?);
        Ok(EncodedSorter { state, rows })
    }
}

/// The engine's columns of some rows, and their own.
fn columns(rows: &Batch) -> Result<Vec<ArrayRef>, HeldError> {
    let times = rows.times.as_ref().ok_or(SorterError::NoTime)?;
    let len = rows.len();
    let clocks = rows
        .clocks
        .as_ref()
        .map(|column| Int64Array::new(column.clone(), None));
    let hashes = rows
        .hashes
        .as_ref()
        .map(|column| UInt64Array::new(column.clone(), None));
    let ops = rows
        .ops
        .as_ref()
        .map(|column| UInt8Array::new(column.clone(), None));
    let (mut trails, mut bytes) = (BinaryBuilder::new(), Vec::new());
    for row in 0..len {
        bytes.clear();
        trail::write(&rows.lineage, row, &mut bytes);
        trails.append_value(&bytes);
    }
    let engine: [ArrayRef; 5] = [
        Arc::new(Int64Array::new(times.clone(), None)),
        Arc::new(clocks.unwrap_or_else(|| Int64Array::new_null(len))),
        Arc::new(hashes.unwrap_or_else(|| UInt64Array::new_null(len))),
        Arc::new(ops.unwrap_or_else(|| UInt8Array::new_null(len))),
        Arc::new(trails.finish()),
    ];
    Ok(engine
        .into_iter()
        .chain(rows.rows.columns().iter().cloned())
        .collect())
}

/// Whether the bytes of a part's object are held rows, whatever their stream's columns are; gives
/// their number.
///
/// # Errors
/// If they are not what the format says.
pub fn check_held(part: &Part, bytes: &Bytes) -> Result<u64, HeldError> {
    let subtask = part.subtask;
    let content = || HeldError::Content { subtask };
    let told = part.state.get(HELD).ok_or_else(content)?;
    let told = Told::deserialize(told).map_err(|_| content())?;
    let mut rows = 0;
    for batch in FileReader::try_new(Cursor::new(bytes), None)? {
        let batch = batch?;
        let fields: Vec<_> = batch
            .schema()
            .fields()
            .iter()
            .skip(ENGINE.len())
            .cloned()
            .collect();
        let columns = Arc::new(Schema::new(fields));
        rows += read(&batch, subtask, &columns)?.len();
    }
    match rows == told.rows {
        true => Ok(rows as u64),
        false => Err(content()),
    }
}

/// A stored run as a batch with the columns that rows have now.
fn read(stored: &RecordBatch, subtask: u16, schema: &SchemaRef) -> Result<Batch, HeldError> {
    let content = || HeldError::Content { subtask };
    let fields = stored.schema();
    let is_engine = ENGINE
        .iter()
        .zip(fields.fields())
        .all(|((name, of, _), field)| field.name() == name && field.data_type() == of);
    if !is_engine || fields.fields().len() < ENGINE.len() {
        return Err(content());
    }
    let column = |wanted: &Arc<Field>| {
        let own = fields.fields().iter().enumerate().skip(ENGINE.len());
        let mut own = own.filter(|(_, field)| field.name() == wanted.name());
        let found = own.find(|(_, field)| field.data_type() == wanted.data_type());
        let found = found.map(|(at, _)| stored.column(at).clone());
        found.ok_or_else(|| HeldError::Column {
            column: wanted.name().clone(),
        })
    };
    let columns = schema
        .fields()
        .iter()
        .map(column)
        .collect::<Result<_, _>>()?;
    let trails = stored.column(4).as_binary::<i32>();
    let lineage = trail::read(trails.iter().flatten()).ok_or_else(content)?;
    if lineage.len() != stored.num_rows() {
        return Err(content());
    }
    let has = |at: usize| stored.column(at).null_count() == 0;
    let number = |at: usize| {
        stored
            .column(at)
            .as_primitive::<Int64Type>()
            .values()
            .clone()
    };
    let hashes = stored.column(2).as_primitive::<UInt64Type>().values();
    let ops = stored.column(3).as_primitive::<UInt8Type>().values();
    Ok(Batch {
        rows: RecordBatch::try_new(schema.clone(), columns)?,
        times: Some(number(0)),
        clocks: has(1).then(|| number(1)),
        hashes: has(2).then(|| hashes.clone()),
        ops: has(3).then(|| ops.clone()),
        lineage,
    })
}

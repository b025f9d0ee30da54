//! Joins at work, in one subtask: rows of two streams are given to core's [`Join`], which decides
//! and builds; here its keys are held, its memory counted, and its state brought into segments.

mod image;
mod resident;

use std::sync::Arc;

use arrow_schema::{ArrowError, Fields, Schema, SchemaRef};
use wasmill_core::{
    batch::Batch,
    join::{Join, JoinKind, JoinSpec, Side},
    pipeline::{self, ColumnOrigin, InputBinding},
    watermark,
};

use crate::{metrics::NodeMetrics, operator::Keyed};

use self::image::Gathered;

pub use image::{JoinImage, LISTS};

/// The name of the state that stands for the join's definition.
pub const STATE: &str = "join";

/// Bytes of rows that one subtask may hold back until the table of a lookup has been read.
const WAITING_BYTES_MAX: usize = 1 << 30;

/// Why rows cannot be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Too many rows wait for a table.
    #[error(
        "`{operator}` holds {rows} rows ({bytes} bytes) that wait for its table to be read, and \
         only {WAITING_BYTES_MAX} bytes may: make the table smaller, or its reading faster"
    )]
    Full {
        /// The operator.
        operator: Arc<str>,
        /// How many rows wait, and are kept.
        rows: usize,
        /// Their memory.
        bytes: usize,
    },
    /// The rows have no keys: a mistake of ours.
    #[error("`{operator}` got rows without keys")]
    NoKeys {
        /// The operator.
        operator: Arc<str>,
    },
    /// Columns that do not fit together: a mistake of ours.
    #[error("the rows cannot be arranged")]
    Rows(#[from] ArrowError),
}

/// What the operator needs besides its description.
pub struct Parts {
    /// How the columns that reach it become those that it keeps.
    pub inputs: Vec<InputBinding>,
    /// Whether the rows of each side have an event time.
    pub has_times: [bool; 2],
    /// Which subtask it is.
    pub subtask: u16,
    /// Its counters.
    pub metrics: Arc<NodeMetrics>,
}

/// A join of the keys of one subtask.
pub struct JoinOperator {
    name: Arc<str>,
    spec: JoinSpec,
    join: Join,
    sides: [JoinSide; 2],
    has_times: [bool; 2],
    output: usize,
    rows_max: usize,
    subtask: u16,
    metrics: Arc<NodeMetrics>,
    watermark: i64,
    /// The keys of a batch's rows; kept for its memory.
    keys: Vec<u32>,
    /// A bit for each key with rows that have not been looked at, where keys leave memory.
    busy: Vec<u64>,
    /// What comes back: rows by list, and their keys.
    gathered: [Gathered; 3],
    returned: Vec<u32>,
    state_bytes: u64,
    task_bytes: usize,
}

/// One of the two streams.
struct JoinSide {
    /// Its position in the pipeline.
    stream: usize,
    /// Where the columns that are kept stand among those that reach the join.
    columns: Vec<usize>,
    /// What is kept.
    schema: SchemaRef,
}

/// Rows that operators emit: the stream's position in the pipeline, and the rows.
type Emitted = Vec<(usize, Batch)>;

impl JoinOperator {
    /// A join of no rows yet.
    pub fn new(spec: &pipeline::Operator, join: &JoinSpec, parts: Parts) -> Self {
        let side = |side: Side| {
            let input = parts
                .inputs
                .iter()
                .find(|input| input.input == side.index());
            let input = input.expect("a join has two sides");
            JoinSide {
                stream: input.stream.0,
                columns: columns(input),
                schema: Arc::new(Schema::new(kept_fields(input))),
            }
        };
        Self {
            name: spec.name.as_str().into(),
            join: Join::new(&spec.name, join),
            spec: join.clone(),
            sides: Side::BOTH.map(side),
            has_times: parts.has_times,
            output: spec.outputs.first().map_or(0, |stream| stream.0),
            rows_max: spec.batch.rows_max as usize,
            subtask: parts.subtask,
            metrics: parts.metrics,
            watermark: watermark::START,
            keys: Vec::new(),
            busy: Vec::new(),
            gathered: Default::default(),
            returned: Vec::new(),
            state_bytes: 0,
            task_bytes: 0,
        }
    }

    /// The operator's name in the document.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How far its event time has come.
    pub fn watermark(&self) -> i64 {
        self.watermark
    }

    /// Which subtask it is.
    pub fn subtask(&self) -> u16 {
        self.subtask
    }

    /// Takes rows of a stream. Joins by event time get them in its order, each side by itself, and
    /// look at them with the next watermark.
    ///
    /// # Errors
    /// If too many rows wait for a table.
    pub fn process(
        &mut self,
        stream: usize,
        batch: &Batch,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<(), JoinError> {
        self.metrics.records_in.add(batch.len());
        let Some(keyed) = keyed else {
            let operator = self.name.clone();
            return Err(JoinError::NoKeys { operator });
        };
        for side in Side::BOTH {
            let of = &self.sides[side.index()];
            if of.stream != stream {
                continue;
            }
            let rows = batch.rows.project(&of.columns)?;
            let rows = rows.with_schema(of.schema.clone())?;
            self.hold(side, keyed);
            let batch = Batch {
                rows,
                ..batch.clone()
            };
            self.join.push(side, batch, &self.keys);
        }
        if self.spec.kind == JoinKind::Lookup {
            while self.step(watermark::START, Some(keyed), emitted)? {}
            let bytes = self.join.bytes();
            if !self.join.is_loaded() && bytes > WAITING_BYTES_MAX {
                return Err(JoinError::Full {
                    operator: self.name.clone(),
                    rows: self.join.len(),
                    bytes,
                });
            }
        }
        Ok(())
    }

    /// Moves the event-time clock and gives some of the rows that come of it. `true` means that
    /// there are more.
    ///
    /// # Errors
    /// If columns do not fit together.
    pub fn advance(
        &mut self,
        watermark: i64,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<bool, JoinError> {
        self.watermark = self.watermark.max(watermark);
        match self.spec.kind.is_timed() {
            true => self.step(watermark, keyed, emitted),
            false => Ok(false),
        }
    }

    /// The stream that is a table, of a lookup that has not read it to its end.
    pub fn awaited(&self) -> Option<usize> {
        let waits = self.spec.kind == JoinKind::Lookup && !self.join.is_loaded();
        waits.then_some(self.sides[Side::Right.index()].stream)
    }

    /// The table has been read to its end: gives some of the rows that waited for it. `true` means
    /// that there are more.
    ///
    /// # Errors
    /// If columns do not fit together.
    pub fn loaded(
        &mut self,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<bool, JoinError> {
        if !self.join.is_loaded() {
            self.join.loaded();
        }
        self.step(watermark::START, keyed, emitted)
    }

    /// Counts bytes that are the task's as this operator's.
    pub fn account_task(&mut self, bytes: usize) {
        self.task_bytes = bytes;
        self.account();
    }

    fn step(
        &mut self,
        clock: i64,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<bool, JoinError> {
        let batch = self.join.advance(clock, self.rows_max)?;
        let mut keyed = keyed;
        if let Some(keyed) = keyed.as_deref_mut() {
            let index = &mut keyed.index;
            for (key, was_kept) in self.join.released() {
                if was_kept {
                    index.touch(key);
                    index.release(key);
                } else {
                    index.give_back(key);
                }
            }
        }
        self.account();
        let Some(batch) = batch else {
            if self.awaited().is_none() {
                self.note_busy(keyed.map(|keyed| &keyed.index));
            }
            return Ok(false);
        };
        self.metrics.records_out.add(batch.len());
        emitted.push((self.output, batch));
        Ok(true)
    }

    /// Holds the key of each row of a batch; what is kept of it changes, if the rows are kept.
    fn hold(&mut self, side: Side, keyed: &mut Keyed) {
        let (index, keys) = (&mut keyed.index, &keyed.keys);
        self.keys.clear();
        let rows = keys.row_to_key.iter();
        self.keys.extend(rows.map(|key| keys.ids[*key as usize]));
        if self.join.keeps(side) {
            index.touch_all(keys.ids.iter().copied());
            self.keys.iter().for_each(|id| index.hold(*id));
        } else {
            self.keys.iter().for_each(|id| index.lend(*id));
        }
        // Rows of a table are looked at right away.
        let waits = side == Side::Left || self.spec.kind != JoinKind::Lookup;
        if index.is_spilling() && waits {
            keys.ids.iter().for_each(|id| self.set_busy(*id));
        }
    }

    /// Keeps the counter of state bytes up to date.
    fn account(&mut self) {
        let now = (self.join.bytes() + self.task_bytes) as u64;
        self.metrics.state_bytes.replace(self.state_bytes, now);
        self.state_bytes = now;
    }
}

/// The fields of the rows that a join keeps of a side.
pub fn kept_fields(input: &InputBinding) -> Fields {
    let columns = input.columns.iter();
    columns.map(|column| column.to.clone()).collect()
}

/// Where the columns that a join keeps stand among those that reach it.
fn columns(input: &InputBinding) -> Vec<usize> {
    let columns = input.columns.iter();
    let places = columns.filter_map(|column| match column.origin {
        ColumnOrigin::Stream(at) => Some(at),
        ColumnOrigin::Feature(_) | ColumnOrigin::Null => None,
    });
    places.collect()
}

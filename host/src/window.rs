//! Operators that aggregate over windows, in one subtask.
//!
//! What happens to a row is decided by its own clock, never by when it is processed: a row whose
//! clock has not come to the end of its pane's first window is added at once, any other one waits
//! until the watermark has passed its clock (`cell::Late`) and is a correction then. The merged
//! watermark reaches an instant only when all rows before it are here, so windows and corrections
//! happen in one order, that of their instants, whatever the speed of the sources.

mod accumulator;
mod aligned;
mod cell;
mod draft;
mod float;
mod folded;
mod global;
mod grid;
mod guest;
mod image;
mod panes;
mod plain;
mod quantile;
mod resident;
mod results;
mod roster;
mod rows;
mod session;
mod shape;
mod show;
mod upkeep;
mod value;
mod weight;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::UInt32Array;
use arrow_schema::ArrowError;
use wasmill_core::{
    batch::Batch,
    encoding::EncodingError,
    pipeline::{self, ColumnOrigin, InputBinding},
    watermark,
    window::{Assigner, Windowing},
};

use self::{
    accumulator::Accumulator,
    aligned::Walk,
    cell::Cell,
    draft::Draft,
    folded::Folds,
    grid::Grid,
    guest::Guests,
    results::Results,
    roster::Roster,
    rows::{Rows, id_of},
    shape::Shape,
    value::Column,
};
use crate::{
    metrics::NodeMetrics,
    operator::{Keyed, OperatorError},
    state::{BatchKeys, Cells, KeyIndex},
    wasm::Plugin,
};

pub use guest::first_context;
pub use image::{Definition, Kept, WindowImage};

/// The name of the operator's one state.
pub const STATE: &str = "window";

/// Results of one batch, at most, unless one instant has more.
const RESULTS_MAX: usize = 4_096;

/// Why windows cannot be kept or computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// A sum beyond its type.
    #[error("aggregate `{aggregate}` of `{operator}` overflows: use a decimal or a float column")]
    Overflow {
        /// The operator.
        operator: Arc<str>,
        /// The aggregate.
        aggregate: String,
    },
    /// The rows have no event time: a mistake of ours.
    #[error("`{operator}` got rows without event time")]
    NoTime {
        /// The operator.
        operator: Arc<str>,
    },
    /// Results that do not fit into one array.
    #[error("the results of `{operator}` do not fit into one batch")]
    Results {
        /// The operator.
        operator: Arc<str>,
        /// Why.
        #[source]
        source: EncodingError,
    },
    /// Columns that do not fit together: a mistake of ours.
    #[error("the rows cannot be arranged")]
    Rows(#[from] ArrowError),
    /// A plugin of an aggregate failed.
    #[error(transparent)]
    Plugin(#[from] OperatorError),
}

/// What the operator needs besides its description.
pub struct Parts {
    /// How the columns that reach it become those that aggregates read.
    pub inputs: Vec<InputBinding>,
    /// Whether its results have an event time.
    pub has_time: bool,
    /// Which subtask it is.
    pub subtask: u16,
    /// Of how many.
    pub subtasks: usize,
    /// The pipeline's name, with which the ids of rows begin.
    pub job: Arc<str>,
    /// The plugins of its aggregates, in their order.
    pub plugins: Vec<Plugin>,
    /// Whether keys may leave memory.
    pub is_spilling: bool,
    /// Its counters.
    pub metrics: Arc<NodeMetrics>,
}

/// Windows of the keys of one subtask.
pub struct WindowOperator {
    name: Arc<str>,
    windowing: Windowing,
    shape: Shape,
    /// The number and binding of each input stream, by the stream's position in the pipeline.
    bindings: HashMap<usize, (u32, InputBinding)>,
    output: usize,
    late: Option<usize>,
    subtask: u16,
    metrics: Arc<NodeMetrics>,
    cells: Cells<Cell>,
    /// The panes, where they are kept by column and not by key.
    grid: Option<Box<Grid>>,
    roster: Roster,
    watermark: i64,
    /// Where that stood before it rose the last time.
    watermark_before: i64,
    /// Keys that have come back into memory since, for their windows' ends: some lie behind the
    /// watermark.
    woken: Vec<u32>,
    /// Keys whose rows are just being taken back.
    returned: Vec<u32>,
    /// Keys that have left memory while lists may name them.
    stale: usize,
    /// The end of the window that comes out next, and the place in the roster of the next key.
    next_end: i64,
    next_key: usize,
    /// What the walk over the keys has found up to there.
    walk: Walk,
    /// When the next pane is forgotten, if that is behind its last window.
    forget_at: i64,
    /// Keys whose late rows wait for the watermark to pass a clock.
    corrections: BTreeMap<i64, Vec<u32>>,
    /// Keys with sessions that may end then.
    ends: BTreeMap<i64, Vec<u32>>,
    /// Keys with rows since the last early results, and when the next come.
    dirty: Vec<u32>,
    early_at: Option<i64>,
    results: Results,
    /// The plugins of its aggregates, if it has any.
    guests: Option<Box<Guests>>,
    /// Results that wait for their plugins.
    drafts: Vec<Draft>,
    scratch: Vec<Accumulator>,
    /// Keys that are counted anew when plugins have merged what waits for them.
    reweighed: Vec<u32>,
    scratch_ids: Vec<u32>,
    /// How many panes and sessions there are.
    kept: usize,
    /// The memory behind the cells, where keys leave memory.
    content_bytes: usize,
    state_bytes: u64,
    task_bytes: usize,
}

/// Rows that operators emit: the stream's position in the pipeline, and the rows.
type Emitted = Vec<(usize, Batch)>;

impl WindowOperator {
    /// Windows of no rows yet.
    pub fn new(spec: &pipeline::Operator, windowing: Windowing, parts: Parts) -> Self {
        let name: Arc<str> = spec.name.as_str().into();
        let shape = Shape::new(&windowing.aggregates);
        let guests = Guests::new(spec, (&windowing, &shape), &parts);
        let grid = Self::grid(&windowing, &shape, parts.is_spilling);
        let inputs = parts.inputs.into_iter();
        Self {
            shape,
            guests,
            drafts: Vec::new(),
            bindings: (0..)
                .zip(inputs)
                .map(|(number, input)| (input.stream.0, (number, input)))
                .collect(),
            output: spec.outputs.first().map_or(0, |stream| stream.0),
            late: spec.late.map(|stream| stream.0),
            subtask: parts.subtask,
            metrics: parts.metrics,
            cells: Cells::new(),
            grid,
            roster: Roster::new(),
            watermark: watermark::START,
            watermark_before: watermark::START,
            woken: Vec::new(),
            returned: Vec::new(),
            stale: 0,
            next_end: watermark::END,
            next_key: 0,
            walk: Walk::new(),
            forget_at: watermark::END,
            corrections: BTreeMap::new(),
            ends: BTreeMap::new(),
            dirty: Vec::new(),
            early_at: None,
            results: Results::new(&name, &windowing, parts.has_time),
            scratch: Vec::new(),
            reweighed: Vec::new(),
            scratch_ids: Vec::new(),
            kept: 0,
            content_bytes: 0,
            state_bytes: 0,
            task_bytes: 0,
            name,
            windowing,
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

    /// Adds rows of a stream to their windows, and appends those that are too late. `folds` is what
    /// the plugins of aggregates have made of the rows.
    fn add_batch(
        &mut self,
        (stream, batch): (usize, &Batch),
        keys: (&mut KeyIndex, &BatchKeys),
        folds: &[Folds],
        emitted: &mut Emitted,
    ) -> Result<(), WindowError> {
        let Some((input, binding)) = self.bindings.get(&stream) else {
            return Ok(());
        };
        self.metrics.records_in.add(batch.len());
        let columns = binding
            .columns
            .iter()
            .filter_map(|bound| match bound.origin {
                ColumnOrigin::Stream(at) => Some(Column::new(batch.rows.column(at))),
                ColumnOrigin::Feature(_) | ColumnOrigin::Null => None,
            });
        let rows = Rows {
            batch,
            columns: columns.chain(folds.iter().map(Column::folds)).collect(),
            times: batch.times.as_deref().unwrap_or_default(),
            clocks: batch.clocks.as_deref().unwrap_or_default(),
            input: *input,
            needs_places: self.shape.needs_places(),
        };
        if rows.times.len() < batch.len() && self.windowing.follows_time() {
            let operator = self.name.clone();
            return Err(WindowError::NoTime { operator });
        }
        let (index, keys) = keys;
        index.touch_all(keys.ids.iter().copied());
        let pair = (&mut *index, keys);
        let late = match self.windowing.assigner {
            Assigner::Aligned(slices) => match self.grid.take() {
                Some(mut grid) => {
                    let late = self.add_plain(&mut grid, &rows, pair, slices);
                    self.grid = Some(grid);
                    late?
                }
                None => self.add_aligned(&rows, pair, slices)?,
            },
            Assigner::Session { gap_us, max_us } => {
                self.add_to_sessions(&rows, pair, (gap_us, max_us))?
            }
            Assigner::Global => self.add_global(&rows, pair, emitted)?,
        };
        if index.is_spilling() {
            keys.ids.iter().for_each(|id| self.weigh(*id));
        }
        if !late.is_empty() {
            self.metrics.late.add(late.len());
            if let Some(stream) = self.late {
                let rows = batch.take(&UInt32Array::from(late))?;
                emitted.push((stream, rows));
            }
        }
        self.plan_early();
        self.account();
        Ok(())
    }

    /// Appends the results of windows that are over: see [`WindowOperator::advance`].
    fn end_windows(
        &mut self,
        watermark: i64,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<bool, WindowError> {
        let Some(keyed) = keyed else {
            return Ok(false);
        };
        let index = &mut keyed.index;
        self.catch_up(index)?;
        while self.results.len() < RESULTS_MAX {
            let correction = self.corrections.first_key_value().map(|(clock, _)| *clock);
            let correction = correction.filter(|clock| *clock < watermark);
            let end = self.next_instant().filter(|end| *end <= watermark);
            match (end, correction) {
                (Some(end), Some(clock)) if clock < end => self.correct(clock, index)?,
                (None, Some(clock)) => self.correct(clock, index)?,
                (Some(end), _) => self.end(end, index)?,
                (None, None) => {
                    self.rise(watermark);
                    self.forget(index);
                    self.flush(emitted)?;
                    self.account();
                    return Ok(false);
                }
            }
        }
        self.flush(emitted)?;
        Ok(true)
    }

    /// When the next windows are over.
    fn next_instant(&self) -> Option<i64> {
        let next = match self.windowing.assigner {
            Assigner::Aligned(_) => self.next_end,
            Assigner::Session { .. } => return self.ends.first_key_value().map(|(end, _)| *end),
            Assigner::Global => match self.watermark == watermark::END {
                true => return None,
                false => watermark::END,
            },
        };
        let is_there = next < watermark::END || self.is_global();
        is_there.then_some(next)
    }

    fn is_global(&self) -> bool {
        self.windowing.assigner == Assigner::Global
    }

    /// Windows that end at this instant.
    fn end(&mut self, end: i64, index: &mut KeyIndex) -> Result<(), WindowError> {
        match self.windowing.assigner {
            Assigner::Aligned(slices) => match self.grid.take() {
                Some(mut grid) => {
                    let ended = self.end_plain(&mut grid, end, slices, index);
                    self.grid = Some(grid);
                    ended
                }
                None => self.end_aligned(end, slices, index),
            },
            Assigner::Session { .. } => self.end_sessions(end, index),
            Assigner::Global => self.end_global(index),
        }
    }

    /// Late rows whose clock the watermark has passed.
    fn correct(&mut self, clock: i64, index: &mut KeyIndex) -> Result<(), WindowError> {
        let mut ids = self.corrections.remove(&clock).unwrap_or_default();
        Roster::sort(&mut ids, index);
        for id in ids {
            self.correct_key(id, clock, index)?;
        }
        Ok(())
    }

    /// The same of one key.
    fn correct_key(
        &mut self,
        id: u32,
        clock: i64,
        index: &mut KeyIndex,
    ) -> Result<(), WindowError> {
        for late in self.cells.get_mut(id).take_late(clock) {
            index.touch(id);
            match self.windowing.assigner {
                Assigner::Aligned(slices) => self.correct_aligned(id, late, slices, index)?,
                Assigner::Session { gap_us, max_us } => {
                    self.correct_session(id, late, (gap_us, max_us), index)?;
                }
                Assigner::Global => {}
            }
        }
        if index.is_spilling() {
            self.weigh(id);
        }
        Ok(())
    }

    /// Gives out what there is so far, where it is time for that.
    fn give_early(
        &mut self,
        now: i64,
        keyed: Option<&mut Keyed>,
        emitted: &mut Emitted,
    ) -> Result<(), WindowError> {
        if self.early_at.is_none_or(|at| now < at) {
            return Ok(());
        }
        let Some(keyed) = keyed else { return Ok(()) };
        self.early_at = None;
        let mut ids = std::mem::take(&mut self.dirty);
        Roster::sort(&mut ids, &keyed.index);
        for id in ids {
            // Keys that have left memory come again when they are back.
            if !std::mem::take(&mut self.cells.get_mut(id).is_dirty) {
                continue;
            }
            keyed.index.touch(id);
            match self.windowing.assigner {
                Assigner::Aligned(slices) => self.early_aligned(id, slices, &keyed.index)?,
                Assigner::Session { .. } => self.early_sessions(id, &keyed.index)?,
                Assigner::Global => self.early_global(id, &keyed.index)?,
            }
            if keyed.index.is_spilling() {
                self.weigh(id);
            }
            if self.results.len() >= RESULTS_MAX {
                self.flush(emitted)?;
            }
        }
        self.flush(emitted)
    }

    /// The earliest processing time at which it wants a tick.
    pub fn next_tick(&self) -> Option<i64> {
        self.early_at
    }

    /// Counts bytes that are the task's as this operator's.
    pub fn account_task(&mut self, bytes: usize) {
        self.task_bytes = bytes;
        self.account();
    }

    /// A key has rows now.
    #[inline]
    fn hold(cell: &mut Cell, (id, index): (u32, &mut KeyIndex), roster: Option<&mut Roster>) {
        if !cell.is_held {
            cell.is_held = true;
            index.hold(id);
            if let Some(roster) = roster {
                roster.add(id);
            }
        }
    }

    fn overflow(name: &Arc<str>, shape: &Shape, slot: usize) -> WindowError {
        WindowError::Overflow {
            operator: name.clone(),
            aggregate: shape.slots[slot].name.clone(),
        }
    }
}

//! Event-time order: rows are held until the watermark has passed them, and go on sorted by
//! (time, split, offset). The result then depends neither on how rows were cut into batches nor on
//! how splits were interleaved.

mod image;

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::{Array, UInt32Array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::ArrowError;
use wasmill_core::batch::Batch;
use wasmill_core::lineage::{Ancestor, Cause, Lineage, TimerCause};
use wasmill_core::watermark;

pub use image::{EncodedSorter, HeldError, Share, SorterImage, check_held};

/// So many runs of one level are merged into one of the next: a row is copied once for each level.
const RUNS_PER_LEVEL: usize = 8;

/// Why rows could not be held.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SorterError {
    /// Too many rows wait for the watermark.
    #[error(
        "{rows} rows ({bytes} bytes) wait for the watermark, which stands at {watermark}, and only \
         {bytes_max} bytes may: lower the source's out-of-orderness, set `idle-after`, or use \
         `order: arrival`"
    )]
    Full {
        /// How many rows wait.
        rows: usize,
        /// Their memory.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
        /// The watermark they wait for to move, in microseconds.
        watermark: i64,
    },
    /// The rows have no event time.
    #[error("rows without event time cannot be put into its order: declare `event-time`")]
    NoTime,
    /// Batches of different schemas.
    #[error("rows of one stream have different columns")]
    Columns(#[from] ArrowError),
}

/// Holds the rows of one input until their time has come.
#[derive(Debug)]
pub struct Sorter {
    /// Sorted runs; those of level `n` are merges of [`RUNS_PER_LEVEL`] of level `n - 1`.
    levels: Vec<Vec<Run>>,
    /// What has been given out: rows before it are late.
    released: i64,
    bytes_max: usize,
    /// Which of the task's inputs it is: decides between rows of two inputs in one place.
    input: usize,
}

/// Sorted rows, the first `next` of which have been given out.
#[derive(Debug)]
struct Run {
    batch: Batch,
    places: Vec<Place>,
    next: usize,
}

/// Where a row stands in the one order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    time: i64,
    origin: Origin,
}

/// Rows of one source row keep the order in which they came; rows of timers stand behind all rows
/// of their time, in an order that does not depend on when they fired.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Row {
        split: u32,
        offset: u64,
    },
    /// Where the rows of both sides came from that were joined.
    Joined(Box<[Option<(u32, u64)>; 2]>),
    Timer(Arc<TimerCause>),
}

impl Sorter {
    /// An empty sorter of one of a task's inputs, which holds at most `bytes_max` bytes of rows.
    pub fn new(input: usize, bytes_max: usize) -> Self {
        Self {
            input,
            levels: Vec::new(),
            released: watermark::START,
            bytes_max,
        }
    }

    /// Takes the rows of a batch and gives back those that are late: behind their own clock, which
    /// depends on the input alone, or behind what the last [`Sorter::release`] gave out, which only
    /// splits that were idle or unknown can be.
    ///
    /// # Errors
    /// If too much is held then, or the rows have no time or other columns than those before.
    pub fn push(&mut self, batch: Batch) -> Result<Option<Batch>, SorterError> {
        let times = batch.times.clone().ok_or(SorterError::NoTime)?;
        let clocks = batch.clocks.clone();
        let floor = |row: usize| match &clocks {
            Some(clocks) => clocks[row].max(self.released),
            None => self.released,
        };
        let is_late = |row: &u32| times[*row as usize] < floor(*row as usize);
        let (late, held): (Vec<u32>, Vec<u32>) = (0..times.len() as u32).partition(is_late);
        if batch.is_empty() {
            return Ok(None);
        }
        if late.is_empty() {
            self.add(0, Run::sort(batch, &times)?)?;
            return self.check().map(|()| None);
        }
        let late = batch.take(&late.into())?;
        let held = batch.take(&held.into())?;
        if let Some(times) = held.times.clone().filter(|times| !times.is_empty()) {
            self.add(0, Run::sort(held, &times)?)?;
        }
        self.check().map(|()| Some(late))
    }

    /// Where the first row stands whose time lies before `watermark`, and in which input.
    pub fn first(&self, watermark: i64) -> Option<(Place, usize)> {
        let runs = self.levels.iter().flatten();
        let due = runs.filter(|run| run.next < run.ready(watermark, None));
        let first = due.map(|run| &run.places[run.next]).min()?;
        Some((first.clone(), self.input))
    }

    /// Gives out the next rows whose time lies before `watermark`, and which do not stand behind
    /// `before` of another input, at most `rows_max`; none when there are no more. Each row's
    /// clock is its own time: nothing before it is to come.
    ///
    /// # Errors
    /// If rows of different columns were pushed.
    pub fn release(
        &mut self,
        watermark: i64,
        before: Option<&(Place, usize)>,
        rows_max: usize,
    ) -> Result<Option<Batch>, SorterError> {
        let before = before.map(|(place, input)| (place, self.input < *input));
        let mut chosen: Vec<(&Place, usize, usize)> = Vec::new();
        let mut runs: Vec<&mut Run> = self.levels.iter_mut().flatten().collect();
        for (at, run) in runs.iter().enumerate() {
            let end = run.ready(watermark, before).min(run.next + rows_max);
            chosen.extend((run.next..end).map(|row| (&run.places[row], at, row)));
        }
        // Runs stand in the order of their rows' arrival within a level, which decides between
        // equal places; equal places of different splits do not exist.
        chosen.sort();
        chosen.truncate(rows_max);
        let picked: Vec<(usize, usize)> = chosen.iter().map(|(_, at, row)| (*at, *row)).collect();
        if picked.is_empty() {
            if before.is_none() {
                // Only now is everything before the watermark out.
                self.released = self.released.max(watermark);
            }
            return Ok(None);
        }
        let batch = take(&mut runs, &picked)?;
        self.levels
            .iter_mut()
            .for_each(|runs| runs.retain(|run| !run.is_done()));
        let clocks = batch.times.clone();
        Ok(Some(Batch { clocks, ..batch }))
    }

    /// Number of rows held.
    pub fn rows(&self) -> usize {
        let runs = self.levels.iter().flatten();
        runs.map(|run| run.places.len() - run.next).sum()
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.levels.iter().flatten().map(Run::bytes).sum()
    }

    fn check(&self) -> Result<(), SorterError> {
        let bytes = self.bytes();
        if bytes <= self.bytes_max {
            return Ok(());
        }
        Err(SorterError::Full {
            rows: self.rows(),
            bytes,
            bytes_max: self.bytes_max,
            watermark: self.released,
        })
    }

    /// Adds a run, and merges the level's runs once there are enough of them.
    fn add(&mut self, level: usize, run: Run) -> Result<(), SorterError> {
        if level == self.levels.len() {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(run);
        if self.levels[level].len() < RUNS_PER_LEVEL {
            return Ok(());
        }
        let runs = std::mem::take(&mut self.levels[level]);
        let left: Vec<Batch> = runs
            .iter()
            .map(|run| run.batch.slice(run.next, run.places.len() - run.next))
            .collect();
        let merged = Batch::concat(&left)?;
        let times = merged.times.clone().ok_or(SorterError::NoTime)?;
        self.add(level + 1, Run::sort(merged, &times)?)
    }
}

impl Run {
    /// Sorts a batch; one that is in order already is not copied.
    fn sort(batch: Batch, times: &ScalarBuffer<i64>) -> Result<Self, SorterError> {
        let place = |row: usize| Place {
            time: times[row],
            origin: Origin::of(&batch.lineage, row),
        };
        let places: Vec<Place> = (0..times.len()).map(place).collect();
        if places.is_sorted() {
            return Ok(Self {
                batch,
                places,
                next: 0,
            });
        }
        let mut order: Vec<u32> = (0..times.len() as u32).collect();
        order.sort_by(|a, b| places[*a as usize].cmp(&places[*b as usize]));
        let sorted = order
            .iter()
            .map(|row| places[*row as usize].clone())
            .collect();
        Ok(Self {
            batch: batch.take(&order.into())?,
            places: sorted,
            next: 0,
        })
    }

    /// Up to where the rows lie before the watermark, at the end of time all do, and not behind
    /// `before`; the flag says whether at the very place is not behind it.
    fn ready(&self, watermark: i64, before: Option<(&Place, bool)>) -> usize {
        let is_due = |place: &Place| watermark == watermark::END || place.time < watermark;
        let is_next = |place: &Place| {
            before.is_none_or(|(before, or_there)| place < before || or_there && place == before)
        };
        self.places
            .partition_point(|place| is_due(place) && is_next(place))
    }

    fn is_done(&self) -> bool {
        self.next == self.places.len()
    }

    fn bytes(&self) -> usize {
        let columns = self.batch.rows.columns().iter();
        columns
            .map(|column| column.get_array_memory_size())
            .sum::<usize>()
            + self.places.capacity() * size_of::<Place>()
            + self.batch.len() * 4 * size_of::<u64>()
    }
}

impl Origin {
    fn of(lineage: &Lineage, row: usize) -> Self {
        let nowhere = Self::Row {
            split: u32::MAX,
            offset: u64::MAX,
        };
        match lineage.origin(row) {
            None => nowhere,
            Some((Ancestor::Chunk(chunk), at)) => Self::Row {
                split: chunk.split,
                offset: chunk.offset(at),
            },
            Some((Ancestor::Windows(windows), at)) => {
                // A key has one window that ends there.
                let at = at as usize;
                Self::Timer(Arc::new(TimerCause {
                    key: windows.keys.to_bytes(at).into(),
                    name: windows.operator.clone(),
                    time: windows.ends[at],
                    ordinal: windows.ordinals[at],
                }))
            }
            Some((Ancestor::Derived(derived), at)) => match &derived.causes[at as usize] {
                Cause::Timer(timer) => Self::Timer(timer.clone()),
                Cause::Row { row, .. } => Self::of(&derived.parent, *row as usize),
                Cause::Join(join) => {
                    let position = |row: u32| derived.parent.position(row as usize);
                    let sides = [join.left, join.right];
                    Self::Joined(Box::new(sides.map(|row| row.and_then(position))))
                }
            },
        }
    }

    /// Rows of sources stand before those of joins, and these before those of timers.
    fn rank(&self) -> u8 {
        match self {
            Self::Row { .. } => 0,
            Self::Joined(_) => 1,
            Self::Timer(_) => 2,
        }
    }
}

impl Ord for Origin {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (
                Self::Row { split, offset },
                Self::Row {
                    split: other,
                    offset: at,
                },
            ) => (split, offset).cmp(&(other, at)),
            (Self::Joined(sides), Self::Joined(others)) => sides.cmp(others),
            (Self::Timer(a), Self::Timer(b)) => {
                let place = |timer: &TimerCause| (timer.time, timer.ordinal);
                let names = (&a.key, &a.name).cmp(&(&b.key, &b.name));
                names.then_with(|| place(a).cmp(&place(b)))
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Origin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The picked (run, row) pairs, in their order; the rows of each run are its next ones.
fn take(runs: &mut [&mut Run], picked: &[(usize, usize)]) -> Result<Batch, ArrowError> {
    let mut counts = vec![0; runs.len()];
    for (run, _) in picked {
        counts[*run] += 1;
    }
    let mut starts = vec![0; runs.len()];
    let (mut parts, mut end) = (Vec::new(), 0);
    for (at, run) in runs
        .iter_mut()
        .enumerate()
        .filter(|(at, _)| counts[*at] > 0)
    {
        // Where row 0 of the run would stand in the concatenation.
        starts[at] = end as i64 - run.next as i64;
        parts.push(run.batch.slice(run.next, counts[at]));
        run.next += counts[at];
        end += counts[at];
    }
    let rows = Batch::concat(&parts)?;
    let indices: Vec<u32> = picked
        .iter()
        .map(|(run, row)| (starts[*run] + *row as i64) as u32)
        .collect();
    if indices.is_sorted() {
        return Ok(rows);
    }
    rows.take(&UInt32Array::from(indices))
}

#[cfg(test)]
mod tests;

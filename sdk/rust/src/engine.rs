//! Turns a batch into calls of the operator, and what they did into the answer.
//!
//! The same code runs in a component and natively, in the harness and in benchmarks: what differs
//! is who lays out the batch and who stands behind the imports (`host.rs`).
//!
//! A call goes through these steps:
//!
//! 1. the engine's columns are checked: a key for each row, clocks where there are timers;
//! 2. state, outputs and timers forget the batch before, and take in what rides with this one;
//! 3. the operator sees the whole batch (`begin_batch`), then names map entries (`prefetch`), for
//!    all of which the host is asked once;
//! 4. row by row: the key's timers that are due fire, then the row is processed; one that is
//!    refused is undone;
//! 5. timers fire that are due by the end of the batch, those of keys without rows too;
//! 6. everything that changed is laid out, once to learn its size and once to write it.

use crate::arena::{Layout, Put};
use crate::buffer::{Batch, engine, group, kind};
use crate::context::{Context, Emit};
use crate::operator::BatchRows;
use crate::rows::Rows;
use crate::timer::{TimerQueue, has_domain};
use crate::{Fault, Input, Key, Operator, Outputs, Reject, Start, States, Timers};
use crate::{Malformed, config};
use serde_json::Value as Json;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};

/// A row number that stands for none.
const NO_ROW: u32 = u32::MAX;

/// The row in hand, for the panic hook of a component. A component has one thread; a static costs
/// a store where a thread-local costs a call.
static ROW: AtomicU32 = AtomicU32::new(NO_ROW);

/// The row in hand, if there is one.
#[cfg(target_arch = "wasm32")]
pub(crate) fn current_row() -> Option<u32> {
    Some(ROW.load(Ordering::Relaxed)).filter(|row| *row != NO_ROW)
}

/// Notes the row in hand, where it is no row of an operator's batch.
pub(crate) fn set_current_row(row: Option<u32>) {
    ROW.store(row.unwrap_or(NO_ROW), Ordering::Relaxed);
}

/// An operator with everything it needs from batch to batch. Buffers are kept and filled anew:
/// after the first batches a call allocates the answer and nothing else.
pub struct Engine<Op: Operator> {
    operator: Op,
    state: Op::State,
    outputs: Vec<Rows>,
    timers: TimerQueue,
    rejects: Rejects,
}

/// Refused rows: their numbers and reasons, whose texts stand back to back between `ends`.
#[derive(Default)]
pub(crate) struct Rejects {
    rows: Vec<u32>,
    reasons: Vec<u8>,
    ends: Vec<u32>,
}

/// The engine's own columns of a batch; what the operator has no use for is empty.
struct Engineered<'a> {
    /// For each row the number of its key.
    keys: &'a [[u8; 4]],
    /// For each row its key's event-time clock, in microseconds.
    clocks: &'a [[u8; 8]],
    /// For each key its event-time clock at the batch's end.
    key_clocks: &'a [[u8; 8]],
    /// The machine's clock as of the batch, in microseconds.
    now: i64,
    /// The number of distinct keys, those without rows included.
    key_count: usize,
    /// Whether the rows belong to no key.
    is_broadcast: bool,
}

/// The timers of an operator.
type TimersOf<Op> = <<Op as Operator>::State as States>::Timer;

/// The key columns of an operator.
type KeyOf<'a, Op> = <<Op as Operator>::State as States>::Key<'a>;

impl<Op: Operator> Engine<Op> {
    // Constants of the operator's types: what it does not declare costs it nothing.
    const HAS_TIMERS: bool = !TimersOf::<Op>::SPECS.is_empty();
    const EVENT: bool = has_domain(TimersOf::<Op>::SPECS, false);
    const PROCESSING: bool = has_domain(TimersOf::<Op>::SPECS, true);
    const KEYED: bool = <Op::State as States>::KEYED
        || Self::HAS_TIMERS
        || <KeyOf<'static, Op> as Key<'static>>::DECLARED;

    /// Makes the operator from the context document (docs/formats/descriptor.md). Only its version
    /// is insisted on: a later host may say more than this knows.
    pub fn open(context: &str) -> Result<Self, Fault> {
        let (given, start) = read_context(context)?;
        let configuration = config::read::<Op::Config>(&given)?;
        let shapes = Op::Output::shapes();
        Ok(Self {
            operator: Op::open(configuration, &start)?,
            state: Op::State::create(),
            outputs: shapes.iter().map(|shapes| Rows::new(shapes)).collect(),
            timers: TimerQueue::new(TimersOf::<Op>::SPECS),
            rejects: Rejects::default(),
        })
    }

    /// Processes one batch and gives the answer's directory and arena.
    ///
    /// # Errors
    /// If the batch is malformed or the operator faults. What had happened by then is forgotten
    /// with the next batch; in a component the host drops the instance anyway.
    pub fn process(
        &mut self,
        rows: u32,
        directory: &[u32],
        arena: &[u64],
    ) -> Result<(Vec<u32>, Vec<u64>), Fault> {
        ROW.store(NO_ROW, Ordering::Relaxed);
        let batch = Batch::new(directory, arena)?;
        let counts = [0, 1].map(|input| batch.section(group::INPUT, input));
        let [keyed, broadcast] = counts;
        let (keyed, broadcast) = (keyed?.rows(), broadcast?.rows());
        if keyed.max(broadcast) != rows as usize || keyed.min(broadcast) > 0 {
            return Err(Fault::new(
                "the input has another number of rows than the batch",
            ));
        }
        let mut engineered = Self::engineered(&batch, keyed)?;
        engineered.is_broadcast = broadcast > 0;
        self.reset(&batch, engineered.key_count)?;
        self.run(&batch, rows, &engineered)?;
        ROW.store(NO_ROW, Ordering::Relaxed);
        Ok(self.lay_out())
    }

    /// Finds and checks the engine's columns that this operator reads.
    fn engineered<'a>(batch: &Batch<'a>, rows: usize) -> Result<Engineered<'a>, Malformed> {
        let input = batch.section(group::INPUT, 0)?;
        let section = batch.section(group::KEYS, 0)?;
        let now = batch.section(group::BATCH, 0)?;
        let key_count = section.rows();
        let mut found = Engineered {
            keys: &[],
            clocks: &[],
            key_clocks: &[],
            now: i64::MIN,
            key_count,
            is_broadcast: false,
        };
        if Self::KEYED {
            found.keys = input.fixed(engine::KEY, rows)?;
            if found
                .keys
                .chunks(16)
                .any(|keys| highest(keys) as usize >= key_count)
            {
                return Err(input.malformed(engine::KEY, "a key that does not exist"));
            }
        }
        if Self::EVENT {
            found.clocks = input.fixed(engine::CLOCK, rows)?;
            found.key_clocks = section.fixed(engine::CLOCK, key_count)?;
        }
        if Self::PROCESSING {
            found.now = now.fixed::<8>(0, 1).map(|now| i64::from_le_bytes(now[0]))?;
        }
        Ok(found)
    }

    /// Forgets the batch before, and takes in the state and the timers that ride with this one.
    fn reset(&mut self, batch: &Batch<'_>, keys: usize) -> Result<(), Malformed> {
        for rows in &mut self.outputs {
            rows.truncate(0);
        }
        self.rejects.rows.clear();
        self.rejects.reasons.clear();
        self.rejects.ends.clear();
        if Self::HAS_TIMERS {
            self.timers.load(batch, keys)?;
        }
        self.state.load(batch, keys)
    }

    /// Processes the rows, and fires timers among and after them.
    fn run(&mut self, batch: &Batch<'_>, rows: u32, more: &Engineered<'_>) -> Result<(), Fault> {
        let columns = Op::Input::bind(batch)?;
        self.operator.begin_batch(BatchRows::new(&columns, rows))?;
        if <Op::State as States>::MAPS {
            for row in 0..rows as usize {
                self.state.seek(key_of(more, row), Some(row));
                let input = Op::Input::read(&columns, row);
                self.operator.prefetch(&input, &mut self.state);
            }
            self.state.fetch()?;
        }
        let mut cx = Context::<Op> {
            state: &mut self.state,
            out: Emit {
                rows: &mut self.outputs,
                cause: 0,
                of: PhantomData,
            },
            timers: &mut self.timers,
            keys: <KeyOf<'_, Op> as Key<'_>>::bind(batch)?,
            key: 0,
            clock: i64::MIN,
            now: more.now,
        };
        for row in 0..rows {
            ROW.store(row, Ordering::Relaxed);
            if Self::KEYED {
                cx.key = key_of(more, row as usize);
            }
            if Self::EVENT && !more.is_broadcast {
                cx.clock = i64::from_le_bytes(more.clocks[row as usize]);
            }
            if Self::HAS_TIMERS && !more.is_broadcast {
                Self::fire_due(&mut self.operator, &mut cx);
                cx.timers.begin();
            }
            cx.out.cause = row;
            cx.state.seek(cx.key, Some(row as usize));
            let input = Op::Input::read(&columns, row as usize);
            if let Err(reject) = self.operator.process(input, &mut cx) {
                Self::refuse(&mut cx, &mut self.rejects, row, &reject);
            }
        }
        ROW.store(NO_ROW, Ordering::Relaxed);
        if Self::HAS_TIMERS {
            for key in 0..more.key_count {
                cx.key = key;
                if Self::EVENT {
                    cx.clock = i64::from_le_bytes(more.key_clocks[key]);
                }
                Self::fire_due(&mut self.operator, &mut cx);
            }
        }
        Ok(())
    }

    /// Fires the timers of the current key whose time is over, those set meanwhile included.
    fn fire_due(operator: &mut Op, cx: &mut Context<'_, Op>) {
        loop {
            let mut due = None;
            if Self::PROCESSING {
                due = cx.timers.fire(cx.key, true, cx.now);
            }
            if Self::EVENT && due.is_none() {
                due = cx.timers.fire(cx.key, false, cx.clock);
            }
            let Some((timer, at, cause)) = due else {
                return;
            };
            cx.out.cause = cause;
            cx.state.seek(cx.key, None);
            operator.on_timer(TimersOf::<Op>::from_index(timer), at, cx);
        }
    }

    /// Takes back everything that the row did, and notes the reason.
    #[cold]
    fn refuse(cx: &mut Context<'_, Op>, rejects: &mut Rejects, row: u32, reject: &Reject) {
        cx.state.undo();
        cx.out.undo();
        if Self::HAS_TIMERS {
            cx.timers.undo();
        }
        rejects.push(row, reject);
    }
}

/// The configuration, and where the instance starts, as the context document has them.
pub(crate) fn read_context(context: &str) -> Result<(Json, Start), Fault> {
    let mut context: Json = serde_json::from_str(context)
        .map_err(|error| Fault::new(format!("the context is not JSON: {error}")))?;
    if context["context"] != 1 {
        return Err(Fault::new("the context is not of version 1"));
    }
    let number = |field: &str| context[field].as_u64().and_then(|n| u32::try_from(n).ok());
    let start = Start {
        operator: context["operator"].as_str().unwrap_or_default().to_owned(),
        subtask: number("subtask").unwrap_or(0),
        subtasks: number("subtasks").unwrap_or(1),
    };
    Ok((context["config"].take(), start))
}

/// The highest of a few keys. In a sandbox each turn of a loop looks at the clock; this one is
/// unrolled.
#[inline]
fn highest(keys: &[[u8; 4]]) -> u32 {
    let keys = keys.iter().map(|key| u32::from_le_bytes(*key));
    keys.fold(0, u32::max)
}

/// The key of a row.
#[inline]
fn key_of(more: &Engineered<'_>, row: usize) -> usize {
    match more.keys.get(row) {
        Some(key) => u32::from_le_bytes(*key) as usize,
        None => 0,
    }
}

impl<Op: Operator> Layout for Engine<Op> {
    fn put(&self, put: &mut impl Put) {
        for (ordinal, rows) in self.outputs.iter().enumerate() {
            rows.put(group::OUTPUT, ordinal as u32, true, put);
        }
        self.rejects.put(put);
        self.state.put(put);
        if Self::HAS_TIMERS {
            self.timers.put(put);
        }
    }
}

impl Rejects {
    /// Notes a row and its reason; rows rise.
    pub(crate) fn push(&mut self, row: u32, reject: &Reject) {
        self.rows.push(row);
        self.reasons.extend_from_slice(reject.reason().as_bytes());
        self.ends.push(self.reasons.len() as u32);
    }

    /// Whether a row was refused.
    pub(crate) fn has(&self, row: u32) -> bool {
        self.rows.binary_search(&row).is_ok()
    }

    pub(crate) fn put(&self, put: &mut impl Put) {
        if self.rows.is_empty() {
            return;
        }
        put.section(group::REJECTS, 0, self.rows.len());
        put.buffer(0, kind::OFFSETS, (self.ends.len() + 1) * 4, |out| {
            out[4..].copy_from_slice(bytemuck::cast_slice(&self.ends));
        });
        put.copy(0, kind::DATA, &self.reasons);
        put.copy(
            engine::CAUSE,
            kind::VALUES,
            bytemuck::cast_slice(&self.rows),
        );
    }
}

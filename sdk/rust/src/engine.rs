//! Turns a batch into calls of the operator, and what they did into the answer.

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

/// An operator with everything it needs from batch to batch.
pub struct Engine<Op: Operator> {
    operator: Op,
    state: Op::State,
    outputs: Vec<Rows>,
    timers: TimerQueue,
    rejects: Rejects,
}

/// Refused rows: their numbers and reasons.
#[derive(Default)]
struct Rejects {
    rows: Vec<u32>,
    reasons: Vec<u8>,
    ends: Vec<u32>,
}

/// The engine's own columns of a batch.
struct Engineered<'a> {
    keys: &'a [[u8; 4]],
    clocks: &'a [[u8; 8]],
    key_clocks: &'a [[u8; 8]],
    now: i64,
    key_count: usize,
}

/// The timers of an operator.
type TimersOf<Op> = <<Op as Operator>::State as States>::Timer;

/// The key columns of an operator.
type KeyOf<'a, Op> = <<Op as Operator>::State as States>::Key<'a>;

impl<Op: Operator> Engine<Op> {
    const HAS_TIMERS: bool = !TimersOf::<Op>::SPECS.is_empty();
    const EVENT: bool = has_domain(TimersOf::<Op>::SPECS, false);
    const PROCESSING: bool = has_domain(TimersOf::<Op>::SPECS, true);
    const KEYED: bool = <Op::State as States>::COUNT > 0
        || Self::HAS_TIMERS
        || <KeyOf<'static, Op> as Key<'static>>::DECLARED;

    /// Makes the operator from the context document.
    pub fn open(context: &str) -> Result<Self, Fault> {
        let context: Json = serde_json::from_str(context)
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
        let configuration = config::read::<Op::Config>(&context["config"])?;
        let shapes = Op::Output::shapes();
        Ok(Self {
            operator: Op::open(configuration, &start)?,
            state: Op::State::create(),
            outputs: shapes.iter().map(|shapes| Rows::new(shapes)).collect(),
            timers: TimerQueue::new(TimersOf::<Op>::SPECS),
            rejects: Rejects::default(),
        })
    }

    /// Processes one batch.
    pub fn process(
        &mut self,
        rows: u32,
        directory: &[u32],
        arena: &[u64],
    ) -> Result<(Vec<u32>, Vec<u64>), Fault> {
        ROW.store(NO_ROW, Ordering::Relaxed);
        let batch = Batch::new(directory, arena)?;
        let input = batch.section(group::INPUT, 0)?;
        if input.rows() != rows as usize {
            return Err(Fault::new(
                "the input has another number of rows than the batch",
            ));
        }
        let engineered = Self::engineered(&batch, rows as usize)?;
        self.reset(&batch, engineered.key_count)?;
        self.run(&batch, rows, &engineered)?;
        ROW.store(NO_ROW, Ordering::Relaxed);
        Ok(self.lay_out())
    }

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
            if Self::EVENT {
                cx.clock = i64::from_le_bytes(more.clocks[row as usize]);
            }
            if Self::HAS_TIMERS {
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

    #[cold]
    fn refuse(cx: &mut Context<'_, Op>, rejects: &mut Rejects, row: u32, reject: &Reject) {
        cx.state.undo();
        cx.out.undo();
        if Self::HAS_TIMERS {
            cx.timers.undo();
        }
        rejects.rows.push(row);
        rejects
            .reasons
            .extend_from_slice(reject.reason().as_bytes());
        rejects.ends.push(rejects.reasons.len() as u32);
    }
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
    fn put(&self, put: &mut impl Put) {
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

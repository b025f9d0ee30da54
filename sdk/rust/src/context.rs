//! What an operator can do while it processes a row.

use crate::rows::Rows;
use crate::timer::TimerQueue;
use crate::{Key, Operator, Outputs, States, Timers, Timestamp, host};
use std::fmt;
use std::marker::PhantomData;

/// What an operator can do while it processes a row or a timer: read and change the state of the
/// row's key, emit rows, set timers.
/// ```
/// # use wasmill_sdk::prelude::*;
/// # #[derive(Row)] struct Visit { user: u64 }
/// # #[derive(Row)] struct Visits { count: u64 }
/// # #[derive(States)] struct Memory { count: Value<u64> }
/// # struct Counter;
/// # impl Operator for Counter {
/// #     const PLUGIN: Plugin = plugin!("counter");
/// #     type Config = (); type Input<'a> = Visit; type Output<'a> = Visits; type State = Memory;
/// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
/// fn process(&mut self, _row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
///     let count = cx.state.count.update(|count| *count += 1);
///     cx.emit(Visits { count });
///     Ok(())
/// }
/// # }
/// ```
pub struct Context<'a, Op: Operator> {
    /// The state of the current key.
    pub state: &'a mut Op::State,
    /// The outputs; [`Context::emit`] is the short way there.
    pub out: Emit<'a, Op>,
    pub(crate) timers: &'a mut TimerQueue,
    pub(crate) keys: KeyColumns<'a, Op>,
    pub(crate) key: usize,
    pub(crate) clock: i64,
    pub(crate) now: i64,
}

/// The bound key columns of an operator.
pub(crate) type KeyColumns<'a, Op> =
    <<<Op as Operator>::State as States>::Key<'a> as Key<'a>>::Columns;

impl<'a, Op: Operator> Context<'a, Op> {
    /// Emits a row: to its output, in the order of the calls.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row, Clone)] struct Visit { user: u64 }
    /// # #[derive(Timers, Clone, Copy)] enum Timer { Over }
    /// # #[derive(States)] #[states(key = Visit, timer = Timer)] struct Memory { last: Value<u64> }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit;
    /// #     type Output<'a> = Visit; type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// cx.emit(Visit { user: row.user });
    /// #         Ok(())
    /// #     }
    /// # }
    /// ```
    #[inline]
    pub fn emit<'r>(&mut self, row: impl Into<Op::Output<'r>>) {
        self.out.emit(row);
    }

    /// The current key, as far as `#[states(key = …)]` names its columns.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row, Clone)] struct Visit { user: u64 }
    /// # #[derive(Timers, Clone, Copy)] enum Timer { Over }
    /// # #[derive(States)] #[states(key = Visit, timer = Timer)] struct Memory { last: Value<u64> }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit;
    /// #     type Output<'a> = Visit; type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// let user = cx.key().user;
    /// # let _ = user;
    /// #         Ok(())
    /// #     }
    /// # }
    /// ```
    pub fn key(&self) -> <Op::State as States>::Key<'a> {
        Key::read(&self.keys, self.key)
    }

    /// Sets a timer of the current key. One that is set already stays as it is.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row, Clone)] struct Visit { user: u64 }
    /// # #[derive(Timers, Clone, Copy)] enum Timer { Over }
    /// # #[derive(States)] #[states(key = Visit, timer = Timer)] struct Memory { last: Value<u64> }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit;
    /// #     type Output<'a> = Visit; type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// cx.set_timer(Timer::Over, cx.clock() + std::time::Duration::from_secs(60));
    /// #         Ok(())
    /// #     }
    /// # }
    /// ```
    pub fn set_timer(&mut self, timer: <Op::State as States>::Timer, at: Timestamp) {
        self.timers.set(self.key, timer.index(), at.as_micros());
    }

    /// Deletes a timer of the current key, if it is set.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row, Clone)] struct Visit { user: u64 }
    /// # #[derive(Timers, Clone, Copy)] enum Timer { Over }
    /// # #[derive(States)] #[states(key = Visit, timer = Timer)] struct Memory { last: Value<u64> }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit;
    /// #     type Output<'a> = Visit; type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// cx.delete_timer(Timer::Over, Timestamp::from_secs(60));
    /// #         Ok(())
    /// #     }
    /// # }
    /// ```
    pub fn delete_timer(&mut self, timer: <Op::State as States>::Timer, at: Timestamp) {
        self.timers.delete(self.key, timer.index(), at.as_micros());
    }

    /// The event-time clock of the current key: its watermark as of the row. Only an operator with
    /// event timers has one; for others it is [`Timestamp::MIN`].
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row, Clone)] struct Visit { user: u64 }
    /// # #[derive(Timers, Clone, Copy)] enum Timer { Over }
    /// # #[derive(States)] #[states(key = Visit, timer = Timer)] struct Memory { last: Value<u64> }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit;
    /// #     type Output<'a> = Visit; type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// if cx.clock() > Timestamp::from_secs(60) {
    ///     return reject("too late");
    /// }
    /// #         Ok(())
    /// #     }
    /// # }
    /// ```
    pub fn clock(&self) -> Timestamp {
        Timestamp::from_micros(self.clock)
    }

    /// The machine's time, which stands still during a batch. Only an operator with processing
    /// timers has one; for others it is [`Timestamp::MIN`].
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row, Clone)] struct Visit { user: u64 }
    /// # #[derive(Timers, Clone, Copy)] enum Timer { Over }
    /// # #[derive(States)] #[states(key = Visit, timer = Timer)] struct Memory { last: Value<u64> }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit;
    /// #     type Output<'a> = Visit; type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// let now = cx.processing_time();
    /// # let _ = now;
    /// #         Ok(())
    /// #     }
    /// # }
    /// ```
    pub fn processing_time(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    /// Writes a line to the plugin's log.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row, Clone)] struct Visit { user: u64 }
    /// # #[derive(Timers, Clone, Copy)] enum Timer { Over }
    /// # #[derive(States)] #[states(key = Visit, timer = Timer)] struct Memory { last: Value<u64> }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit;
    /// #     type Output<'a> = Visit; type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// cx.log(Level::Warn, format_args!("user {} is new", row.user));
    /// #         Ok(())
    /// #     }
    /// # }
    /// ```
    pub fn log(&self, level: Level, line: fmt::Arguments<'_>) {
        host::log(level, &line.to_string());
    }

    /// Adds to a counter of this operator, which the host shows among its metrics.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row, Clone)] struct Visit { user: u64 }
    /// # #[derive(Timers, Clone, Copy)] enum Timer { Over }
    /// # #[derive(States)] #[states(key = Visit, timer = Timer)] struct Memory { last: Value<u64> }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit;
    /// #     type Output<'a> = Visit; type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// cx.count("visits", 1);
    /// #         Ok(())
    /// #     }
    /// # }
    /// ```
    pub fn count(&self, counter: &str, delta: u64) {
        host::count(counter, delta);
    }

    /// A generator of random numbers that derives from where the row comes from, or from the
    /// timer's key, number and time, and from the operator's name: the row sees the same numbers
    /// when it is run again, in another batch, at another parallelism and in a replay of its
    /// source. Asked twice for one row it begins twice at the same number: keep it, and draw
    /// from it.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row, Clone)] struct Visit { user: u64 }
    /// # #[derive(Timers, Clone, Copy)] enum Timer { Over }
    /// # #[derive(States)] #[states(key = Visit, timer = Timer)] struct Memory { last: Value<u64> }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit;
    /// #     type Output<'a> = Visit; type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// let lucky = cx.random().float() < 0.01;
    /// # let _ = lucky;
    /// #         Ok(())
    /// #     }
    /// # }
    /// ```
    pub fn random(&self) -> Random {
        let cause = self.out.cause;
        let state = match self.timers.change(cause) {
            None => host::seed_of_row(cause),
            Some(fired) => {
                let number = u64::from(fired.timer);
                let mut time = Random {
                    state: fired.at as u64 ^ number.rotate_left(32),
                };
                host::seed_of_key(fired.key) ^ time.bits()
            }
        };
        Random { state }
    }
}

/// The outputs of an operator: `cx.out.emit(…)` works while `cx.state` is borrowed, which
/// [`Context::emit`] does not.
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
/// # fn main() {
/// fn repeat_pages(cx: &mut Context<'_, Counter>) {
///     for page in cx.state.pages.iter() {
///         cx.out.emit(Visits { user: page.len() as u64, count: 1 });
///     }
/// }
/// # }
/// ```
pub struct Emit<'a, Op> {
    pub(crate) rows: &'a mut [Rows],
    pub(crate) cause: u32,
    pub(crate) of: PhantomData<fn() -> Op>,
}

impl<Op: Operator> Emit<'_, Op> {
    /// Emits a row: to its output, in the order of the calls.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row, Clone)] struct Visit { user: u64 }
    /// # #[derive(Timers, Clone, Copy)] enum Timer { Over }
    /// # #[derive(States)] #[states(key = Visit, timer = Timer)] struct Memory { last: Value<u64> }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit;
    /// #     type Output<'a> = Visit; type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// let last = &cx.state.last;
    /// if let Some(user) = last.get() {
    ///     cx.out.emit(Visit { user });
    /// }
    /// #         Ok(())
    /// #     }
    /// # }
    /// ```
    #[inline]
    pub fn emit<'r>(&mut self, row: impl Into<Op::Output<'r>>) {
        row.into().append(self.rows, self.cause);
    }

    /// Takes back what the current cause has emitted.
    pub(crate) fn undo(&mut self) {
        for rows in &mut *self.rows {
            let mut kept = rows.len();
            while kept > 0 && rows.cause(kept - 1) == self.cause {
                kept -= 1;
            }
            if kept < rows.len() {
                rows.truncate(kept);
            }
        }
    }
}

/// How much a line of the log matters.
/// ```
/// assert!(wasmill_sdk::Level::Warn > wasmill_sdk::Level::Info);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author, step by step.
    Trace,
    /// For the author.
    Debug,
    /// For whoever runs the job.
    Info,
    /// Something was odd, and handled.
    Warn,
    /// Data was lost, or a person is needed.
    Error,
}

/// Random numbers from a seed (SplitMix64, Steele, Lea and Flood 2014): the same seed gives the
/// same numbers. Not for secrets.
/// ```
/// # use wasmill_sdk::prelude::*;
/// # #[derive(Row)] struct Visit { user: u64 }
/// # struct Sample;
/// # impl Operator for Sample {
/// #     const PLUGIN: Plugin = plugin!("sample");
/// #     type Config = (); type Input<'a> = Visit; type Output<'a> = Visit; type State = ();
/// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
/// fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
///     // Keeps about one in a hundred.
///     if cx.random().float() < 0.01 {
///         cx.emit(row);
///     }
///     Ok(())
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// 64 random bits.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row, Clone)] struct Visit { user: u64 }
    /// # #[derive(Timers, Clone, Copy)] enum Timer { Over }
    /// # #[derive(States)] #[states(key = Visit, timer = Timer)] struct Memory { last: Value<u64> }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit;
    /// #     type Output<'a> = Visit; type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// let heads = cx.random().bits() & 1 == 1;
    /// # let _ = heads;
    /// #         Ok(())
    /// #     }
    /// # }
    /// ```
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number from 0 up to, and without, 1.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row, Clone)] struct Visit { user: u64 }
    /// # #[derive(Timers, Clone, Copy)] enum Timer { Over }
    /// # #[derive(States)] #[states(key = Visit, timer = Timer)] struct Memory { last: Value<u64> }
    /// # struct Sample;
    /// # impl Operator for Sample {
    /// #     const PLUGIN: Plugin = plugin!("sample");
    /// #     type Config = (); type Input<'a> = Visit;
    /// #     type Output<'a> = Visit; type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// let percent = cx.random().float() * 100.0;
    /// # let _ = percent;
    /// #         Ok(())
    /// #     }
    /// # }
    /// ```
    pub fn float(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

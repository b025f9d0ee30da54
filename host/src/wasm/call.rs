//! One call into a guest: its context, its CPU time, its questions to the host.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    bindings::Buffers,
    limits::{Exceeded, Limit},
    seeds::Seeds,
};
use crate::clock;

/// What a call knows besides its rows. It derives from these, so that a rerun sees the same.
#[derive(Default)]
pub struct CallContext<'a> {
    /// Event time of the batch's first row in microseconds.
    pub time_us: i64,
    /// The event time of each row in microseconds, where rows have one.
    pub times: Option<&'a [i64]>,
    /// What its random numbers derive from.
    pub seeds: Seeds,
    /// Answers questions about map states; without it they are faults.
    pub reader: Option<&'a mut dyn StateReader>,
}

/// A guest's question about a map state, still unchecked: see `Decoder::decode_map_question`.
#[derive(Debug)]
pub struct StateQuestion {
    /// Position of the state in the descriptor.
    pub state: u32,
    /// Whether all entries of the keys are wanted (`get-all`) or the named ones (`get-many`).
    pub all: bool,
    /// The question's directory.
    pub directory: Vec<u32>,
    /// The question's arena.
    pub arena: Vec<u64>,
}

/// Answers what guests ask of map states.
pub trait StateReader: Send {
    /// The directory and the arena of the answer; or why the question is refused, which ends
    /// the call.
    fn read(&mut self, question: StateQuestion) -> Result<(Vec<u32>, Vec<u64>), String>;
}

/// Where a guest's question waits for its answer. The guest's fiber and the task that polls it
/// share it.
#[derive(Debug, Default)]
pub(super) struct Mailbox(Mutex<Slot>);

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Question(StateQuestion),
    Answer(Result<Buffers, String>),
}

impl Mailbox {
    /// Asks, and parks the guest until the answer is there.
    pub(super) async fn ask(&self, question: StateQuestion) -> Result<Buffers, String> {
        *self.0.lock() = Slot::Question(question);
        poll_fn(|_| {
            let mut slot = self.0.lock();
            match std::mem::take(&mut *slot) {
                Slot::Answer(answer) => Poll::Ready(answer),
                other => {
                    *slot = other;
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn question(&self) -> Option<StateQuestion> {
        let mut slot = self.0.lock();
        match std::mem::take(&mut *slot) {
            Slot::Question(question) => Some(question),
            other => {
                *slot = other;
                None
            }
        }
    }

    fn answer(&self, answer: Result<Buffers, String>) {
        *self.0.lock() = Slot::Answer(answer);
    }
}

/// CPU time of one call: of its own thread while it runs, none while it has yielded.
///
/// Reading a thread's CPU time is a system call, so a call that ends before its first tick
/// reads none: what a call
/// used before its first tick (less than a tick) is not counted.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Nanoseconds used before the current stretch.
    used_ns: AtomicU64,
    /// The thread's CPU time when the current stretch began, plus one; 0 if it is not known.
    began_ns: AtomicU64,
    paused: std::sync::atomic::AtomicBool,
}

impl Meter {
    pub(super) fn begin(&self) {
        self.used_ns.store(0, Ordering::Relaxed);
        self.began_ns.store(0, Ordering::Relaxed);
        self.paused.store(false, Ordering::Relaxed);
    }

    /// At a tick: refuses to go on if the budget is used up.
    pub(super) fn tick(&self, budget: Duration) -> Result<(), Exceeded> {
        let now = thread_cpu_ns();
        if self.began_ns.load(Ordering::Relaxed) == 0 {
            self.began_ns.store(now + 1, Ordering::Relaxed);
            return Ok(());
        }
        let used = self.used_at(now);
        if used < budget {
            return Ok(());
        }
        Err(Exceeded {
            limit: Limit::Cpu,
            used: micros(used),
            budget: micros(budget),
        })
    }

    /// Before a yield.
    pub(super) fn pause(&self) {
        let used = self.used_at(thread_cpu_ns());
        self.used_ns
            .store(used.as_nanos() as u64, Ordering::Relaxed);
        self.began_ns.store(0, Ordering::Relaxed);
        self.paused.store(true, Ordering::Relaxed);
    }

    /// After a yield, perhaps on another thread.
    fn resume(&self) {
        if self.paused.swap(false, Ordering::Relaxed) {
            self.began_ns.store(thread_cpu_ns() + 1, Ordering::Relaxed);
        }
    }

    /// CPU time of this call so far.
    pub(super) fn used(&self) -> Duration {
        self.used_at(thread_cpu_ns())
    }

    fn used_at(&self, now_ns: u64) -> Duration {
        let before = self.used_ns.load(Ordering::Relaxed);
        let stretch = match self.began_ns.load(Ordering::Relaxed) {
            0 => 0,
            began => now_ns.saturating_sub(began - 1),
        };
        Duration::from_nanos(before + stretch)
    }
}

fn thread_cpu_ns() -> u64 {
    u64::try_from(clock::thread_cpu().as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Polls a call: keeps its CPU time, answers its questions.
pub(super) async fn drive<F: Future>(
    call: F,
    meter: &Meter,
    mailbox: &Mailbox,
    mut reader: Option<&mut dyn StateReader>,
) -> F::Output {
    let mut call = pin!(call);
    poll_fn(move |context| {
        meter.resume();
        loop {
            if let Poll::Ready(output) = call.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            // Pending with a question: answer and go on. Pending without one: the guest yields.
            let Some(question) = mailbox.question() else {
                return Poll::Pending;
            };
            mailbox.answer(answer(&mut reader, question));
        }
    })
    .await
}

fn answer(
    reader: &mut Option<&mut dyn StateReader>,
    question: StateQuestion,
) -> Result<Buffers, String> {
    let Some(reader) = reader.as_deref_mut() else {
        return Err("state can be read only while a batch is processed".into());
    };
    let (directory, arena) = reader.read(question)?;
    Ok(Buffers {
        rows: 0,
        directory,
        arena,
    })
}

/// Runs a future that only ever waits for its own next turn.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::yield_now();
    }
}

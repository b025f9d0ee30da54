//! Slots: the execution threads of the data plane, each multiplexing many tasks.
//!
//! A task is a future that never blocks. A slot runs the task with the least weighted virtual run
//! time; one that wakes after a rest goes next, since its virtual time has stood still. Guests are
//! interrupted at epoch ticks, where [`somebody_is_ready`] decides whether they yield.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::BinaryHeap,
    future::Future,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

#[expect(
    clippy::disallowed_types,
    reason = "each task stands in it once at most, so the tasks bound it"
)]
use crossbeam_queue::SegQueue;

use crate::{clock, spawn};

/// How far a task that rested may lie behind the others: it goes next, but cannot hoard.
const SLACK_NS: u64 = 4_000_000;
/// How long a task runs before it should let others go.
const SLICE: Duration = Duration::from_millis(1);

type Runnable = async_task::Runnable<Arc<TaskClock>>;

/// A task's share of its slot.
#[derive(Debug)]
pub struct TaskClock {
    /// Run time in nanoseconds divided by the weight.
    virtual_ns: AtomicU64,
    /// Run time in nanoseconds.
    busy_ns: AtomicU64,
    /// Parts in 100 of a normal task's share.
    weight: u64,
}

impl Default for TaskClock {
    fn default() -> Self {
        Self {
            virtual_ns: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            weight: 100,
        }
    }
}

impl TaskClock {
    /// A task with the given share; 100 is normal.
    pub fn new(weight: u64) -> Arc<Self> {
        let weight = weight.clamp(1, 10_000);
        Arc::new(Self {
            virtual_ns: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            weight,
        })
    }

    /// How long the task has run.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_ns.load(Ordering::Relaxed))
    }

    fn charge(&self, ran: Duration) {
        let ns = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX);
        self.busy_ns.fetch_add(ns, Ordering::Relaxed);
        self.virtual_ns
            .fetch_add(ns.saturating_mul(100) / self.weight, Ordering::Relaxed);
    }
}

/// What a slot shares with those who wake its tasks.
#[derive(Default)]
struct Inbox {
    /// Tasks that became ready; at most one entry a task, so the tasks bound it.
    #[expect(clippy::disallowed_types, reason = "bounded, see above")]
    ready: SegQueue<Runnable>,
    parked: AtomicBool,
    stopping: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Inbox {
    fn push(&self, runnable: Runnable) {
        self.ready.push(runnable);
        self.rouse();
    }

    fn rouse(&self) {
        // The swap orders this after the push and before the slot's last look.
        if self.parked.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// The slots of a process.
pub struct Slots {
    slots: Vec<(Arc<Inbox>, JoinHandle<()>)>,
}

impl Slots {
    /// Starts `count` slots.
    pub fn start(count: usize) -> Self {
        let slots = (0..count.max(1))
            .map(|number| {
                let inbox = Arc::new(Inbox::default());
                let theirs = inbox.clone();
                (
                    inbox,
                    spawn::thread(&format!("slot-{number}"), move || Slot::run(theirs)),
                )
            })
            .collect();
        Self { slots }
    }

    /// Number of slots.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// There is always at least one slot.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Runs a task on a slot (modulo their number) until it ends. Dropping the handle cancels the
    /// task.
    pub fn spawn<T: Send + 'static>(
        &self,
        slot: usize,
        clock: Arc<TaskClock>,
        future: impl Future<Output = T> + Send + 'static,
    ) -> async_task::Task<T, Arc<TaskClock>> {
        let inbox = self.slots[slot % self.slots.len()].0.clone();
        let (runnable, task) = async_task::Builder::new()
            .metadata(clock)
            .spawn(move |_| future, move |runnable| inbox.push(runnable));
        runnable.schedule();
        task
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        for (inbox, _) in &self.slots {
            inbox.stopping.store(true, Ordering::SeqCst);
            inbox.parked.store(true, Ordering::SeqCst);
            inbox.rouse();
        }
        for (_, thread) in self.slots.drain(..) {
            // A slot's panic has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// The slot's own half, on its thread.
struct Slot {
    inbox: Arc<Inbox>,
    queue: RefCell<BinaryHeap<Reverse<Entry>>>,
    timers: RefCell<BinaryHeap<Reverse<Alarm>>>,
    next_number: Cell<u64>,
    /// The least virtual time of what ran last: newcomers start here.
    floor_ns: Cell<u64>,
    slice_ends: Cell<Option<Instant>>,
}

struct Entry {
    virtual_ns: u64,
    number: u64,
    runnable: Runnable,
}

struct Alarm {
    due: Instant,
    number: u64,
    waker: Waker,
}

macro_rules! order_by {
    ($type:ty, $a:ident, $b:ident) => {
        impl Ord for $type {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                (self.$a, self.$b).cmp(&(other.$a, other.$b))
            }
        }
        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }
        impl Eq for $type {}
    };
}
order_by!(Entry, virtual_ns, number);
order_by!(Alarm, due, number);

thread_local! {
    static SLOT: RefCell<Option<Rc<Slot>>> = const { RefCell::new(None) };
}

impl Slot {
    fn run(inbox: Arc<Inbox>) {
        inbox.thread.get_or_init(thread::current);
        let slot = Rc::new(Slot {
            inbox,
            queue: RefCell::default(),
            timers: RefCell::default(),
            next_number: Cell::new(0),
            floor_ns: Cell::new(0),
            slice_ends: Cell::new(None),
        });
        SLOT.with(|current| *current.borrow_mut() = Some(slot.clone()));
        while !slot.inbox.stopping.load(Ordering::SeqCst) {
            slot.ring();
            slot.admit();
            let next = slot.queue.borrow_mut().pop();
            match next {
                Some(Reverse(entry)) => slot.execute(entry),
                None => slot.park(),
            }
        }
        // Tasks hold wakers of this slot: let them go before the thread does.
        slot.queue.borrow_mut().clear();
        SLOT.with(|current| *current.borrow_mut() = None);
    }

    fn execute(&self, entry: Entry) {
        let clock = entry.runnable.metadata().clone();
        self.floor_ns.set(self.floor_ns.get().max(entry.virtual_ns));
        let began = clock::monotonic();
        self.slice_ends.set(Some(began + SLICE));
        entry.runnable.run();
        clock.charge(clock::monotonic() - began);
    }

    /// Takes in what became ready.
    fn admit(&self) {
        while let Some(runnable) = self.inbox.ready.pop() {
            let clock = runnable.metadata();
            let earliest = self.floor_ns.get().saturating_sub(SLACK_NS);
            let virtual_ns = clock
                .virtual_ns
                .fetch_max(earliest, Ordering::Relaxed)
                .max(earliest);
            let number = self.number();
            self.queue.borrow_mut().push(Reverse(Entry {
                virtual_ns,
                number,
                runnable,
            }));
        }
    }

    /// Wakes the tasks whose time has come.
    fn ring(&self) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let now = clock::monotonic();
        loop {
            let mut timers = self.timers.borrow_mut();
            match timers.peek() {
                Some(Reverse(alarm)) if alarm.due <= now => {
                    let alarm = timers.pop();
                    drop(timers);
                    if let Some(Reverse(alarm)) = alarm {
                        alarm.waker.wake();
                    }
                }
                _ => return,
            }
        }
    }

    fn park(&self) {
        self.inbox.parked.store(true, Ordering::SeqCst);
        if !self.inbox.ready.is_empty() || self.inbox.stopping.load(Ordering::SeqCst) {
            self.inbox.parked.store(false, Ordering::SeqCst);
            return;
        }
        let due = self.timers.borrow().peek().map(|Reverse(alarm)| alarm.due);
        match due {
            Some(due) => thread::park_timeout(due.saturating_duration_since(clock::monotonic())),
            None => thread::park(),
        }
        self.inbox.parked.store(false, Ordering::SeqCst);
    }

    fn number(&self) -> u64 {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        number
    }

    fn somebody_is_ready(&self) -> bool {
        if !self.inbox.ready.is_empty() || !self.queue.borrow().is_empty() {
            return true;
        }
        let due = self.timers.borrow().peek().map(|Reverse(alarm)| alarm.due);
        due.is_some_and(|due| due <= clock::monotonic())
    }
}

fn with_slot<T>(body: impl FnOnce(&Slot) -> T) -> Option<T> {
    let slot = SLOT.with(|current| current.borrow().clone())?;
    Some(body(&slot))
}

/// Whether another task of this slot waits: a guest that is interrupted by a tick then yields.
pub fn somebody_is_ready() -> bool {
    with_slot(Slot::somebody_is_ready).unwrap_or(false)
}

/// Lets others go, if the task has had its slice and others wait. Tasks call it between batches.
pub async fn breathe() {
    let due = with_slot(|slot| {
        slot.slice_ends
            .get()
            .is_some_and(|end| end <= clock::monotonic())
            && slot.somebody_is_ready()
    });
    if due.unwrap_or(false) {
        yield_now().await;
    }
}

/// Lets every other ready task go first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(move |context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs a future and tells how much CPU time it took, without what others took meanwhile.
pub async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let mut ran = Duration::ZERO;
    let mut future = std::pin::pin!(future);
    let output = std::future::poll_fn(|context| {
        let began = clock::thread_cpu();
        let polled = future.as_mut().poll(context);
        ran += clock::thread_cpu().saturating_sub(began);
        polled
    })
    .await;
    (output, ran)
}

/// Sleeps until `due`. Must be awaited on a slot.
pub async fn sleep_until(due: Instant) {
    let mut set = false;
    std::future::poll_fn(move |context| {
        if due <= clock::monotonic() {
            return Poll::Ready(());
        }
        // A waker may fire early or twice, so the alarm is set once and the time checked at every
        // poll.
        if !set {
            set = true;
            let waker = context.waker().clone();
            with_slot(|slot| {
                let number = slot.number();
                slot.timers
                    .borrow_mut()
                    .push(Reverse(Alarm { due, number, waker }));
            })
            .expect("tasks sleep on slots only");
        }
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests;

use futures_util::future::join_all;
use parking_lot::Mutex;

use super::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

#[test]
fn tasks_of_one_slot_take_turns() {
    let slots = Slots::start(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..3)
        .map(|task| {
            let order = order.clone();
            slots.spawn(0, TaskClock::new(100), async move {
                for _ in 0..100 {
                    order.lock().push(task);
                    yield_now().await;
                }
            })
        })
        .collect();
    block_on(join_all(tasks));
    let order = order.lock();
    assert_eq!(order.len(), 300);
    let switches = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(
        switches > 20,
        "three yielding tasks switched only {switches} times"
    );
}

/// A task that always has work, and its longest stretch so far: since both are measured as the
/// queue measures them, what holds does not depend on how busy the machine is.
async fn work(clock: Arc<TaskClock>, longest: Arc<AtomicU64>, is_over: impl Fn() -> bool) {
    let mut before = 0;
    while !is_over() {
        let began = clock::monotonic();
        while clock::monotonic() - began < Duration::from_micros(100) {}
        yield_now().await;
        let now = clock.virtual_ns.load(Ordering::Relaxed);
        longest.fetch_max(now - before, Ordering::Relaxed);
        before = now;
    }
}

#[test]
fn weights_give_shares_in_proportion() {
    const WEIGHTS: [u64; 3] = [100, 200, 400];
    /// Stretches of the longest kind that each task gets: between two tasks lies one at most.
    const STRETCHES: u64 = 8;
    let slots = Slots::start(1);
    let clocks = WEIGHTS.map(TaskClock::new);
    let longest = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    // The slot is held until all stand in its queue: else the first one has it to itself.
    let are_there = Arc::new(AtomicBool::new(false));
    let is_there = are_there.clone();
    let gate = slots.spawn(0, TaskClock::new(100), async move {
        while !is_there.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
    });
    let tasks = clocks.clone().map(|clock| {
        let (all, most) = (clocks.clone(), longest.clone());
        // Said once for all: one that has ended gets no further share.
        let is_said = is_over.clone();
        let is_over = move || {
            let least = all.iter().map(|it| it.virtual_ns.load(Ordering::Relaxed));
            let most = most.load(Ordering::Relaxed).max(1_000_000);
            let had_all = least.min().is_some_and(|least| least > STRETCHES * most);
            is_said.fetch_or(had_all, Ordering::SeqCst) || had_all
        };
        slots.spawn(0, clock.clone(), work(clock, longest.clone(), is_over))
    });
    are_there.store(true, Ordering::SeqCst);
    block_on(gate);
    block_on(join_all(tasks));
    let busy = clocks.clone().map(|clock| clock.busy());
    let shares = clocks.map(|clock| clock.virtual_ns.load(Ordering::Relaxed));
    let least = shares.iter().min().expect("three tasks");
    let most = shares.iter().max().expect("three tasks");
    let is_fair = (most - least) * STRETCHES <= 2 * least;
    assert!(is_fair, "run time by weight: {shares:?}");
    let [light, .., heavy] = busy;
    assert!(heavy > light * 2, "{light:?}, {heavy:?}");
}

#[test]
fn sleepers_wake_in_the_order_of_their_time() {
    let slots = Slots::start(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let start = clock::monotonic();
    let tasks: Vec<_> = [300u64, 100, 200]
        .into_iter()
        .map(|ms| {
            let order = order.clone();
            slots.spawn(0, TaskClock::new(100), async move {
                sleep_until(start + Duration::from_millis(ms)).await;
                order.lock().push(ms);
            })
        })
        .collect();
    block_on(join_all(tasks));
    assert_eq!(*order.lock(), [100, 200, 300]);
}

#[test]
fn a_wake_from_another_thread_is_never_lost() {
    let slots = Slots::start(2);
    let (sender, receiver) = async_channel::bounded::<u32>(1);
    let sum = slots.spawn(0, TaskClock::new(100), async move {
        let mut sum = 0;
        while let Ok(value) = receiver.recv().await {
            sum += value;
        }
        sum
    });
    let feed = slots.spawn(1, TaskClock::new(100), async move {
        for value in 0..20_000 {
            sender.send(value).await.expect("the receiver lives");
        }
    });
    block_on(feed);
    assert_eq!(block_on(sum), (0..20_000).sum::<u32>());
}

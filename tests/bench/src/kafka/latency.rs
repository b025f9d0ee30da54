//! How long a record takes through broker, job and broker at a fixed rate: from the moment before
//! it is handed to the producer to the moment at which a reader of the output holds it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use wasmill_host::{clock, spawn};

use super::{
    ALERTS_EVERY,
    batch::Found,
    client::{self, PARTITIONS, READ_SOON, Sender, Topics, WRITE_SOON},
    feed::Feed,
    order::{Guarantee, Mode, Order},
    ours::Program,
};
use crate::{latency, scenario::Measured};

/// Records a second.
const RATE: u64 = 20_000;
/// Records a second until the first one comes out: virtual machines start slowly.
const FIRST_RATE: u64 = 1_000;
/// So long a program may take to its first record.
const START_MAX: Duration = Duration::from_secs(180);
/// At full rate before what is measured.
const WARM_UP: Duration = Duration::from_secs(5);
/// Between two looks at what has become due.
const PACE: Duration = Duration::from_micros(500);
/// A reader that has nothing to read looks so often whether it is over.
const WAIT: Duration = Duration::from_millis(50);
/// What has not come by then does not come any more.
const SILENCE: Duration = Duration::from_secs(5);

/// What the sender and the reader share.
struct Shared {
    feed: Feed,
    start: Instant,
    arrived: AtomicU64,
    is_over: AtomicBool,
}

/// When a record was sent, and how long it took.
type Delay = (u64, Duration);

/// A percentile, in milliseconds.
pub(super) fn round(
    (mode, guarantee, milliseconds): (Mode, Guarantee, u64),
    (percentile, seconds): (f64, f64),
    program: &Program,
) -> Result<Measured> {
    let brokers = client::brokers()?;
    let mut topics = Topics::new(&brokers);
    let order = Order {
        mode,
        brokers: brokers.clone(),
        from: topics.make("in")?,
        to: topics.make("out")?,
        records: 0,
        every: match mode {
            Mode::Flagship => ALERTS_EVERY,
            Mode::Pass | Mode::Fraud => 1,
        },
        guarantee,
        milliseconds,
    };
    let most = (seconds + WARM_UP.as_secs_f64()) as u64 * RATE + START_MAX.as_secs() * FIRST_RATE;
    let feed = match mode {
        Mode::Flagship => Feed::transactions(most)?,
        Mode::Pass | Mode::Fraud => Feed::Payments,
    };
    let shared = Arc::new(Shared {
        feed,
        start: clock::monotonic(),
        arrived: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let running = program.start(&order, &mut topics)?;
    let reader = {
        let (shared, order) = (Arc::clone(&shared), order.clone());
        spawn::thread("reader", move || read(&shared, &order))
    };
    let paced = pace(&shared, &order, seconds);
    let paced = paced.and_then(|paced| settle(&shared, paced.sent).map(|()| paced));
    shared.is_over.store(true, Ordering::Release);
    let Ok(delays) = reader.join() else {
        bail!("the reader panicked");
    };
    drop(running);
    let (paced, delays) = (paced?, delays?);
    let arrived = delays.len() as u64;
    if shared.feed.tells_all() {
        let is_right = match guarantee {
            Guarantee::ExactlyOnce => arrived == paced.sent,
            Guarantee::AtLeastOnce => arrived >= paced.sent,
        };
        ensure!(is_right, "{arrived} of {} records arrived", paced.sent);
    }
    let delays = delays.into_iter().filter(|(sent, _)| *sent >= paced.from);
    latency::measured(
        delays.map(|(_, delay)| delay).collect(),
        percentile,
        seconds,
    )
}

/// What was sent.
struct Paced {
    sent: u64,
    /// What is sent from then on counts, in nanoseconds since the start.
    from: u64,
}

/// Sends slowly until something comes out, then at the rate.
fn pace(shared: &Shared, order: &Order, seconds: f64) -> Result<Paced> {
    let sender = Sender::new(&order.brokers, None, WRITE_SOON)?;
    let mut sent = 0;
    let has_begun = || shared.arrived.load(Ordering::Acquire) > 0;
    let mut stretch = |rate: u64, longest: Duration, until: &dyn Fn() -> bool| -> Result<()> {
        let (since, before) = (clock::monotonic(), sent);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        loop {
            let passed = clock::monotonic() - since;
            let due = passed.min(longest).as_nanos() * u128::from(rate) / 1_000_000_000;
            while sent - before < u64::try_from(due)? {
                let now = u64::try_from((clock::monotonic() - shared.start).as_nanos())?;
                shared.feed.write(sent, now, (&mut key, &mut value))?;
                sender.send((&order.from, None), &key, &value)?;
                sent += 1;
            }
            if passed >= longest || until() {
                return Ok(());
            }
            spawn::pause(PACE);
        }
    };
    stretch(FIRST_RATE, START_MAX, &has_begun)?;
    ensure!(
        has_begun(),
        "nothing came out within {} s",
        START_MAX.as_secs()
    );
    stretch(RATE, WARM_UP, &|| false)?;
    let from = u64::try_from((clock::monotonic() - shared.start).as_nanos())?;
    stretch(RATE, Duration::from_secs_f64(seconds), &|| false)?;
    sender.finish()?;
    Ok(Paced { sent, from })
}

/// Waits until all have arrived, or none arrives any more.
fn settle(shared: &Shared, sent: u64) -> Result<()> {
    let (mut before, mut since) = (0, clock::monotonic());
    loop {
        let arrived = shared.arrived.load(Ordering::Acquire);
        if shared.feed.tells_all() && arrived >= sent {
            return Ok(());
        }
        if arrived > before {
            (before, since) = (arrived, clock::monotonic());
        }
        if clock::monotonic() - since > SILENCE {
            return Ok(());
        }
        spawn::pause(WAIT);
    }
}

/// Reads the output until it is over.
fn read(shared: &Shared, order: &Order) -> Result<Vec<Delay>> {
    let place = (&*order.brokers, &*order.to);
    let isolation = order.guarantee.isolation();
    let mut batches = client::reader(place, 0..PARTITIONS, isolation, READ_SOON)?;
    let mut delays = Vec::new();
    while !shared.is_over.load(Ordering::Acquire) {
        let mut now = None;
        batches.read(WAIT, |found| {
            let Found::Record(record) = found else {
                return Ok(());
            };
            let now: Instant = *now.get_or_insert_with(clock::monotonic);
            let sent = shared.feed.sent(record.value)?;
            let delay = (now - shared.start).saturating_sub(Duration::from_nanos(sent));
            delays.push((sent, delay));
            Ok(())
        })?;
        shared.arrived.store(delays.len() as u64, Ordering::Release);
    }
    Ok(delays)
}

//! The threads that read the partitions of topics: a few readers share them, and one looks after
//! the client, finds new partitions and notices when the cluster is away.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_channel::{Sender, WeakSender};
use parking_lot::Mutex;

use super::{ALIGN_LOOK, CHUNK_BYTES, Handover, NewTurns, Pace, guarded};
use crate::{
    checkpoint::SplitTurns,
    clock,
    connector::{
        ConnectorError,
        kafka::source::{Taken, Topics, TopicsReader},
    },
    metrics::{Extent, SourceMetrics},
    spawn,
    task::source::Work,
};

/// The most that a reader waits before it looks whether it shall stop.
const LOOK_UP: Duration = Duration::from_millis(100);
/// Between two looks at how much there is to read.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// The turns of splits, by number.
type AllTurns = Arc<Mutex<BTreeMap<u32, Arc<SplitTurns>>>>;

/// How far the newest decided checkpoint is in each split, by name, until somebody has taken it.
pub(in crate::job) type Decided = Arc<Mutex<Option<Vec<(String, u64)>>>>;

/// What the threads need.
pub(in crate::job) struct Parts {
    /// The source's name.
    pub name: String,
    /// Its topics.
    pub topics: Topics,
    /// Makes the turns of a split.
    pub new_turns: NewTurns,
    /// Where chunks go.
    pub work: Sender<Handover>,
    /// Set when the job shall stop.
    pub stopping: Arc<AtomicBool>,
    /// How far the splits are.
    pub metrics: Arc<SourceMetrics>,
    /// What has readers wait.
    pub pace: Pace,
    /// Where the newest decided checkpoint has the splits.
    pub decided: Decided,
    /// Waits until what comes before the topics has been handed on; false if the job ends first.
    pub before: Box<dyn FnOnce() -> bool + Send>,
}

/// Starts the readers of a source's topics. All partitions are known to checkpoints when it
/// returns.
pub(in crate::job) fn start(parts: Parts) {
    let Parts { name, topics, .. } = &parts;
    let turns = AllTurns::default();
    for (split, from) in topics.found() {
        let made = (parts.new_turns)(&split.name, from);
        turns.lock().insert(split.number, made);
        // It is not being read yet.
        parts.pace.hold(split.number, true);
    }
    for (number, reader) in topics.readers().into_iter().enumerate() {
        let turns = Arc::clone(&turns);
        let (work, stopping) = (parts.work.clone(), Arc::clone(&parts.stopping));
        let pace = parts.pace.clone();
        spawn::thread(&format!("read-{name}-{number}"), move || {
            if let Err(failure) = guarded(|| read(reader, &turns, &pace, &work, &stopping)) {
                // If nobody listens the job has ended for another reason.
                let _ = work.send_blocking(Err(failure));
            }
        });
    }
    // The readers are the last to hold the channel: when they have ended, the input has.
    let work = parts.work.downgrade();
    spawn::thread(&format!("topics-{name}"), move || {
        let failed = work.clone();
        if let Err(failure) = guarded(|| look_after(parts, &turns, &work))
            && let Some(work) = failed.upgrade()
        {
            let _ = work.send_blocking(Err(failure));
        }
    });
}

fn read(
    mut reader: TopicsReader,
    turns: &AllTurns,
    pace: &Pace,
    work: &Sender<Handover>,
    stopping: &AtomicBool,
) -> Result<(), ConnectorError> {
    // Of each split: its turns, and the number of the next.
    let mut open: HashMap<u32, (Arc<SplitTurns>, u64)> = HashMap::new();
    // Splits that wait for the others.
    let mut waiting: Vec<u32> = Vec::new();
    while !stopping.load(Ordering::Acquire) && !work.is_closed() {
        waiting.retain(|split| {
            let waits = !pace.may_read(*split);
            if !waits {
                reader.pause(*split, false);
                pace.hold(*split, false);
            }
            waits
        });
        let look_up = if waiting.is_empty() {
            LOOK_UP
        } else {
            ALIGN_LOOK
        };
        let (split, chunk) = match reader.next(CHUNK_BYTES, look_up)? {
            Taken::Rows(chunk) => (chunk.split, Some(*chunk)),
            Taken::End(split) => (split, None),
            Taken::Nothing => continue,
            Taken::Over => break,
        };
        if !open.contains_key(&split)
            && let Some(turns) = turns.lock().get(&split)
        {
            open.insert(split, (Arc::clone(turns), 0));
        }
        let Some((turns, number)) = open.get_mut(&split) else {
            continue;
        };
        let next = Work {
            split,
            turns: Arc::clone(turns),
            number: *number,
            chunk,
        };
        *number += 1;
        let is_end = next.chunk.is_none();
        if work.send_blocking(Ok(next)).is_err() {
            break;
        }
        if !is_end && !pace.may_read(split) && !waiting.contains(&split) {
            reader.pause(split, true);
            pace.hold(split, true);
            waiting.push(split);
        }
    }
    Ok(())
}

fn look_after(
    parts: Parts,
    turns: &AllTurns,
    work: &WeakSender<Handover>,
) -> Result<(), ConnectorError> {
    let Parts {
        mut topics,
        new_turns,
        work: own,
        stopping,
        metrics,
        pace,
        decided,
        before,
        ..
    } = parts;
    let found: Vec<u32> = topics.found().map(|(split, _)| split.number).collect();
    drop(own);
    if !before() {
        return Ok(());
    }
    topics.begin()?;
    found.iter().for_each(|split| pace.hold(*split, false));
    let discover_every = topics.discover_every();
    let now = clock::monotonic();
    let (mut discovered, mut measured) = (now, now);
    // While the cluster is away it is asked ever more seldom.
    let mut ask_at = now;
    while !stopping.load(Ordering::Acquire) && work.upgrade().is_some_and(|work| !work.is_closed())
    {
        let now = clock::monotonic();
        if now >= ask_at
            && let Some(rest) = topics.serve()?
        {
            ask_at = clock::monotonic() + rest;
        }
        if discover_every.is_some_and(|every| now >= discovered + every) && now >= ask_at {
            for (split, from) in topics.discover()? {
                tracing::info!(split = split.name, "a new partition is read");
                let made = new_turns(&split.name, from);
                turns.lock().insert(split.number, made);
                topics.start(&split)?;
            }
            discovered = clock::monotonic();
        }
        if now >= measured + MEASURE_EVERY {
            for (name, end) in topics.ends() {
                metrics.split(&name).measure(Extent::Rows(end));
            }
            measured = now;
        }
        let positions = decided.lock().take();
        if let Some(positions) = positions {
            topics.commit(&positions);
        }
        spawn::pause(LOOK_UP);
    }
    Ok(())
}

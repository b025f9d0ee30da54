//! Places where a test may have the process die as `kill -9` would end it: the list of them, and
//! what arms one.
//!
//! `WASMILL_CRASH_AT=NAME` arms a point, `NAME:3` the third time that it is reached, and
//! `WASMILL_CRASH_AT=list` prints their names. Only one can be armed. A point that is not costs a
//! load and a comparison, and none lies where rows pass. `cargo xtask kill` arms each of them in
//! turn, with each backend: one that is never reached fails that run. So whoever adds a line here
//! also says in `tests/kill/points.rs` how a job gets there, if it is not by running for a while.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use crate::spawn;

/// The variable that arms a point; it is for tests, and no part of the command line.
pub const VARIABLE: &str = "WASMILL_CRASH_AT";

/// The armed point's position in the list, counted from 1; 0 if none is armed.
static ARMED: AtomicU32 = AtomicU32::new(0);
/// How often it may still be reached, the last time included.
static REST: AtomicU32 = AtomicU32::new(0);

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A place where the process may be made to die.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum CrashPoint {
            $($(#[$doc])* $point,)*
        }

        impl CrashPoint {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            /// What the variable calls it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    // ---- a checkpoint, in the order of its life
    /// A checkpoint begins; no source has been asked for its barrier.
    BeforeBarrier = "before-barrier",
    /// All sources have been asked for a barrier.
    AfterBarrier = "after-barrier",
    /// A source subtask has sent a barrier, and has not told where its splits stood.
    BarrierSent = "barrier-sent",
    /// A barrier has come on all channels of a gate, and has not gone on from there.
    BarrierAligned = "barrier-aligned",
    /// A barrier has gone on from a gate whose state has not been taken.
    BarrierPassed = "barrier-passed",
    /// A sink is about to hand in its rows.
    SinkShare = "sink-share",
    /// One subtask has handed in its share of a checkpoint; others may not have.
    MidSnapshot = "mid-snapshot",
    /// State is written down, and nothing of it stored.
    StateEncoded = "state-encoded",
    /// A large object is stored in part.
    MidObject = "mid-object",
    /// An object is stored; others of its checkpoint may not be.
    MidUpload = "mid-upload",
    /// All objects of a subtask are stored, and the coordinator does not know.
    Uploaded = "uploaded",
    /// Everybody has acknowledged; the manifest is not written.
    BeforeManifest = "before-manifest",
    /// The manifest stands, and nobody has learned of it.
    AfterManifest = "after-manifest",
    /// A manifest that a sink is to decide is prepared, and the sink does not know.
    ManifestPrepared = "manifest-prepared",
    /// The deciding sink has committed a checkpoint, and its entry is not written.
    VerdictKnown = "verdict-known",
    /// The coordinator knows that a checkpoint is decided, and no sink does.
    Decided = "decided",
    /// One sink knows that a checkpoint is decided, and no other.
    DecidedTold = "decided-told",
    /// The sources have been asked for the barrier of a savepoint.
    SavepointBegun = "savepoint-begun",
    /// A savepoint is decided, and whoever has asked for it does not know.
    SavepointDecided = "savepoint-decided",

    // ---- windows, and keys that leave memory
    /// The windows of a subtask have been taken at a barrier, and are not written down.
    WindowsTaken = "windows-taken",
    /// Results of windows have been computed, and have not gone on.
    WindowResults = "window-results",
    /// Keys that left memory stand on disk, and no checkpoint knows.
    KeysLeft = "keys-left",
    /// Keys are back from disk, and the rows that need them wait.
    KeysFetched = "keys-fetched",
    /// Keys on disk that are due have been taken off the list of those that will be, and have not
    /// fired.
    KeysWoken = "keys-woken",
    /// The disk is held as it was at a barrier, and nothing of it is written down.
    DiskTaken = "disk-taken",

    // ---- what sinks bring out
    /// A sink is about to apply a decided checkpoint.
    BeforeApply = "before-apply",
    /// The first bytes of a decided checkpoint stand in a file, and the rest does not.
    FileTorn = "file-torn",
    /// A decided checkpoint's bytes stand in a file, and its commit log does not say so.
    FileWritten = "file-written",
    /// A file has committed a checkpoint before every other sink.
    FileCommitted = "file-committed",
    /// A decided checkpoint's rows stand in an open transaction of SQLite.
    SqliteWritten = "sqlite-written",
    /// SQLite has committed a checkpoint before every other sink.
    SqliteCommitted = "sqlite-committed",
    /// A decided checkpoint's rows stand in an open transaction of PostgreSQL.
    PostgresWritten = "postgres-written",
    /// PostgreSQL has committed a checkpoint before every other sink.
    PostgresCommitted = "postgres-committed",
    /// The transactional id of a Kafka sink is taken over: an earlier attempt can commit no more,
    /// and nothing says so yet.
    KafkaInitialized = "kafka-initialized",
    /// A Kafka sink's topic of markers says that the attempt may write.
    KafkaTakenOver = "kafka-taken-over",
    /// A transaction of Kafka has begun.
    KafkaBegun = "kafka-begun",
    /// A decided checkpoint's rows are on their way in a transaction of Kafka.
    KafkaRowsSent = "kafka-rows-sent",
    /// So is the marker.
    KafkaMarkerSent = "kafka-marker-sent",
    /// Rows and marker stand in a transaction of Kafka that nobody has asked to end.
    KafkaWritten = "kafka-written",
    /// Kafka has committed a checkpoint before every other sink.
    KafkaCommitted = "kafka-committed",
    /// A sink has applied a checkpoint, and the coordinator does not know.
    Applied = "applied",

    // ---- deleting what is not needed
    /// What is stored has been listed, and nothing of it deleted.
    GarbageListed = "garbage-listed",
    /// Something is about to be deleted.
    BeforeDelete = "before-delete",
    /// A manifest is deleted, and its objects are not.
    ManifestDeleted = "manifest-deleted",
    /// An object is deleted; others of its checkpoint are not.
    ObjectDeleted = "object-deleted",

    // ---- the end of a job
    /// The job's last barrier is on its way.
    FinalBarrier = "final-barrier",
    /// The last manifest stands, and nobody has learned of it.
    FinalManifest = "final-manifest",
    /// The last checkpoint is decided, and no sink has applied it.
    FinalDecided = "final-decided",
    /// Everything is done, and the process has not ended.
    FinalApplied = "final-applied",
    /// A job that had finished had something to bring out, and one of its sinks has.
    CaughtUp = "caught-up",

    // ---- going on from a checkpoint
    /// What is stored has been listed, and nothing of it read.
    RestoreListed = "restore-listed",
    /// The deciding sink's newest commit is known, and the log may be one behind it.
    VerdictRead = "verdict-read",
    /// The entry of a commit that a crash had kept out of the log is written.
    VerdictEntered = "verdict-entered",
    /// The log has been read, and no state.
    LogRead = "log-read",
    /// One object of a checkpoint has been read.
    MidRestore = "mid-restore",
    /// The state of one key group has been brought to a new type.
    MidMigration = "mid-migration",
    /// All state has been brought to its new types, and nothing of it stored.
    Migrated = "migrated",
    /// All state has been read; the new attempt is not in the log.
    BeforeAttempt = "before-attempt",
    /// The new attempt stands in the log, and does not know it.
    AfterAttempt = "after-attempt",
    /// One sink has been opened.
    SinkOpened = "sink-opened",
    /// One operator of one subtask has its state back.
    StateRestored = "state-restored",
    /// Windows of one subtask are back.
    WindowsRestored = "windows-restored",
    /// What a dead process left on disk of its keys is removed.
    DiskCleared = "disk-cleared",
    /// Everything is as it was; nothing runs.
    Restored = "restored",
}

impl CrashPoint {
    /// The points right behind the commits of sinks.
    const COMMITS: &[Self] = &[
        Self::FileCommitted,
        Self::SqliteCommitted,
        Self::PostgresCommitted,
        Self::KafkaCommitted,
    ];
}

/// Arms what the variable says: a point's name, and behind a colon how often it is to be reached.
///
/// # Errors
/// In words, if there is no such point.
pub fn arm(what: &str) -> Result<(), String> {
    let (name, times) = what.split_once(':').unwrap_or((what, "1"));
    let at = CrashPoint::ALL
        .iter()
        .position(|point| point.name() == name);
    let at = at.ok_or_else(|| format!("{VARIABLE}: there is no crash point `{name}`"))?;
    let times = times.parse().ok().filter(|times| *times > 0);
    let times = times.ok_or_else(|| format!("{VARIABLE}: `{what}` does not say how often"))?;
    REST.store(times, Ordering::Relaxed);
    let at = u32::try_from(at).expect("the list is short");
    ARMED.store(at + 1, Ordering::Release);
    Ok(())
}

/// Whether a point is armed.
#[inline]
pub fn is_armed(point: CrashPoint) -> bool {
    ARMED.load(Ordering::Relaxed) == point as u32 + 1
}

/// The place of a crash point: if it is armed and it is time, the process dies here.
#[inline]
pub fn reach(point: CrashPoint) {
    if is_armed(point) {
        hit();
    }
}

/// Where a sink is about to commit: if the point behind another one's commit is armed, that one
/// goes first, so that the process is sure to die between the two.
#[inline]
pub fn give_way(own: Option<CrashPoint>) {
    if ARMED.load(Ordering::Relaxed) > 0 {
        let mut others = CrashPoint::COMMITS.iter().filter(|it| Some(**it) != own);
        while others.any(|it| is_armed(*it)) && REST.load(Ordering::Relaxed) == 1 {
            spawn::pause(Duration::from_secs(1));
        }
    }
}

#[cold]
fn hit() {
    if REST.fetch_sub(1, Ordering::AcqRel) == 1 {
        let _ = kill_process(getpid(), Signal::KILL);
        loop {
            // The signal arrives before long; until then nothing more may happen here.
            spawn::pause(Duration::from_secs(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_point_has_a_name_of_its_own() {
        let names: HashSet<_> = CrashPoint::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), CrashPoint::ALL.len());
    }

    #[test]
    fn what_is_no_point_is_an_error() {
        for wrong in ["", "decide", "decided:0", "decided:x", "decided:"] {
            let error = arm(wrong).expect_err(wrong);
            assert!(error.contains(VARIABLE), "{error}");
        }
        assert!(!is_armed(CrashPoint::Decided), "nothing is armed");
        reach(CrashPoint::Decided);
    }
}

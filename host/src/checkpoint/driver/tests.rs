//! Checkpoints over a store with bad luck: what is decided restores, whatever happens, or is
//! refused with its reason; what is restored is what was.
//!
//! `FAULT_SEEDS=N` runs more seeds, from `FAULT_SEED=M` on; `FAULT_CORRUPTIONS=N` damages more
//! objects.

mod life;

use std::{collections::BTreeSet, io::Write as _, sync::Arc};

use bytes::Bytes;
use object_store::path::Path;
use wasmill_core::checkpoint::{CheckpointId, Kept, Position};

use super::*;
use crate::checkpoint::{
    Origin,
    storage::faults::{Counts, FaultyStore, Luck},
};
use life::{Ending, Model, runtime};

/// A tenth of all requests fails.
const BAD: Luck = Luck {
    errors: 100,
    slow: 150,
    is_synced: true,
};
/// Checkpoints that are kept for sure: those of the plan.
const RETAINED: usize = 3;
/// Times that a job of one seed is started.
const LIVES: usize = 8;

fn number(variable: &str, usual: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(usual, |text| text.parse().expect(variable))
}

/// Past the capture of output, for whoever reads the log of a whole test run.
fn tell(line: &str) {
    let line = format!("{line}\n");
    let told = std::io::stderr().write_all(line.as_bytes());
    told.expect("stderr");
}

fn count(
    of: impl Fn(&Counts) -> &std::sync::atomic::AtomicU64,
    stores: &[Arc<FaultyStore>],
) -> u64 {
    let counts = stores.iter().map(|store| of(&store.counts));
    counts
        .map(|count| count.load(std::sync::atomic::Ordering::Relaxed))
        .sum()
}

/// The lives of a job, each ended in some way.
fn live(seed: u64, luck: Luck) -> (Arc<FaultyStore>, Model) {
    let store = Arc::new(FaultyStore::new(seed, luck));
    let mut model = Model::default();
    for _ in 0..LIVES {
        let ending = match store.below(5) {
            0 => Ending::Drained,
            1 => Ending::Overtaken,
            2 => Ending::Killed,
            3 => Ending::Stopped,
            _ => Ending::PowerCut,
        };
        model.live(&store, ending, 1 + store.below(6));
    }
    store.set_luck(Luck {
        is_synced: luck.is_synced,
        ..Luck::GOOD
    });
    model.live(&store, Ending::Drained, 1);
    (store, model)
}

#[test]
fn what_is_decided_under_faults_restores() {
    let first = number("FAULT_SEED", 1);
    let last = first + number("FAULT_SEEDS", 6) - 1;
    let (mut stores, mut models) = (Vec::new(), Vec::new());
    let (mut older, mut outlived) = (0, 0);
    for seed in first..=last {
        let (store, model) = live(seed, BAD);
        model.check(seed);
        let kept = runtime().block_on(all_restored(&store, &model, seed));
        older += kept.older;
        outlived += kept.outlived;
        stores.push(store);
        models.push(model);
    }
    let sum = |of: fn(&Model) -> usize| models.iter().map(of).sum::<usize>();
    let (decided, cuts) = (sum(|it| it.decided), sum(|it| it.cuts));
    tell(&format!(
        "faults: {decided} checkpoints decided under {} errors, {} slow answers, {cuts} power cuts \
         that took {} objects; {} starts refused and repeated; beside the newest ones {older} \
         older ones restored; seeds {first}-{last}",
        count(|counts| &counts.errors, &stores),
        count(|counts| &counts.slow, &stores),
        count(|counts| &counts.dropped, &stores),
        sum(|it| it.refused.len()),
    ));
    let (taken, stopped) = (sum(|it| it.taken), sum(|it| it.stopped));
    let disposed = sum(|it| it.disposed);
    tell(&format!(
        "faults: {taken} savepoints, with {stopped} of which a job stopped; {disposed} disposed \
         of; {outlived} restored that are older than all checkpoints beside them"
    ));
    for (count, what) in [
        (taken, "no savepoint was taken"),
        (stopped, "no job stopped with a savepoint"),
        (disposed, "no savepoint was disposed of"),
        (outlived, "no savepoint is older than what is kept anyway"),
    ] {
        assert!(count > 0, "{what}, which shows nothing");
    }
    assert!(
        decided >= 50,
        "{decided} checkpoints are too few to show anything"
    );
    assert!(cuts > 0, "no power cut shows nothing");
    assert!(older > 0, "the newest checkpoints alone show little");
}

/// The same with a disk that acknowledges what it has not written: it is found out. So the test
/// above would see it, too.
#[test]
fn a_disk_that_lies_is_found_out() {
    let luck = Luck {
        errors: 0,
        slow: 0,
        is_synced: false,
    };
    let found_out = (1..=20).filter(|seed| {
        let store = Arc::new(FaultyStore::new(*seed, luck));
        let mut model = Model::default();
        model.may_lose = true;
        model.live(&store, Ending::PowerCut, 4);
        model.live(&store, Ending::PowerCut, 4);
        model.lost > 0 || !model.refused.is_empty()
    });
    let found_out = found_out.count();
    assert!(found_out >= 5, "{found_out} of 20");
}

#[test]
fn a_flipped_bit_and_a_truncated_file_are_refused_with_their_name() {
    let (seed, corruptions) = (number("FAULT_SEED", 1), number("FAULT_CORRUPTIONS", 60));
    let store = Arc::new(FaultyStore::new(seed, Luck::GOOD));
    let mut model = Model::default();
    model.live(&store, Ending::Killed, 5);
    model.live(&store, Ending::Killed, 5);
    let runtime = runtime();
    let whole = runtime.block_on(store.all());
    let needed = runtime.block_on(needed(&store));
    let names: Vec<&Path> = whole.keys().collect();
    let vital = names.iter().filter(|name| needed.contains(name.as_ref()));
    let vital: Vec<&Path> = vital.copied().collect();
    let (mut refused, mut unneeded) = (0, 0);
    for _ in 0..corruptions {
        // Half of them matter for sure.
        let among = [&names, &vital][store.below(2) as usize];
        let name = among[store.below(among.len() as u64) as usize];
        let bytes = &whole[name];
        if bytes.is_empty() {
            continue;
        }
        let mut damaged = bytes.to_vec();
        let at = store.below(bytes.len() as u64) as usize;
        let what = match store.below(2) {
            0 => {
                damaged[at] ^= 1 << store.below(8);
                "a flipped bit"
            }
            _ => {
                damaged.truncate(at);
                "a truncated file"
            }
        };
        let hurt = Arc::new(FaultyStore::new(seed, Luck::GOOD));
        for (path, bytes) in &whole {
            runtime.block_on(hurt.plant(path, bytes.clone()));
        }
        runtime.block_on(hurt.plant(name, Bytes::from(damaged)));
        let outcome = runtime.block_on(restored(&hurt, &model));
        match outcome {
            Err(reason) => {
                assert!(
                    reason.contains(name.as_ref()),
                    "{what} in `{name}`: {reason}"
                );
                refused += 1;
            }
            Ok(()) => {
                assert!(
                    !needed.contains(name.as_ref()),
                    "{what} in `{name}` is not seen"
                );
                unneeded += 1;
            }
        }
    }
    tell(&format!(
        "faults: {} objects damaged: {refused} refused with their names, {unneeded} not needed by \
         what was restored; seed {seed}",
        refused + unneeded
    ));
    assert!(
        refused >= 20,
        "{refused} refusals are too few to show anything"
    );
}

/// Rows of a decided checkpoint that a sink lacks and that cannot be read fail the attempt: what
/// comes then is the restart policy's to say.
#[test]
fn a_share_that_cannot_be_read_fails_the_attempt() {
    let store = Arc::new(FaultyStore::new(1, Luck::GOOD));
    let mut model = Model::default();
    model.live(&store, Ending::Killed, 5);
    // Its sink has not applied the last one.
    let error = model.starve(&store).expect_err("nothing can be read");
    assert!(matches!(error, CheckpointsError::Storage(_)), "{error}");
    store.set_luck(Luck::GOOD);
    model.live(&store, Ending::Drained, 1);
    model.check(1);
}

/// Checkpoints that were restored.
struct Restorable {
    /// Those that are not the newest.
    older: usize,
    /// Savepoints that are older than every checkpoint that is none: all that was decided before
    /// or just behind them has gone its way.
    outlived: usize,
}

/// Restores every checkpoint that is kept, as a job does that is told to go back to it, and what
/// its sink would apply. Savepoints are kept until somebody disposes of them.
async fn all_restored(store: &Arc<FaultyStore>, model: &Model, seed: u64) -> Restorable {
    let storage = Storage::faulty(store);
    let log = recover(&storage, &life::plan()).await;
    let log = log.expect("the store is well again").recovered;
    assert!(log.damaged.is_empty(), "seed {seed}: {:?}", log.damaged);
    let number = |kept: &Kept| kept.decided.checkpoint;
    let is_savepoint = |kept: &&Kept| kept.manifest.reason == Reason::Savepoint;
    let kept: Vec<CheckpointId> = log.kept.iter().map(number).collect();
    let (savepoints, others): (Vec<_>, Vec<_>) = log.kept.iter().partition(is_savepoint);
    let savepoints: BTreeSet<_> = savepoints.into_iter().map(number).collect();
    assert!(others.len() >= RETAINED, "seed {seed}: {kept:?}");
    let lost = model.savepoints.difference(&savepoints).next();
    assert_eq!(lost, None, "seed {seed}: a savepoint is gone from {kept:?}");
    let oldest = number(others[0]);
    assert_eq!(kept.last().copied(), model.newest(), "seed {seed}");
    let mut before = 0;
    for checkpoint in &kept {
        let mut plan = life::plan();
        plan.beginning.from = Some(Origin::Number(*checkpoint));
        let found = recover(&storage, &plan).await;
        let found = found.unwrap_or_else(|error| panic!("seed {seed}, {checkpoint}: {error}"));
        let restored = restore::load(&storage, &plan, &found.recovered).await;
        let restored =
            restored.unwrap_or_else(|error| panic!("seed {seed}, {checkpoint}: {error}"));
        let manifest = restored.manifest.clone().expect("a checkpoint is decided");
        assert_eq!(manifest.checkpoint, *checkpoint, "seed {seed}");
        let position = life::position(&restored).expect("it has state");
        // Nobody may have lived to learn of one that was decided between two others.
        let known = model.position(*checkpoint).unwrap_or(position);
        assert_eq!(position, known, "seed {seed}: {checkpoint} is what it was");
        assert!(
            before < position,
            "seed {seed}: {checkpoint} is behind the one before it"
        );
        before = position;
        let share = restore::share(&storage, &plan.scope, &manifest, life::SINK).await;
        let share = share.unwrap_or_else(|error| panic!("seed {seed}, {checkpoint}: {error}"));
        let since = share.state["since"].as_u64().map(CheckpointId);
        let since = since.map(|since| model.position(since).expect("an attempt went on from it"));
        let rows: Vec<u64> = (since.unwrap_or(0) + 1..=position).collect();
        assert_eq!(
            life::rows(&share),
            rows,
            "seed {seed}: the rows of {checkpoint}"
        );
    }
    let standing = model.savepoints.iter();
    Restorable {
        older: kept.len() - 1,
        outlived: standing.filter(|it| **it < oldest).count(),
    }
}

/// The names of what the newest checkpoint is restored from.
async fn needed(store: &Arc<FaultyStore>) -> BTreeSet<String> {
    let recovered = recover(&Storage::faulty(store), &life::plan()).await;
    let recovered = recovered.expect("nothing is damaged yet").recovered;
    let manifest = recovered.manifest.expect("a checkpoint is decided");
    let scope = life::plan().scope;
    let objects = manifest.objects().map(|object| scope.object(&object.name));
    let last = Position(recovered.position.0 - 1);
    let entries = [scope.entry(manifest.place.position), scope.entry(last)];
    objects.chain(entries).collect()
}

/// Restores all there is to the newest checkpoint, what sinks would apply included.
async fn restored(store: &Arc<FaultyStore>, model: &Model) -> Result<(), String> {
    let (storage, plan) = (Storage::faulty(store), life::plan());
    let recovered = recover(&storage, &plan)
        .await
        .map_err(|error| error.to_string())?;
    let restored = restore::load(&storage, &plan, &recovered.recovered).await;
    let restored = restored.map_err(|error| error.to_string())?;
    let manifest = restored.manifest.clone().expect("a checkpoint is decided");
    assert_eq!(
        Some(manifest.checkpoint),
        model.newest(),
        "the newest, or none"
    );
    let position = life::position(&restored).expect("it has state");
    assert_eq!(model.position(manifest.checkpoint), Some(position));
    let share = restore::share(&storage, &plan.scope, &manifest, life::SINK).await;
    let share = share.map_err(|error| error.to_string())?;
    assert_eq!(life::rows(&share).last(), Some(&position));
    Ok(())
}

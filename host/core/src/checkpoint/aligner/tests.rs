use proptest::prelude::*;

use super::*;

const fn n(number: u64) -> CheckpointId {
    CheckpointId(number)
}

/// What comes to an aligner: `Barrier(channel, checkpoint)`, `End(channel)` ...
#[derive(Debug, Clone, Copy)]
enum Event {
    Barrier(usize, u64),
    End(usize),
    Abort(u64),
    Trigger(u64),
}

use Event::{Abort, Barrier, End, Trigger};

/// Feeds events to an aligner of three channels; gives what was aligned after each, and which
/// channels are blocked in the end.
fn check(events: &[Event], aligned: &[u64], blocked: &[usize]) {
    let mut aligner = BarrierAligner::new(3);
    let mut found = Vec::new();
    for event in events {
        let due = match *event {
            Barrier(channel, checkpoint) => aligner.barrier(channel, n(checkpoint)),
            End(channel) => aligner.end(channel),
            Trigger(checkpoint) => aligner.trigger(n(checkpoint)),
            Abort(checkpoint) => {
                aligner.abort(n(checkpoint));
                None
            }
        };
        found.extend(due.map(|due| due.0));
    }
    assert_eq!(found, aligned, "{events:?}");
    let found: Vec<usize> = (0..3).filter(|at| aligner.is_blocked(*at)).collect();
    assert_eq!(found, blocked, "{events:?}");
}

#[test]
fn all_channels_are_waited_for() {
    check(&[Barrier(0, 1), Barrier(2, 1)], &[], &[0, 2]);
    check(&[Barrier(0, 1), Barrier(2, 1), Barrier(1, 1)], &[1], &[]);
    let twice = [
        Barrier(0, 1),
        Barrier(1, 1),
        Barrier(2, 1),
        Barrier(2, 2),
        Barrier(0, 2),
    ];
    check(&twice, &[1], &[0, 2]);
}

#[test]
fn an_ended_channel_counts_as_aligned() {
    check(&[End(1), Barrier(0, 1), Barrier(2, 1)], &[1], &[]);
    check(&[Barrier(0, 1), Barrier(2, 1), End(1)], &[1], &[]);
    check(&[Barrier(0, 1), End(1), End(2)], &[1], &[]);
    check(&[End(0), End(1), End(2)], &[], &[]);
}

#[test]
fn where_all_has_ended_the_trigger_counts() {
    check(&[Trigger(1), End(0), End(1), End(2)], &[1], &[]);
    check(
        &[End(0), End(1), Trigger(1), End(2), Trigger(2)],
        &[1, 2],
        &[],
    );
    check(
        &[End(0), End(1), Trigger(1), Barrier(2, 1), End(2)],
        &[1],
        &[],
    );
    check(&[Trigger(1), Abort(1), End(0), End(1), End(2)], &[], &[]);
    check(&[Trigger(1)], &[], &[]);
}

#[test]
fn an_aborted_barrier_blocks_nothing() {
    check(&[Barrier(0, 1), Abort(1)], &[], &[]);
    check(
        &[Barrier(0, 1), Abort(1), Barrier(1, 1), Barrier(2, 1)],
        &[],
        &[],
    );
    check(&[Abort(1), Barrier(0, 1)], &[], &[]);
    check(&[Barrier(0, 2), Abort(1)], &[], &[0]);
}

#[test]
fn a_newer_barrier_replaces_an_aborted_one() {
    // The word of the abort of 1 has not come yet.
    check(&[Barrier(0, 1), Barrier(1, 2)], &[], &[1]);
    check(
        &[
            Barrier(0, 1),
            Barrier(1, 2),
            Barrier(0, 2),
            Barrier(2, 1),
            Barrier(2, 2),
        ],
        &[2],
        &[],
    );
    check(&[Barrier(0, 1), Barrier(1, 2), Abort(1)], &[], &[1]);
}

proptest! {
    /// Channels that all bring the barriers of some checkpoints in order, some of which are aborted
    /// at some time: those that are not are aligned once, in order, with every channel at the same
    /// barrier; and in the end nothing is blocked.
    #[test]
    fn barriers_cut_all_channels_alike(
        channels in 1_usize..5,
        aborted in proptest::collection::vec(any::<bool>(), 1..8),
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..400),
    ) {
        let last = aborted.len();
        let mut aligner = BarrierAligner::new(channels);
        // Of each channel, the barriers that were taken from it.
        let mut taken = vec![0_usize; channels];
        let mut aligned = Vec::new();
        let in_turn = (0..channels * last * channels + channels).map(|at| (at % channels, false));
        let picked = picks.iter().map(|(pick, abort)| (pick.index(channels), *abort));
        for (channel, abort) in picked.chain(in_turn) {
            if let Some(current) = aligner.aligning()
                && abort && aborted[current.0 as usize - 1]
            {
                aligner.abort(current);
            }
            if aligner.is_blocked(channel) || taken[channel] == last {
                continue;
            }
            taken[channel] += 1;
            if let Some(due) = aligner.barrier(channel, n(taken[channel] as u64)) {
                prop_assert!(taken.iter().all(|at| *at == due.0 as usize));
                aligned.push(due.0);
            }
        }
        prop_assert!(aligned.is_sorted_by(|a, b| a < b));
        for (at, is_aborted) in aborted.iter().enumerate() {
            prop_assert!(*is_aborted || aligned.contains(&(at as u64 + 1)), "{at} is missing");
        }
        prop_assert!((0..channels).all(|channel| !aligner.is_blocked(channel)));
    }
}

use futures_executor::block_on;
use proptest::prelude::*;
use wasmill_core::checkpoint::CheckpointId;

use super::*;
use crate::exchange::gate::{Sender, gate};

fn row(channel: usize, number: i64) -> Message {
    Message::Watermark {
        lane: channel as u32,
        time: number,
    }
}

fn barrier(number: u64) -> Message {
    Message::Barrier(Barrier {
        checkpoint: CheckpointId(number),
        base: None,
        is_last: false,
    })
}

fn send(sender: &Sender, message: Message) {
    block_on(sender.send(message)).expect("the gate lives");
}

/// What comes out now, as `channel:number`, `|checkpoint` and `end`.
fn drain(intake: &mut Intake) -> Vec<String> {
    let told = |taken: Taken| match taken {
        Taken::Received(received) => match received.message {
            Message::Watermark { lane, time } => format!("{lane}:{time}"),
            other => panic!("{other:?} came out"),
        },
        Taken::Barrier(barrier) => format!("|{}", barrier.checkpoint),
        Taken::Watched => "watched".to_owned(),
        Taken::End => "end".to_owned(),
    };
    std::iter::from_fn(|| intake.poll_now().flatten())
        .map(told)
        .collect()
}

#[test]
fn what_lies_behind_a_barrier_waits_for_the_other_channels() {
    let (gate, senders) = gate(2);
    let mut intake = Intake::new(gate);
    send(&senders[0], row(0, 1));
    send(&senders[0], barrier(1));
    send(&senders[0], row(0, 2));
    send(&senders[1], row(1, 1));
    assert_eq!(drain(&mut intake), ["0:1", "1:1"]);
    send(&senders[1], barrier(1));
    send(&senders[1], row(1, 2));
    assert_eq!(drain(&mut intake), ["|1", "0:2", "1:2"]);
}

#[test]
fn a_channel_that_is_gone_is_not_waited_for() {
    let (gate, mut senders) = gate(3);
    let mut intake = Intake::new(gate);
    send(&senders[0], barrier(1));
    send(&senders[1], row(1, 1));
    send(&senders[1], barrier(1));
    send(&senders[2], row(2, 1));
    send(&senders[2], Message::End);
    drop(senders.pop());
    assert_eq!(drain(&mut intake), ["1:1", "2:1", "|1"]);
    send(&senders[0], Message::End);
    send(&senders[1], Message::End);
    send(&senders[1], barrier(2));
    send(&senders[0], barrier(2));
    drop(senders);
    assert_eq!(drain(&mut intake), ["end", "|2"]);
    assert!(block_on(intake.recv()).is_none());
}

#[test]
fn a_newer_barrier_frees_what_an_aborted_one_held() {
    let (gate, senders) = gate(2);
    let mut intake = Intake::new(gate);
    send(&senders[0], barrier(1));
    send(&senders[0], row(0, 1));
    send(&senders[0], barrier(2));
    send(&senders[1], row(1, 1));
    send(&senders[1], barrier(2));
    send(&senders[1], row(1, 2));
    // Channel 0 is held at barrier 1, which channel 1 never sends.
    assert_eq!(drain(&mut intake), ["1:1", "0:1", "|2", "1:2"]);
}

proptest! {
    /// However channels interleave, each row comes out once, in its channel's order, and on the
    /// side of each barrier on which it was sent.
    #[test]
    fn barriers_cut_every_channel_at_the_same_place(
        script in prop::collection::vec((0..3_usize, 0..4_u8), 0..60),
    ) {
        let (gate, senders) = gate(3);
        let mut intake = Intake::new(gate);
        let (mut out, mut epochs, mut numbers) = (Vec::new(), [0_u64; 3], [0_i64; 3]);
        for (channel, what) in script {
            // What is held keeps its credit; a real sender would wait for it.
            let ahead = epochs[channel] > *epochs.iter().min().expect("three channels");
            if ahead && what != 0 {
                continue;
            }
            if what == 0 && !ahead {
                epochs[channel] += 1;
                send(&senders[channel], barrier(epochs[channel]));
            } else if what != 0 {
                let time = numbers[channel] * 1_000 + epochs[channel] as i64;
                numbers[channel] += 1;
                send(&senders[channel], row(channel, time));
            }
            out.extend(drain(&mut intake));
        }
        let (mut epoch, mut next) = (0_i64, [0_i64; 3]);
        for word in out {
            if let Some(checkpoint) = word.strip_prefix('|') {
                epoch += 1;
                prop_assert_eq!(checkpoint, epoch.to_string());
            } else {
                let (channel, time) = word.split_once(':').expect("a row");
                let (channel, time): (usize, i64) =
                    (channel.parse().expect("a number"), time.parse().expect("a number"));
                prop_assert_eq!(time, next[channel] * 1_000 + epoch);
                next[channel] += 1;
            }
        }
        prop_assert_eq!(next, numbers, "nothing is lost");
    }
}

//! A gate: the one input queue of a subtask, fed by many senders.
//!
//! Every sender has its own credits; it takes one for each message and gets it back when the
//! receiver is done with that message. So the queue is bounded, a slow receiver holds back its
//! senders, and no sender can starve another. The queue is first in, first out across all senders:
//! rows of one split stay in order although several subtasks decode it. No lock is taken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use crossbeam_queue::ArrayQueue;
use futures_util::task::AtomicWaker;
use wasmill_core::{batch::Batch, checkpoint::CheckpointId};

/// Messages that a sender may have under way to one receiver.
pub const CREDITS_MAX: usize = 4;

/// What travels along an edge.
#[derive(Debug, Clone)]
pub enum Message {
    /// Rows of the gate's given input.
    Rows {
        /// Position among the gate's input streams.
        input: u16,
        /// The rows.
        batch: Batch,
    },
    /// No row of this lane will come whose time lies before `time`, in microseconds.
    Watermark {
        /// Who promises: a split, or an upstream subtask.
        lane: u32,
        /// The promise.
        time: i64,
    },
    /// The lane makes no progress for now and shall not be waited for.
    Idle {
        /// The lane.
        lane: u32,
    },
    /// The lane has ended and shall not be waited for.
    LaneEnd {
        /// The lane.
        lane: u32,
    },
    /// What was sent before belongs to this checkpoint, what comes behind it to the next one.
    Barrier(Barrier),
    /// The sender's input has ended: no rows and no watermarks come any more, only barriers.
    End,
}

/// The mark of a checkpoint in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// The decided checkpoint whose objects this one may name.
    pub base: Option<CheckpointId>,
    /// Whether the job ends with it: nothing is sent behind it.
    pub is_last: bool,
}

/// The receiver is gone: the job is stopping or has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiving task is gone")]
pub struct Gone;

struct Shared {
    queue: ArrayQueue<(u32, Message)>,
    receiver: AtomicWaker,
    senders: Vec<SenderShared>,
    /// Senders that have not ended.
    open: AtomicUsize,
    receiver_gone: AtomicBool,
}

struct SenderShared {
    credits: AtomicUsize,
    /// Set when the sender is dropped: all that it sent lies in the queue by then.
    is_gone: AtomicBool,
    waker: AtomicWaker,
}

/// Makes a gate with `senders` senders.
pub fn gate(senders: usize) -> (Gate, Vec<Sender>) {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new((senders * CREDITS_MAX).max(1)),
        receiver: AtomicWaker::new(),
        senders: (0..senders)
            .map(|_| SenderShared {
                credits: AtomicUsize::new(CREDITS_MAX),
                is_gone: AtomicBool::new(false),
                waker: AtomicWaker::new(),
            })
            .collect(),
        open: AtomicUsize::new(senders),
        receiver_gone: AtomicBool::new(false),
    });
    let ends = (0..senders)
        .map(|number| Sender {
            shared: shared.clone(),
            number,
        })
        .collect();
    (Gate { shared }, ends)
}

/// The sending end of one upstream subtask. Dropping it ends its lane.
pub struct Sender {
    shared: Arc<Shared>,
    number: usize,
}

impl Sender {
    /// Sends when there is credit.
    pub async fn send(&self, message: Message) -> Result<(), Gone> {
        let mine = &self.shared.senders[self.number];
        std::future::poll_fn(|context| {
            if self.take_credit(mine) {
                return Poll::Ready(());
            }
            mine.waker.register(context.waker());
            // A credit may have come back, or the receiver gone, before the waker stood.
            if self.take_credit(mine) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        if self.shared.receiver_gone.load(Ordering::Acquire) {
            return Err(Gone);
        }
        let number = u32::try_from(self.number).expect("a gate has fewer than 2^32 senders");
        let sent = self.shared.queue.push((number, message));
        assert!(sent.is_ok(), "credits bound the queue");
        self.shared.receiver.wake();
        Ok(())
    }

    fn take_credit(&self, mine: &SenderShared) -> bool {
        if self.shared.receiver_gone.load(Ordering::Acquire) {
            return true;
        }
        // Only this sender takes, so a load before the subtraction cannot be outrun.
        if mine.credits.load(Ordering::Acquire) == 0 {
            return false;
        }
        mine.credits.fetch_sub(1, Ordering::AcqRel);
        true
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mine = &self.shared.senders[self.number];
        mine.is_gone.store(true, Ordering::Release);
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
        self.shared.receiver.wake();
    }
}

/// The receiving end.
pub struct Gate {
    shared: Arc<Shared>,
}

/// A message, and its sender's credit: dropping it gives the credit back.
pub struct Received {
    /// What was sent.
    pub message: Message,
    credit: Credit,
}

impl Received {
    /// Who sent it: the sender's number among those of the gate.
    pub fn channel(&self) -> usize {
        self.credit.number as usize
    }

    /// Parts the message from its credit, for those who keep the one and return the other.
    pub fn split(self) -> (Message, Credit) {
        (self.message, self.credit)
    }
}

/// A sender's right to one more message, on its way back to it.
pub struct Credit {
    shared: Arc<Shared>,
    number: u32,
}

impl Drop for Credit {
    fn drop(&mut self) {
        let sender = &self.shared.senders[self.number as usize];
        sender.credits.fetch_add(1, Ordering::AcqRel);
        sender.waker.wake();
    }
}

impl Gate {
    /// The next message if one is there.
    pub fn try_recv(&self) -> Option<Received> {
        let (number, message) = self.shared.queue.pop()?;
        Some(Received {
            message,
            credit: Credit {
                shared: self.shared.clone(),
                number,
            },
        })
    }

    /// Whether a message waits.
    pub fn is_ready(&self) -> bool {
        !self.shared.queue.is_empty()
    }

    /// Number of senders.
    pub fn channels(&self) -> usize {
        self.shared.senders.len()
    }

    /// Whether a sender is gone. What it sent before lies in the queue: whoever asks this first and
    /// then finds the queue empty knows that nothing comes from it any more.
    pub fn is_gone(&self, channel: usize) -> bool {
        self.shared.senders[channel].is_gone.load(Ordering::Acquire)
    }

    /// Whether every sender is gone; as for [`Gate::is_gone`].
    pub fn is_closed(&self) -> bool {
        self.shared.open.load(Ordering::Acquire) == 0
    }

    /// Has the task woken when something comes or a sender goes.
    pub fn register(&self, context: &Context<'_>) {
        self.shared.receiver.register(context.waker());
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.receiver_gone.store(true, Ordering::Release);
        for sender in &self.shared.senders {
            sender.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use super::*;
    use crate::exchange::intake::{Intake, Taken};
    use crate::task::slot::{Slots, TaskClock};

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(future)
    }

    fn watermark(lane: u32, time: i64) -> Message {
        Message::Watermark { lane, time }
    }

    #[test]
    fn every_senders_messages_arrive_once_and_in_order() {
        let slots = Slots::start(2);
        let (gate, senders) = gate(5);
        let tasks: Vec<_> = senders
            .into_iter()
            .enumerate()
            .map(|(lane, sender)| {
                slots.spawn(lane, TaskClock::new(100), async move {
                    for time in 0..2_000 {
                        sender
                            .send(watermark(lane as u32, time))
                            .await
                            .expect("the gate lives");
                    }
                })
            })
            .collect();
        let receiver = slots.spawn(0, TaskClock::new(100), async move {
            let mut next = [0i64; 5];
            let mut gate = Intake::new(gate);
            while let Some(Taken::Received(received)) = gate.recv().await {
                let Message::Watermark { lane, time } = received.message else {
                    panic!("rows")
                };
                assert_eq!(time, next[lane as usize]);
                next[lane as usize] += 1;
            }
            next
        });
        assert_eq!(block_on(receiver), [2_000; 5]);
        tasks.into_iter().for_each(block_on);
    }

    #[test]
    fn a_sender_without_credit_waits() {
        let slots = Slots::start(1);
        let (gate, mut senders) = gate(1);
        let sent = Arc::new(AtomicI64::new(0));
        let sender = senders.pop().expect("one sender");
        let counter = sent.clone();
        let task = slots.spawn(0, TaskClock::new(100), async move {
            for time in 0..10 {
                if sender.send(watermark(0, time)).await.is_err() {
                    return false;
                }
                counter.fetch_add(1, Ordering::SeqCst);
            }
            true
        });
        let mut gate = Intake::new(gate);
        let held: Vec<_> = block_on(async {
            let mut held = Vec::new();
            for _ in 0..CREDITS_MAX {
                held.push(gate.recv().await.expect("the sender lives"));
            }
            held
        });
        assert!(
            gate.try_recv().is_none(),
            "no credit came back, so nothing more may come"
        );
        // The last one may be on its way from the queue to the counter.
        assert!(sent.load(Ordering::SeqCst) <= CREDITS_MAX as i64);
        drop(held);
        drop(gate);
        assert!(!block_on(task), "a sender learns that its receiver is gone");
    }
}

//! Turns: chunks of one split are decoded side by side, and handed on in order.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// What passes from turn to turn, and whose turn it is.
pub struct Turns<T> {
    next: AtomicU64,
    /// One for each subtask that may wait.
    wakers: Vec<AtomicWaker>,
    /// Nearly always locked by the holder of the turn alone, so it does not wait.
    baton: Mutex<T>,
}

impl<T> Turns<T> {
    /// Turns from 0 on, for `subtasks` that share them.
    pub fn new(subtasks: usize, baton: T) -> Self {
        let wakers = (0..subtasks).map(|_| AtomicWaker::new()).collect();
        Self {
            next: AtomicU64::new(0),
            wakers,
            baton: Mutex::new(baton),
        }
    }

    /// The number whose turn it is: for one who alone draws numbers.
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Looks at what passes from turn to turn, whoever has the turn.
    pub fn look<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        body(&mut self.baton.lock())
    }

    /// Waits for turn `number`. The turn ends when the guard is dropped; every number must have its
    /// turn.
    pub async fn wait(&self, number: u64, subtask: usize) -> Turn<'_, T> {
        std::future::poll_fn(|context| {
            if self.next.load(Ordering::Acquire) == number {
                return Poll::Ready(());
            }
            self.wakers[subtask].register(context.waker());
            if self.next.load(Ordering::Acquire) == number {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        Turn {
            turns: self,
            number,
        }
    }
}

/// The right to hand on one chunk.
pub struct Turn<'a, T> {
    turns: &'a Turns<T>,
    number: u64,
}

impl<T> Turn<'_, T> {
    /// What the turn before left.
    pub fn with_baton<R>(&mut self, body: impl FnOnce(&mut T) -> R) -> R {
        body(&mut self.turns.baton.lock())
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        self.turns.next.store(self.number + 1, Ordering::Release);
        for waker in &self.turns.wakers {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::task::slot::{Slots, TaskClock, yield_now};

    #[test]
    fn turns_come_in_order_whoever_takes_them() {
        let slots = Slots::start(2);
        let turns = Arc::new(Turns::new(3, Vec::new()));
        let tickets = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..3)
            .map(|subtask| {
                let (turns, tickets) = (turns.clone(), tickets.clone());
                slots.spawn(subtask, TaskClock::new(100), async move {
                    loop {
                        let number = tickets.fetch_add(1, Ordering::Relaxed);
                        if number >= 3_000 {
                            return;
                        }
                        if number % 7 == subtask as u64 {
                            yield_now().await;
                        }
                        turns
                            .wait(number, subtask)
                            .await
                            .with_baton(|seen| seen.push(number));
                    }
                })
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        tasks.into_iter().for_each(|task| runtime.block_on(task));
        assert!(turns.baton.lock().iter().copied().eq(0..3_000));
    }
}

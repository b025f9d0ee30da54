//! Turns: chunks of one split are decoded side by side, and handed on in order.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// A number before ours was lost: its holder failed or panicked, and its own error says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the rows of an earlier turn are lost")]
pub struct Lost;

/// What passes from turn to turn, and whose turn it is.
pub struct Turns<T> {
    next: AtomicU64,
    /// The first number that never has its turn; the greatest there is while none is lost.
    lost: AtomicU64,
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
            lost: AtomicU64::new(u64::MAX),
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

    /// A number that was drawn, to be held until its turn; every number must have one.
    pub fn hold(&self, number: u64) -> Held<'_, T> {
        Held {
            turns: self,
            number,
            is_taken: false,
        }
    }

    fn lose(&self, number: u64) {
        self.lost.fetch_min(number, Ordering::Release);
        self.wake_all();
    }

    fn wake_all(&self) {
        self.wakers.iter().for_each(AtomicWaker::wake);
    }
}

/// A number that waits for its turn. Dropped before it, as a panic does, it is lost: all numbers
/// behind it are told instead of waiting for ever.
pub struct Held<'a, T> {
    turns: &'a Turns<T>,
    number: u64,
    is_taken: bool,
}

impl<'a, T> Held<'a, T> {
    /// Waits for the turn.
    ///
    /// # Errors
    /// If a number before this one was lost.
    pub async fn turn(mut self, subtask: usize) -> Result<Turn<'a, T>, Lost> {
        let (turns, number) = (self.turns, self.number);
        let look = || {
            if turns.next.load(Ordering::Acquire) == number {
                return Poll::Ready(Ok(()));
            }
            match turns.lost.load(Ordering::Acquire) < number {
                true => Poll::Ready(Err(Lost)),
                false => Poll::Pending,
            }
        };
        std::future::poll_fn(|context| {
            if let Poll::Ready(ready) = look() {
                return Poll::Ready(ready);
            }
            turns.wakers[subtask].register(context.waker());
            look()
        })
        .await?;
        self.is_taken = true;
        Ok(Turn {
            turns,
            number,
            is_passed: false,
        })
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        if !self.is_taken {
            self.turns.lose(self.number);
        }
    }
}

/// The right to hand on one chunk. It is passed on when that is done; dropped before, it is lost
/// with all behind it, so that nobody takes what comes later for all there is.
pub struct Turn<'a, T> {
    turns: &'a Turns<T>,
    number: u64,
    is_passed: bool,
}

impl<T> Turn<'_, T> {
    /// What the turn before left.
    pub fn with_baton<R>(&mut self, body: impl FnOnce(&mut T) -> R) -> R {
        body(&mut self.turns.baton.lock())
    }

    /// It is the next number's turn.
    pub fn pass(mut self) {
        self.is_passed = true;
        self.turns.next.store(self.number + 1, Ordering::Release);
        self.turns.wake_all();
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        if !self.is_passed {
            self.turns.lose(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{panic::AssertUnwindSafe, sync::Arc};

    use futures_util::FutureExt;

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
                        let turn = turns.hold(number).turn(subtask).await;
                        let mut turn = turn.expect("none is lost");
                        turn.with_baton(|seen| seen.push(number));
                        turn.pass();
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

    #[test]
    fn a_panic_before_its_turn_ends_the_turns_behind_it_and_no_other() {
        const PANICS: u64 = 2;
        let slots = Slots::start(2);
        let turns = Arc::new(Turns::new(4, Vec::new()));
        // The first number is held back until all others wait or have gone.
        let (release, first) = async_channel::bounded::<()>(1);
        let tasks: Vec<_> = (0..4u64)
            .map(|number| {
                let (turns, first) = (turns.clone(), first.clone());
                let work = async move {
                    let held = turns.hold(number);
                    match number {
                        0 => drop(first.recv().await),
                        PANICS => panic!("a mistake of ours"),
                        _ => {}
                    }
                    let turn = held.turn(number as usize).await;
                    turn.map(|mut turn| {
                        turn.with_baton(|seen| seen.push(number));
                        turn.pass();
                    })
                };
                let supervised = AssertUnwindSafe(work).catch_unwind();
                slots.spawn(number as usize, TaskClock::new(100), supervised)
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let mut tasks: Vec<_> = tasks.into_iter().map(Some).collect();
        let mut end = |number: u64| {
            let task = tasks[number as usize].take().expect("it has not ended");
            runtime.block_on(task)
        };
        assert!(end(PANICS).is_err());
        assert_eq!(end(3).expect("no panic"), Err(Lost));
        drop(release);
        assert_eq!(end(0).expect("no panic"), Ok(()));
        assert_eq!(end(1).expect("no panic"), Ok(()));
        assert_eq!(*turns.baton.lock(), [0, 1]);
    }

    #[test]
    fn a_turn_that_fails_is_the_last() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let turns = Turns::new(1, ());
        let turn = |number| runtime.block_on(turns.hold(number).turn(0));
        turn(0).expect("none is lost").pass();
        drop(turn(1).expect("none is lost"));
        assert_eq!(turn(2).err(), Some(Lost));
    }
}

//! What a task takes in: the messages of its gate, cut at barriers.
//!
//! A barrier that has come on one channel holds that channel back until it has come on all: what
//! lies behind it belongs to the next checkpoint. Held messages keep their credits, so a channel
//! that is ahead cannot pile them up.

use std::{collections::VecDeque, task::Poll};

use wasmill_core::checkpoint::BarrierAligner;

use super::gate::{Barrier, Gate, Message, Received};

/// A gate whose barriers are aligned: each comes out once, when it has come on every channel. So
/// does [`Message::End`].
pub struct Intake {
    gate: Gate,
    aligner: BarrierAligner,
    /// The barrier that is being aligned.
    barrier: Option<Barrier>,
    /// Messages behind it, in the order in which they came.
    held: VecDeque<Received>,
    /// Messages that were held and are free again; they come before those of the queue.
    free: VecDeque<Received>,
    /// Which channels still bring rows.
    open: Vec<bool>,
    /// Channels whose end is told by itself.
    watched: Vec<usize>,
}

impl Intake {
    /// The messages of a gate.
    pub fn new(gate: Gate) -> Self {
        let channels = gate.channels();
        Self {
            gate,
            aligner: BarrierAligner::new(channels),
            barrier: None,
            held: VecDeque::new(),
            free: VecDeque::new(),
            open: vec![true; channels],
            watched: Vec::new(),
        }
    }

    /// Has [`Taken::Watched`] come when all of these channels have ended.
    pub fn watch(&mut self, channels: Vec<usize>) {
        self.watched = channels;
    }

    /// The next message; none once every sender is gone and everything has been taken.
    pub async fn recv(&mut self) -> Option<Taken> {
        std::future::poll_fn(|context| {
            if let Some(end) = self.poll_now() {
                return Poll::Ready(end);
            }
            self.gate.register(context);
            self.poll_now().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The next message if one is there.
    pub fn try_recv(&mut self) -> Option<Taken> {
        while let Some(received) = self.free.pop_front().or_else(|| self.gate.try_recv()) {
            let taken = self.take(received);
            if taken.is_some() {
                return taken;
            }
        }
        None
    }

    /// Whether a message waits.
    pub fn is_ready(&self) -> bool {
        !self.free.is_empty() || self.gate.is_ready()
    }

    /// One message: handed out, held back, or counted.
    #[inline]
    fn take(&mut self, received: Received) -> Option<Taken> {
        let channel = received.channel();
        if self.barrier.is_some() && self.aligner.is_blocked(channel) {
            self.held.push_back(received);
            return None;
        }
        match received.message {
            Message::Barrier(barrier) => self.block(channel, barrier),
            Message::End => self.close(channel),
            _ => Some(Taken::Received(received)),
        }
    }

    /// A barrier has come on a channel.
    fn block(&mut self, channel: usize, barrier: Barrier) -> Option<Taken> {
        let aligned = self.aligner.barrier(channel, barrier.checkpoint);
        if aligned.is_some() || self.aligner.aligning() == Some(barrier.checkpoint) {
            if self
                .barrier
                .is_some_and(|before| before.checkpoint != barrier.checkpoint)
            {
                // The barrier that was waited for will not be: what it held back is free.
                self.release();
            }
            self.barrier = Some(barrier);
        }
        aligned.and_then(|_| self.aligned())
    }

    /// A channel brings no more rows. Tells when it was the last.
    fn close(&mut self, channel: usize) -> Option<Taken> {
        let was_open = std::mem::replace(&mut self.open[channel], false);
        if was_open && !self.open.contains(&true) {
            return Some(Taken::End);
        }
        let is_watched = was_open && self.watched.contains(&channel);
        let have_ended = self.watched.iter().all(|channel| !self.open[*channel]);
        (is_watched && have_ended).then_some(Taken::Watched)
    }

    /// The barrier has come on all channels.
    fn aligned(&mut self) -> Option<Taken> {
        let barrier = self.barrier.take()?;
        self.release();
        Some(Taken::Barrier(barrier))
    }

    /// What was held comes next, before what came later.
    fn release(&mut self) {
        self.held.append(&mut self.free);
        std::mem::swap(&mut self.held, &mut self.free);
    }

    fn poll_now(&mut self) -> Option<Option<Taken>> {
        // Asked before the queue is looked at: a sender pushes, then goes.
        let is_closed = self.gate.is_closed();
        let gone = self.gone();
        if let Some(taken) = self.try_recv() {
            return Some(Some(taken));
        }
        for channel in gone {
            if self.aligner.end(channel).is_some()
                && let Some(taken) = self.aligned()
            {
                return Some(Some(taken));
            }
        }
        is_closed.then_some(None)
    }

    /// While a barrier is being aligned, the channels that need not be waited for.
    fn gone(&self) -> Vec<usize> {
        if self.barrier.is_none() {
            return Vec::new();
        }
        let channels = 0..self.gate.channels();
        let gone = channels
            .filter(|channel| !self.aligner.is_blocked(*channel) && self.gate.is_gone(*channel));
        gone.collect()
    }
}

/// What came in.
pub enum Taken {
    /// A message of one sender, with its credit.
    Received(Received),
    /// A barrier, on every channel: all before it has been taken, nothing behind it.
    Barrier(Barrier),
    /// The channels that are watched bring no rows any more, others do.
    Watched,
    /// No channel brings rows any more.
    End,
}

#[cfg(test)]
mod tests;

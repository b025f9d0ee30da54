//! The panes of one key, and the windows merged from them.

use super::accumulator::Accumulator;
use super::shape::{Overflown, Shape};
use super::weight;

/// So many panes are moved rather than that those before them are kept.
const MOVED_MAX: usize = 16;

/// Panes that have rows, oldest first, their accumulators one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Panes {
    starts: Vec<i64>,
    accumulators: Vec<Accumulator>,
    /// The first that is still needed: those before it go when they are the larger part.
    head: usize,
}

/// The accumulators of a sliding window without its panes being merged anew: two stacks (the queue
/// of Tangwongsan, Hirzel and Schneider, *Low-latency sliding-window aggregation in worst-case
/// constant time*, 2017, section 2). In front stands, for each older pane, what it and all up to
/// the middle hold; at the back, all behind the middle. A window is one of the front merged
/// with the back; a pane is merged about three times, however many windows it lies in.
#[derive(Debug, Clone, Default)]
pub(super) struct Slide {
    /// The panes with which those in front begin, the youngest first.
    starts: Vec<i64>,
    front: Vec<Accumulator>,
    back: Vec<Accumulator>,
    /// Where the panes begin and end that are at the back; none before the first window.
    span: Option<(i64, i64)>,
}

impl Panes {
    pub(super) fn is_empty(&self) -> bool {
        self.head == self.starts.len()
    }

    /// How many there are.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.starts.len() - self.head
    }

    /// Reads a little of each, so that all are in the processor's cache.
    #[inline]
    pub(super) fn touch(&self) -> usize {
        let read = |it: &Accumulator| usize::from(matches!(it, Accumulator::Count(1)));
        let panes = self.accumulators.iter().step_by(2);
        let sum: usize = panes.map(read).sum();
        sum + self.starts.last().map_or(0, |start| *start as usize)
    }

    /// The same of the youngest one.
    #[inline]
    pub(super) fn touch_last(&self) -> usize {
        let read = |it: &Accumulator| usize::from(matches!(it, Accumulator::Count(1)));
        let start = self.starts.last().map_or(0, |start| *start as usize);
        start + self.accumulators.last().map_or(0, read)
    }

    /// A window merged from its panes; nothing if it has none.
    pub(super) fn merge(
        &self,
        (start, end): (i64, i64),
        shape: &Shape,
        out: &mut Vec<Accumulator>,
    ) -> Result<(), Overflown> {
        let starts = self.starts();
        let first = starts.iter().take_while(|pane| **pane < start).count();
        let end = starts.iter().take_while(|pane| **pane < end).count();
        if first >= end {
            return Ok(());
        }
        let width = shape.width();
        let (first, end) = (self.head + first, self.head + end);
        let panes = &self.accumulators[first * width..end * width];
        shape.merge_all(panes, out)
    }

    /// The start of the oldest one.
    pub(super) fn first(&self) -> Option<i64> {
        self.starts.get(self.head).copied()
    }

    /// The starts of all.
    pub(super) fn starts(&self) -> &[i64] {
        &self.starts[self.head..]
    }

    /// The accumulators of the pane that begins there, which is made if there is none.
    #[inline]
    pub(super) fn entry(&mut self, start: i64, shape: &Shape) -> &mut [Accumulator] {
        let width = shape.width();
        let mut at = self.starts.len();
        while at > self.head && self.starts[at - 1] > start {
            at -= 1;
        }
        if at > self.head && self.starts[at - 1] == start {
            at -= 1;
        } else {
            self.insert(at, start, shape);
        }
        &mut self.accumulators[at * width..(at + 1) * width]
    }

    /// The accumulators of the pane that begins there, if there is one.
    pub(super) fn get(&self, start: i64, shape: &Shape) -> Option<&[Accumulator]> {
        let at = self.starts().binary_search(&start).ok()? + self.head;
        let width = shape.width();
        Some(&self.accumulators[at * width..(at + 1) * width])
    }

    /// The panes that begin between two times, oldest first.
    pub(super) fn between<'a>(
        &'a self,
        from: i64,
        to: i64,
        shape: &Shape,
    ) -> impl DoubleEndedIterator<Item = (i64, &'a [Accumulator])> + use<'a> {
        let width = shape.width();
        let starts = self.starts();
        let first = starts.partition_point(|start| *start < from);
        let end = starts.partition_point(|start| *start < to).max(first);
        (self.head + first..self.head + end).map(move |at| {
            (
                self.starts[at],
                &self.accumulators[at * width..(at + 1) * width],
            )
        })
    }

    /// Forgets the oldest panes for which that is said; gives how many.
    pub(super) fn forget(&mut self, is_over: impl Fn(i64) -> bool, shape: &Shape) -> usize {
        let before = self.head;
        while self.first().is_some_and(&is_over) {
            self.head += 1;
        }
        let gone = self.head - before;
        // Few are moved at once: what is over would take up the processor's cache.
        if gone > 0 && (self.head * 2 >= self.starts.len() || self.count() <= MOVED_MAX) {
            self.starts.drain(..self.head);
            self.accumulators.drain(..self.head * shape.width());
            self.head = 0;
        }
        gone
    }

    fn insert(&mut self, at: usize, start: i64, shape: &Shape) {
        self.starts.insert(at, start);
        let place = at * shape.width();
        if place == self.accumulators.len() {
            self.accumulators.extend(shape.empty());
        } else {
            self.accumulators.splice(place..place, shape.empty());
        }
    }
}

impl Slide {
    /// Forgets what was merged: a pane of a window that is over has changed.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Merges the window from `start` to `end` into `out`. Windows come in the order of their ends,
    /// and those that begin later later.
    pub(super) fn merge(
        &mut self,
        panes: &Panes,
        (start, end): (i64, i64),
        shape: &Shape,
        out: &mut Vec<Accumulator>,
    ) -> Result<(), Overflown> {
        let (mut from, mut to) = self.span.unwrap_or((start, start));
        if start >= to {
            self.clear();
            (from, to) = (start, start);
        } else if start > from {
            self.turn(panes, (start, to), shape)?;
            from = to;
        }
        for (_, pane) in panes.between(to, end, shape) {
            if self.back.is_empty() {
                self.back.extend_from_slice(pane);
            } else {
                shape.merge(&mut self.back, pane)?;
            }
        }
        self.span = Some((from, to.max(end)));
        let width = shape.width();
        while self.starts.last().is_some_and(|pane| *pane < start) {
            self.starts.pop();
            self.front.truncate(self.starts.len() * width);
        }
        out.clear();
        if self.starts.is_empty() {
            out.extend_from_slice(&self.back);
            return Ok(());
        }
        out.extend_from_slice(&self.front[(self.starts.len() - 1) * width..]);
        match self.back.is_empty() {
            true => Ok(()),
            false => shape.merge(out, &self.back),
        }
    }

    /// Moves what is at the back to the front.
    fn turn(
        &mut self,
        panes: &Panes,
        (from, to): (i64, i64),
        shape: &Shape,
    ) -> Result<(), Overflown> {
        self.clear();
        let width = shape.width();
        for (start, pane) in panes.between(from, to, shape).rev() {
            let younger = self.front.len();
            self.front.extend_from_slice(pane);
            if !self.starts.is_empty() {
                let (known, own) = self.front.split_at_mut(younger);
                shape.merge(own, &known[younger - width..])?;
            }
            self.starts.push(start);
        }
        Ok(())
    }

    /// The memory that it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + weight::all(&self.front) + weight::all(&self.back)
    }

    fn clear(&mut self) {
        self.starts.clear();
        self.front.clear();
        self.back.clear();
    }
}

#[cfg(test)]
mod tests;

//! When a checkpoint's barrier has come on all of a task's channels.

use super::CheckpointId;

/// Holds back the channels on which a barrier has come until it has come on all.
///
/// What lies behind a barrier on a blocked channel must not be processed: it belongs to the next
/// checkpoint. A channel that has ended counts as aligned. All memory is taken at the start.
///
/// ```
/// use wasmill_core::checkpoint::{BarrierAligner, CheckpointId};
///
/// let mut aligner = BarrierAligner::new(2);
/// assert_eq!(aligner.barrier(0, CheckpointId(7)), None);
/// assert!(aligner.is_blocked(0) && !aligner.is_blocked(1));
/// assert_eq!(aligner.barrier(1, CheckpointId(7)), Some(CheckpointId(7)), "take the snapshot now");
/// assert!(!aligner.is_blocked(0));
/// ```
#[derive(Debug, Clone)]
pub struct BarrierAligner {
    channels: Vec<Channel>,
    /// Channels that are waited for while one is being aligned.
    missing: usize,
    aligning: Option<CheckpointId>,
    /// Barriers up to this number are of the past: aligned, aborted or replaced.
    past: CheckpointId,
    /// The newest checkpoint that was told of aside from the channels.
    told: CheckpointId,
}

/// What has come on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    /// Rows.
    Open,
    /// The barrier that is being aligned.
    Blocked,
    /// Its end.
    Ended,
}

impl BarrierAligner {
    /// For a task with so many input channels, all open.
    pub fn new(channels: usize) -> Self {
        Self {
            channels: vec![Channel::Open; channels],
            missing: 0,
            aligning: None,
            past: CheckpointId(0),
            told: CheckpointId(0),
        }
    }

    /// A barrier has come on a channel. Gives the checkpoint if that was the last one missing: the
    /// snapshot is due, and every channel is free again. A barrier with a higher number replaces
    /// the one that is being aligned, for which the coordinator has no use any more; one of the
    /// past is passed over.
    pub fn barrier(&mut self, channel: usize, checkpoint: CheckpointId) -> Option<CheckpointId> {
        debug_assert!(!self.is_blocked(channel), "a blocked channel is not read");
        if checkpoint <= self.past || self.channels[channel] == Channel::Ended {
            return None;
        }
        if self.aligning != Some(checkpoint) {
            if self.aligning.is_some_and(|current| checkpoint < current) {
                return None;
            }
            self.release();
            self.aligning = Some(checkpoint);
            let open = self.channels.iter().filter(|at| **at == Channel::Open);
            self.missing = open.count();
        }
        if self.channels[channel] == Channel::Open {
            self.channels[channel] = Channel::Blocked;
            self.missing -= 1;
        }
        self.align()
    }

    /// The checkpoint has been triggered, whether or not its barrier comes on a channel: where all
    /// have ended none will. Gives it if that is so already; if it comes to be so later,
    /// [`BarrierAligner::end`] does.
    pub fn trigger(&mut self, checkpoint: CheckpointId) -> Option<CheckpointId> {
        self.told = self.told.max(checkpoint);
        self.align()
    }

    /// A channel has ended: nothing comes on it any more. Gives the checkpoint that was waiting for
    /// this channel alone.
    pub fn end(&mut self, channel: usize) -> Option<CheckpointId> {
        let before = std::mem::replace(&mut self.channels[channel], Channel::Ended);
        if self.aligning.is_some() && before == Channel::Open {
            self.missing -= 1;
        }
        self.align()
    }

    /// The checkpoint, and all before it, will not be: their barriers block nothing.
    pub fn abort(&mut self, checkpoint: CheckpointId) {
        self.past = self.past.max(checkpoint);
        if self.aligning.is_some_and(|current| current <= checkpoint) {
            self.aligning = None;
            self.release();
        }
    }

    /// Whether the channel must not be read for now.
    #[inline]
    pub fn is_blocked(&self, channel: usize) -> bool {
        self.channels[channel] == Channel::Blocked
    }

    /// The checkpoint whose barrier has come on some channels and not on others.
    #[inline]
    pub fn aligning(&self) -> Option<CheckpointId> {
        self.aligning
    }

    /// Whether nothing comes on any channel any more.
    pub fn has_ended(&self) -> bool {
        self.channels.iter().all(|at| *at == Channel::Ended)
    }

    /// Ends the alignment if nothing is missing.
    fn align(&mut self) -> Option<CheckpointId> {
        let told = Some(self.told).filter(|told| *told > self.past && self.has_ended());
        let aligned = self.aligning.filter(|_| self.missing == 0).max(told)?;
        self.aligning = None;
        self.past = aligned;
        self.release();
        Some(aligned)
    }

    /// Frees every blocked channel.
    fn release(&mut self) {
        for channel in &mut self.channels {
            if *channel == Channel::Blocked {
                *channel = Channel::Open;
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! What happened in a world.

/// What happened, so that one sees that it did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) steps: u64,
    pub(crate) decided: u64,
    pub(crate) aborted: u64,
    pub(crate) attempts: u64,
    pub(crate) fenced: u64,
    pub(crate) failed: u64,
    pub(crate) ghosts: u64,
    pub(crate) deleted: u64,
    pub(crate) savepoints: u64,
    pub(crate) stops: u64,
    pub(crate) went_back: u64,
    /// Decided checkpoints that name what was written for an earlier one.
    pub(crate) shared: u64,
    /// Objects that outlived the checkpoint for which they were written.
    pub(crate) outlived: u64,
    /// Checkpoints that a sink committed.
    pub(crate) committed: u64,
    /// Commits that a crash had kept out of the log, and a later attempt has entered there.
    pub(crate) entered: u64,
    /// Those of them that had lost their number.
    pub(crate) renumbered: u64,
}

impl Counters {
    pub(crate) fn sum(all: &[Self]) -> Self {
        all.iter().fold(Self::default(), |mut sum, one| {
            for (sum, (_, one)) in sum.all_mut().into_iter().zip(one.all()) {
                *sum += one;
            }
            sum
        })
    }

    /// What never happened.
    pub(crate) fn absent(&self) -> Vec<&'static str> {
        let absent = self.all().into_iter().filter(|(_, count)| *count == 0);
        absent.map(|(name, _)| name).collect()
    }

    fn all(&self) -> [(&'static str, u64); 16] {
        [
            ("steps", self.steps),
            ("decided", self.decided),
            ("aborted", self.aborted),
            ("attempts", self.attempts),
            ("fenced", self.fenced),
            ("failed", self.failed),
            ("ghosts", self.ghosts),
            ("deleted", self.deleted),
            ("savepoints", self.savepoints),
            ("stops", self.stops),
            ("went back", self.went_back),
            ("shared", self.shared),
            ("outlived", self.outlived),
            ("committed", self.committed),
            ("entered", self.entered),
            ("renumbered", self.renumbered),
        ]
    }

    fn all_mut(&mut self) -> [&mut u64; 16] {
        [
            &mut self.steps,
            &mut self.decided,
            &mut self.aborted,
            &mut self.attempts,
            &mut self.fenced,
            &mut self.failed,
            &mut self.ghosts,
            &mut self.deleted,
            &mut self.savepoints,
            &mut self.stops,
            &mut self.went_back,
            &mut self.shared,
            &mut self.outlived,
            &mut self.committed,
            &mut self.entered,
            &mut self.renumbered,
        ]
    }
}

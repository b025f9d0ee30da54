//! What happened in a world.

/// Counters that can be added up and told by name.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened, so that one sees that it did.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: u64,)*
        }

        impl Counters {
            pub(crate) fn sum(all: &[Self]) -> Self {
                all.iter().fold(Self::default(), |sum, one| Self {
                    $($name: sum.$name + one.$name,)*
                })
            }

            fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counters! {
    steps,
    decided,
    aborted,
    attempts,
    fenced,
    failed,
    ghosts,
    deleted,
    savepoints,
    stops,
    went_back,
    /// Decided checkpoints that name what was written for an earlier one.
    shared,
    /// Objects that outlived the checkpoint for which they were written.
    outlived,
    /// Checkpoints that a sink committed.
    committed,
    /// Commits that a crash had kept out of the log, and a later attempt has entered there.
    entered,
    /// Those of them that had lost their number.
    renumbered,
    /// Processes that were killed at work.
    crashes,
    /// Processes at work that got no time from then on.
    freezes,
    /// Those of them that got time again when a later attempt stood.
    zombies,
    /// Processes that were started while another one lived.
    takeovers,
    lost_barriers,
    lost_acknowledgements,
    /// Acknowledgements that came before something that had been sent earlier.
    reordered_acknowledgements,
    /// Snapshots that were given up although all of them was stored.
    declined,
    /// Requests that failed, and did nothing.
    lost_requests,
    /// Requests that failed as it seemed, and were done later.
    late_requests,
    /// Requests that failed as it seemed, and were done at once.
    lost_answers,
    /// Requests and answers that took long.
    slow,
    /// Uploads of which a part arrived.
    partial,
}

impl Counters {
    /// What never happened.
    pub(crate) fn absent(&self) -> Vec<&'static str> {
        let absent = self.all().into_iter().filter(|(_, count)| *count == 0);
        absent.map(|(name, _)| name).collect()
    }
}

//! Rows of a batch, or keys with timers, that each exceed a limit alone: how many of them are tried.

use std::fmt;

/// Rows of one batch that may exceed a limit, each for itself: each costs up to its whole budget,
/// and neighbours, barriers and the end of the job wait for all of them. Calls of many rows that
/// exceed one are not counted: what is too much together may be right in parts.
const ALONE_MAX: usize = 16;

/// What was tried of one batch, or of timers that are due at once.
#[derive(Debug, Default)]
pub struct Tries {
    alone: usize,
}

impl Tries {
    /// What is said of a row whose batch has used them up before it.
    pub const UNTRIED: &'static str = "not tried: 16 rows of its batch had exceeded a limit; raise \
                                       the limit or mend the plugin";

    /// Counts a row, or a key, at which a call has failed.
    pub fn count(&mut self, is_limit: bool) {
        self.alone += usize::from(is_limit);
    }

    /// Whether no further call is to be tried.
    pub fn are_used_up(&self) -> bool {
        self.alone >= ALONE_MAX
    }

    /// What is wrong where nothing may be left untried, because it would be lost.
    pub fn too_many(&self, failure: &dyn fmt::Display) -> String {
        let alone = self.alone;
        format!(
            "{failure}; {alone} of one batch exceeded a limit: raise the limit or mend the plugin"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_limits_use_them_up() {
        let mut tries = Tries::default();
        for _ in 0..ALONE_MAX {
            assert!(!tries.are_used_up());
            tries.count(false);
            tries.count(true);
        }
        assert!(tries.are_used_up());
        let told = tries.too_many(&"too long");
        assert!(told.starts_with("too long; 16 of one batch"), "{told}");
        assert!(Tries::UNTRIED.contains(&ALONE_MAX.to_string()));
    }
}

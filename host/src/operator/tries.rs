//! Failed calls: how many of those that a batch leads to may exceed a limit.

/// Calls that may exceed a limit in one batch: each costs up to its whole budget, and neighbours,
/// barriers and the end of the job wait for all of them.
const LIMITS_PER_BATCH_MAX: usize = 16;

/// The failed calls of one batch, or of timers that are due at once.
#[derive(Debug, Default)]
pub struct Tries {
    limits: usize,
}

impl Tries {
    /// What is said of a row whose batch has used them up before it.
    pub const UNTRIED: &'static str = "not tried: 16 calls of its batch had exceeded a limit; \
                                       raise the limit or mend the plugin";

    /// Counts a failed call.
    pub fn count(&mut self, is_limit: bool) {
        self.limits += usize::from(is_limit);
    }

    /// Whether no further call is to be tried.
    pub fn are_used_up(&self) -> bool {
        self.limits >= LIMITS_PER_BATCH_MAX
    }

    /// What is wrong where nothing may be left untried.
    pub fn too_many(&self, failure: &dyn std::fmt::Display) -> String {
        let limits = self.limits;
        format!(
            "{failure}; {limits} calls at once exceeded a limit: raise the limit or mend the plugin"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_exceed_limits_use_them_up() {
        let mut tries = Tries::default();
        for _ in 0..LIMITS_PER_BATCH_MAX {
            assert!(!tries.are_used_up());
            tries.count(false);
            tries.count(true);
        }
        assert!(tries.are_used_up());
        let told = tries.too_many(&"too long");
        assert!(told.starts_with("too long; 16 calls"), "{told}");
        assert!(Tries::UNTRIED.contains(&LIMITS_PER_BATCH_MAX.to_string()));
    }
}

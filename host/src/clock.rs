//! The only place that reads the machine's clocks.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

/// The variable that makes the wall clock jump, by a seed; it is for tests, and no part of the
/// command line.
pub const JUMPS: &str = "WASMILL_CLOCK_JUMPS";
/// How far it may jump, either way.
const JUMP_US_MAX: i64 = 365 * 86_400 * 1_000_000;
/// How long it goes on evenly between two jumps.
const EVEN_US: i64 = 100_000;

/// The seed of jumps; 0 if the clock does not jump.
static JUMPING: AtomicU64 = AtomicU64::new(0);

/// Has the wall clock jump from now on.
pub fn jump(seed: u64) {
    JUMPING.store(seed, Ordering::Relaxed);
}

/// Monotonic time, for scheduling and rates.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that may read it"
)]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Microseconds from some moment on: never falling, whatever is done to the wall clock.
pub fn monotonic_us() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

/// Microseconds since 1970-01-01T00:00:00Z: processing time.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that may read it"
)]
pub fn wall_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    match JUMPING.load(Ordering::Relaxed) {
        0 => now,
        seed => now.saturating_add(jumped(seed, now)),
    }
}

/// How wrong a clock is that jumps.
fn jumped(seed: u64, now: i64) -> i64 {
    let stretch = (now / EVEN_US).unsigned_abs();
    let bits = xxhash_rust::xxh3::xxh3_64_with_seed(&stretch.to_le_bytes(), seed);
    let span = JUMP_US_MAX.unsigned_abs() * 2;
    i64::try_from(bits % span).unwrap_or(0) - JUMP_US_MAX
}

/// CPU time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    cpu(ClockId::ThreadCPUTime)
}

/// CPU time that the process has used.
pub fn process_cpu() -> Duration {
    cpu(ClockId::ProcessCPUTime)
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_jumps_both_ways_and_no_further_than_it_may() {
        let offsets: Vec<i64> = (0..100).map(|at| jumped(7, at * EVEN_US)).collect();
        assert!(offsets.iter().all(|offset| offset.abs() <= JUMP_US_MAX));
        assert!(offsets.iter().any(|offset| *offset > JUMP_US_MAX / 2));
        assert!(offsets.iter().any(|offset| *offset < -JUMP_US_MAX / 2));
        assert_eq!(
            jumped(7, EVEN_US),
            jumped(7, EVEN_US + 1),
            "between jumps it goes evenly"
        );
    }
}

use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000;

fn passing(restarts: &mut Restarts, now_us: i64) -> Result<i64, GaveUp> {
    failed(restarts, now_us, Failure::Passing)
}

fn failed(restarts: &mut Restarts, now_us: i64, failure: Failure) -> Result<i64, GaveUp> {
    match restarts.step(now_us, RestartFact::Failed(failure)) {
        Some(RestartAction::Restart { after_us, .. }) => Ok(after_us),
        Some(RestartAction::End(gave_up)) => Err(gave_up),
        None => panic!("a failure is answered"),
    }
}

fn run(restarts: &mut Restarts, now_us: i64) {
    assert_eq!(restarts.step(now_us, RestartFact::Running), None);
}

fn exponential(jitter: f64) -> RestartPolicy {
    RestartPolicy::Exponential(Backoff {
        jitter,
        ..Backoff::default()
    })
}

#[test]
fn a_fixed_number_of_restarts() {
    let delay_us = 5 * SECOND;
    let policy = RestartPolicy::Fixed {
        attempts: 3,
        delay_us,
    };
    let mut restarts = Restarts::new(policy, 1);
    for at in 0..3 {
        assert_eq!(passing(&mut restarts, at * 10 * SECOND), Ok(delay_us));
    }
    let last = passing(&mut restarts, 100 * SECOND);
    assert_eq!(last, Err(GaveUp::UsedUp(3)));
    assert_eq!(restarts.number(), 3, "one that is refused is none");
}

#[test]
fn times_grow_and_begin_again_behind_a_long_run() {
    let mut restarts = Restarts::new(exponential(0.0), 1);
    let times = (0..8).map(|_| passing(&mut restarts, 0).map(|us| us / SECOND));
    let times: Result<Vec<_>, _> = times.collect();
    assert_eq!(times, Ok(vec![1, 2, 4, 8, 16, 32, 60, 60]));
    run(&mut restarts, SECOND);
    assert_eq!(
        passing(&mut restarts, 600 * SECOND),
        Ok(60 * SECOND),
        "it ran for a second less than counts"
    );
    run(&mut restarts, 1_000 * SECOND);
    assert_eq!(passing(&mut restarts, 1_600 * SECOND), Ok(SECOND));
    assert_eq!(
        passing(&mut restarts, 9_000 * SECOND),
        Ok(2 * SECOND),
        "it did not run in between"
    );
}

#[test]
fn failures_must_be_rare() {
    let policy = RestartPolicy::FailureRate {
        failures: 3,
        per_us: 300 * SECOND,
        delay_us: 5,
    };
    let mut restarts = Restarts::new(policy, 1);
    for at in [0, 100, 200, 301, 401, 501] {
        assert_eq!(passing(&mut restarts, at * SECOND), Ok(5), "at {at} s");
    }
    let gave_up = passing(&mut restarts, 502 * SECOND);
    let gave_up = gave_up.expect_err("the fourth within five minutes");
    assert_eq!(
        gave_up.to_string(),
        "it failed 4 times within 5m, more than `restart` allows"
    );
}

#[test]
fn what_a_restart_cannot_mend_ends_the_job() {
    let at = |place: &str| Failure::At(place.into());
    let mut restarts = Restarts::new(exponential(0.1), 1);
    assert!(failed(&mut restarts, 0, at("row 7")).is_ok());
    assert!(
        passing(&mut restarts, 0).is_ok(),
        "something else in between"
    );
    assert!(failed(&mut restarts, 0, at("row 8")).is_ok());
    run(&mut restarts, SECOND);
    let again = failed(&mut restarts, 9_000 * SECOND, at("row 8"));
    assert_eq!(again, Err(GaveUp::Repeated), "however long it ran");
    let lasting = failed(&mut restarts, 0, Failure::Lasting);
    assert_eq!(lasting, Err(GaveUp::Lasting));
    let mut never = Restarts::new(RestartPolicy::None, 1);
    assert_eq!(passing(&mut never, 0), Err(GaveUp::Never));
}

proptest! {
    /// The same seed gives the same times, no two seeds must, and none is out of its bounds.
    #[test]
    fn chance_stays_within_its_bounds(seed: u64, jitter in 0.0..=1.0_f64) {
        let mut once = Restarts::new(exponential(jitter), seed);
        let mut again = Restarts::new(exponential(jitter), seed);
        let mut base = SECOND as f64;
        for _ in 0..20 {
            let after = passing(&mut once, 0).expect("there is no end");
            prop_assert_eq!(Ok(after), passing(&mut again, 0));
            let most = (base * (1.0 + jitter)).min(60e6);
            let least = base * (1.0 - jitter) - 1.0;
            prop_assert!(after as f64 <= most && after as f64 >= least, "{after}");
            base = (base * 2.0).min(60e6);
        }
    }
}

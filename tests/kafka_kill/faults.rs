//! What goes wrong between a job and its broker, and with the broker.

use std::time::Duration;

use wasmill_tests::Random;
use wasmill_tests::kafka::{Action, Api, Fault};

/// Longer than a client waits for an answer.
const TOO_LATE: Duration = Duration::from_millis(3_000);
/// Not too late.
const LATE: Duration = Duration::from_millis(400);
/// Everything that can become of a request.
const ACTIONS: [Action; 6] = [
    Action::LateRequest(TOO_LATE),
    Action::LateAnswer(TOO_LATE),
    Action::LateAnswer(LATE),
    Action::Drop,
    Action::Cut,
    Action::CutRequest,
];
/// Requests of one kind that pass before one does not.
const PASS_MAX: u64 = 4;

/// What happens to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It ends as for an update, and comes back.
    Restart,
    /// It ends by force, and comes back.
    Crash,
    /// It stands still for a while.
    Freeze,
    /// Nobody gets through to it for a while, though it seems that they do.
    Hole,
}

impl Trouble {
    pub(crate) const ALL: [Self; 4] = [Self::Restart, Self::Crash, Self::Freeze, Self::Hole];
}

/// Faults of answers: each way, with each request. Those of the beginning of a process, which comes
/// to them once, are the first ones; the others come to them again and again.
pub(crate) fn all(random: &mut Random) -> Vec<Fault> {
    let mut all = Vec::new();
    for api in [
        Api::InitProducerId,
        Api::AddPartitionsToTxn,
        Api::Produce,
        Api::EndTxn,
    ] {
        for action in ACTIONS {
            all.push(Fault {
                api,
                nth: nth(api, random),
                action,
            });
        }
    }
    all
}

/// Any fault.
pub(crate) fn any(random: &mut Random) -> Fault {
    let api = *random.pick(&Api::ALL);
    Fault {
        api,
        nth: nth(api, random),
        action: *random.pick(&ACTIONS),
    }
}

fn nth(api: Api, random: &mut Random) -> u32 {
    match api {
        Api::InitProducerId => 1,
        _ => 1 + random.below(PASS_MAX) as u32,
    }
}

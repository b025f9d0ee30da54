use crate::checkpoint::{
    AttemptId, CheckpointId, Digest, OperatorState, Place, Position, Reason, SinkState,
    SourceState, StateSchema,
};
use crate::key::KeyGroupRange;

use super::*;

const KEY_HASH: KeyHash = KeyHash {
    seed: 0,
    groups: 128,
};

fn identity(plugin: &str, states: &[(&str, &str)]) -> Identity {
    let schema = |value: &str| StateSchema {
        id: Digest::of(value.as_bytes()),
        kind: "value".into(),
        key: None,
        value: value.into(),
    };
    let states = states
        .iter()
        .map(|(name, value)| ((*name).to_owned(), schema(value)));
    Identity {
        plugin: Some(Digest::of(plugin.as_bytes())),
        key: Some("u64".into()),
        states: states.collect(),
    }
}

fn old() -> Manifest {
    let velocity = OperatorState {
        identity: identity("v1", &[("history", "u64"), ("seen", "string")]),
        watermark: 0,
        segments: Vec::new(),
        parts: Vec::new(),
    };
    Manifest {
        place: Place {
            tenant: "default".into(),
            job: "j".into(),
            range: KeyGroupRange::all(128),
            position: Position(2),
            previous: Some(Digest::of(b"")),
            attempt: AttemptId(1),
            checkpoint_last: CheckpointId(17),
            written_us: 0,
            decided: Vec::new(),
        },
        checkpoint: CheckpointId(17),
        since: None,
        reason: Reason::Periodic,
        is_finished: false,
        triggered_us: 0,
        key_hash: KEY_HASH,
        watermark: 0,
        sources: [("rows".to_owned(), SourceState::default())].into(),
        operators: [("velocity".to_owned(), velocity)].into(),
        sinks: [("alerts".to_owned(), SinkState::default())].into(),
        decider: None,
    }
}

fn planned(operators: &[(&str, Identity)]) -> Planned {
    Planned {
        key_hash: KEY_HASH,
        sources: vec!["rows".into()],
        operators: operators
            .iter()
            .map(|(uid, it)| ((*uid).to_owned(), it.clone()))
            .collect(),
        migrations: BTreeMap::new(),
        sinks: vec!["alerts".into()],
    }
}

/// What is told, or refused.
fn check(planned: &Planned, drops: &[&str]) -> Result<[String; 3], String> {
    let drops = drops.iter().map(|name| (*name).to_owned()).collect();
    let result = compatibility(&old(), planned, &drops);
    let told = result.map_err(|error| error.to_string())?;
    Ok([told.changed_code, told.added, told.dropped].map(|names| names.join(" ")))
}

fn refused(planned: &Planned, words: &[&str]) {
    let error = check(planned, &[]).expect_err("it does not fit");
    for word in words {
        assert!(error.contains(word), "`{word}` in: {error}");
    }
}

#[test]
fn changed_code_and_new_states_fit() {
    let same = identity("v1", &[("history", "u64"), ("seen", "string")]);
    assert_eq!(
        check(&planned(&[("velocity", same)]), &[]),
        Ok(["", "", ""].map(String::from))
    );
    let newer = identity(
        "v2",
        &[("history", "u64"), ("seen", "string"), ("more", "u8")],
    );
    let both = planned(&[("velocity", newer), ("scorer", identity("s", &[]))]);
    let told = ["velocity", "velocity.more scorer", ""].map(String::from);
    assert_eq!(check(&both, &[]), Ok(told));
}

#[test]
fn what_does_not_fit_is_named() {
    let other = identity("v1", &[("history", "i64"), ("seen", "string")]);
    refused(
        &planned(&[("velocity", other.clone())]),
        &[
            "checkpoint 17",
            "`velocity.history` was `value u64` and now is `value i64`",
        ],
    );
    // Letting go of what is left over does not let go of what has changed.
    assert!(check(&planned(&[("velocity", other)]), &["velocity.history"]).is_err());
    let mut by_name = identity("v1", &[("history", "u64"), ("seen", "string")]);
    by_name.key = Some("string".into());
    refused(
        &planned(&[("velocity", by_name)]),
        &["keyed by u64 and now is by string"],
    );
    let mut groups = planned(&[("velocity", identity("v1", &[("history", "u64")]))]);
    groups.key_hash.groups = 64;
    refused(
        &groups,
        &["128 key groups", "state `velocity.seen`", "--drop-state"],
    );
}

#[test]
fn left_over_state_is_dropped_only_if_asked() {
    let renamed = identity("v1", &[("history", "u64"), ("seen", "string")]);
    let mut plan = planned(&[("velocty", renamed)]);
    plan.sources.clear();
    plan.sinks = vec!["alarms".into()];
    let words = ["did you mean `velocty`?", "source `rows`", "sink `alerts`"];
    refused(&plan, &words);
    let told = check(&plan, &["rows", "alerts", "velocity"]).expect("it was asked for");
    assert_eq!(told[2], "rows alerts velocity");
    let error = check(&plan, &["rows", "alerts"]).expect_err("one is left over");
    assert!(error.contains("--drop-state velocity"), "{error}");
    let drops = ["rows", "alerts", "velocity", "velocty"].map(String::from);
    let told = compatibility(&old(), &plan, &drops.into()).expect("it was asked for");
    assert_eq!(told.needless, ["velocty"]);
}

#[test]
fn a_changed_state_is_migrated_if_its_plugin_offers_that() {
    let newer = identity("v2", &[("history", "i64"), ("seen", "i64")]);
    let mut plan = planned(&[("velocity", newer)]);
    let mut offer = |state: &str, from: &str| {
        let place = ("velocity".to_owned(), state.to_owned());
        let offered = plan.migrations.entry(place).or_default();
        offered.push(Digest::of(from.as_bytes()));
        compatibility(&old(), &plan, &BTreeSet::new())
    };
    let error = offer("history", "u64").expect_err("`seen` is not migrated");
    assert_eq!(error.reasons.len(), 1, "{error}");
    let error = offer("seen", "u8").expect_err("it was no `u8`");
    assert!(error.to_string().contains("velocity.seen"), "{error}");
    let told = offer("seen", "string").expect("both are offered").migrated;
    let told: Vec<String> = told
        .iter()
        .map(|it| format!("{}.{}: {} to {}", it.operator, it.state, it.from, it.to))
        .collect();
    let expected = [
        "velocity.history: value u64 to value i64",
        "velocity.seen: value string to value i64",
    ];
    assert_eq!(told, expected);
}

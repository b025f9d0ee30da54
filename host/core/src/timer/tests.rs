use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const DOMAINS: [TimeDomain; 2] = [TimeDomain::Event, TimeDomain::Processing];

fn change(key: u32, time: i64, timer: u32, action: Action) -> Change {
    Change {
        key,
        timer: Timer { time, timer },
        action,
    }
}

/// Runs `docs/formats/vectors/timers.json`: one key's rows through an operator that follows a
/// script.
#[test]
fn golden_timers_fire_among_their_own_batch() {
    let text = include_str!("../../../../docs/formats/vectors/timers.json");
    let cases: serde_json::Value = serde_json::from_str(text).expect("the vectors are JSON");
    for case in cases["cases"].as_array().expect("cases") {
        let rows: Vec<Row> = case["rows"]
            .as_array()
            .expect("rows")
            .iter()
            .map(Row::read)
            .collect();
        let pending = timers_of(&case["pending"]);
        let key_clock = case["key_clock"].as_i64().expect("a clock");
        let expected: Vec<String> = case["events"]
            .as_array()
            .expect("events")
            .iter()
            .map(|event| event.as_str().expect("text").to_owned())
            .collect();
        for cut in 0..=rows.len() {
            let (events, left) = replay(&pending, &rows, cut, key_clock);
            assert_eq!(events, expected, "{} cut at {cut}", case["name"]);
            assert_eq!(
                left,
                timers_of(&case["left"]),
                "{} cut at {cut}",
                case["name"]
            );
        }
    }
}

struct Row {
    time: i64,
    clock: i64,
    set: Vec<i64>,
    delete: Vec<i64>,
}

impl Row {
    fn read(value: &serde_json::Value) -> Self {
        Self {
            time: value["time"].as_i64().expect("a time"),
            clock: value["clock"].as_i64().expect("a clock"),
            set: timers_of(&value["set"]),
            delete: timers_of(&value["delete"]),
        }
    }
}

fn timers_of(value: &serde_json::Value) -> Vec<i64> {
    let times = value.as_array().map_or(&[][..], Vec::as_slice);
    times
        .iter()
        .map(|time| time.as_i64().expect("a time"))
        .collect()
}

/// The events of two calls, the second from row `cut` on: as an SDK must order them.
fn replay(pending: &[i64], rows: &[Row], cut: usize, key_clock: i64) -> (Vec<String>, Vec<i64>) {
    let mut table = TimerTable::new(vec![TimeDomain::Event]);
    let set: Vec<_> = pending
        .iter()
        .map(|time| change(0, *time, 0, Action::Set))
        .collect();
    table.apply(&set).expect("setting is always allowed");
    let mut events = Vec::new();
    let fire = |table: &mut TimerTable, clock: i64, events: &mut Vec<String>| {
        while let Some(timer) = next_due(table.pending(0), &[TimeDomain::Event], clock, 0) {
            table
                .apply(&[change(0, timer.time, 0, Action::Fire)])
                .expect("it is pending");
            events.push(format!("timer {}", timer.time));
        }
    };
    for (i, row) in rows.iter().enumerate() {
        if i == cut && i > 0 {
            fire(&mut table, rows[i - 1].clock, &mut events);
        }
        fire(&mut table, row.clock, &mut events);
        events.push(format!("row {}", row.time));
        let set = row.set.iter().map(|time| change(0, *time, 0, Action::Set));
        let delete = row
            .delete
            .iter()
            .map(|time| change(0, *time, 0, Action::Delete));
        table
            .apply(&set.chain(delete).collect::<Vec<_>>())
            .expect("both are always allowed");
    }
    fire(&mut table, key_clock, &mut events);
    (
        events,
        table.pending(0).iter().map(|timer| timer.time).collect(),
    )
}

#[test]
fn a_refused_call_leaves_no_trace() {
    let mut table = TimerTable::new(DOMAINS.into());
    table
        .apply(&[change(1, 10, 0, Action::Set)])
        .expect("allowed");
    let error = table.apply(&[
        change(1, 10, 0, Action::Set),
        change(1, 20, 0, Action::Set),
        change(1, 10, 0, Action::Fire),
        change(2, 5, 1, Action::Set),
        change(2, 6, 1, Action::Fire),
    ]);
    let expected = TimerError::NotPending {
        index: 4,
        timer: 1,
        time: 6,
    };
    assert_eq!(error, Err(expected));
    assert_eq!(table.pending(1), [Timer { time: 10, timer: 0 }]);
    assert_eq!(table.pending(2), []);
    assert_eq!(table.len(), 1);
    let error = table.apply(&[change(0, 1, 2, Action::Set)]);
    assert_eq!(
        error,
        Err(TimerError::Unknown {
            index: 0,
            timer: 2,
            timers: 2
        })
    );
}

#[test]
fn a_key_may_not_hoard_timers() {
    let mut table = TimerTable::new(DOMAINS.into());
    let changes: Vec<_> = (0..=TIMERS_PER_KEY_MAX as i64)
        .map(|time| change(0, time, 0, Action::Set))
        .collect();
    let error = table.apply(&changes).expect_err("one too many");
    assert!(
        error.to_string().contains("more than 10000 timers"),
        "{error}"
    );
    assert!(table.is_empty());
}

fn actions() -> impl Strategy<Value = Vec<(u32, i64, u32, bool)>> {
    prop::collection::vec((0..5_u32, 0..20_i64, 0..2_u32, any::<bool>()), 0..200)
}

proptest! {
    #[test]
    fn the_queue_wakes_exactly_the_keys_with_due_timers(script in actions(), step in 1..7_i64) {
        let mut table = TimerTable::new(DOMAINS.into());
        let mut model: BTreeSet<(u32, i64, u32)> = BTreeSet::new();
        for chunk in script.chunks(7) {
            let changes: Vec<_> = chunk.iter().map(|&(key, time, timer, is_set)| {
                let entry = (key, time, timer);
                if is_set { model.insert(entry); } else { model.remove(&entry); }
                change(key, time, timer, if is_set { Action::Set } else { Action::Delete })
            }).collect();
            table.apply(&changes).expect("no firings");
        }
        prop_assert_eq!(table.len(), model.len());
        for clock in (0..24).step_by(step as usize) {
            for (timer, domain) in DOMAINS.into_iter().enumerate() {
                let timer = timer as u32;
                let mut keys = Vec::new();
                table.due(domain, clock, 2, &mut keys);
                table.due(domain, clock, usize::MAX, &mut keys);
                let is_due = |entry: &&(u32, i64, u32)| {
                    entry.2 == timer && domain.is_due(entry.1, clock)
                };
                let expected: BTreeSet<u32> =
                    model.iter().filter(is_due).map(|entry| entry.0).collect();
                prop_assert_eq!(keys.iter().copied().collect::<BTreeSet<_>>(), expected);
                let firings: Vec<_> = model.iter().filter(is_due)
                    .map(|&(key, time, timer)| change(key, time, timer, Action::Fire)).collect();
                table.apply(&firings).expect("all are pending");
                model.retain(|entry| !is_due(&entry));
            }
        }
    }

    #[test]
    fn ever_earlier_timers_do_not_grow_the_queue(
        times in prop::collection::vec(0..1_000_000_i64, 1000),
    ) {
        let mut table = TimerTable::new(DOMAINS.into());
        for (i, time) in times.iter().enumerate() {
            let key = (i % 3) as u32;
            let old: Vec<_> = table.pending(key).iter()
                .map(|timer| change(key, timer.time, timer.timer, Action::Delete)).collect();
            table.apply(&old).expect("deleting is always allowed");
            table.apply(&[change(key, *time, 0, Action::Set)]).expect("setting too");
        }
        prop_assert!(table.bytes() < 16_384, "{}", table.bytes());
    }
}

use proptest::prelude::*;

use super::*;

/// Windows of every kind, and where each begins and ends near a time, counted one by one.
fn windows_of(slices: &Slices, kind: (u8, i64), time: i64) -> Vec<(i64, i64)> {
    let (kind, offset) = kind;
    let mut windows = Vec::new();
    let step = if kind == 2 { slices.size } else { slices.every };
    let first = (time - 2 * slices.size - offset).div_euclid(step);
    let last = (time + 2 * slices.size - offset).div_euclid(step);
    for number in first..=last {
        let start = number * step + offset;
        if kind == 2 {
            let ends = (1..=slices.size / slices.every).map(|k| start + k * slices.every);
            windows.extend(ends.map(|end| (start, end)));
        } else {
            windows.push((start, start + slices.size));
        }
    }
    windows.retain(|(start, end)| (*start..*end).contains(&time));
    windows.sort_unstable_by_key(|(_, end)| *end);
    windows
}

fn slices() -> impl Strategy<Value = (Slices, (u8, i64))> {
    (0..3_u8, 1..40_i64, 1..8_i64, 0..100_i64).prop_map(|(kind, every, times, offset)| {
        let slices = match kind {
            0 => Slices::tumbling(every, offset),
            1 => Slices::sliding(every + times * 3, every, offset),
            _ => Slices::cumulative(every * times, every, offset),
        };
        (slices, (kind, offset))
    })
}

proptest! {
    #[test]
    fn panes_and_windows_are_those_counted_one_by_one(
        (slices, kind) in slices(),
        time in -5_000..5_000_i64,
    ) {
        let pane = slices.pane_of(time);
        prop_assert!((pane..pane + slices.pane).contains(&time));
        let wanted = windows_of(&slices, kind, time);
        let mut found = Vec::new();
        let mut end = slices.first_end(pane);
        while end <= slices.last_end(pane) {
            found.push((slices.start_of(end), end));
            end = slices.end_from(end + 1);
        }
        prop_assert_eq!(&found, &wanted);
        for (start, end) in found {
            prop_assert_eq!(slices.pane_of(start), start, "windows begin with a pane");
            prop_assert_eq!(slices.pane_of(end), end, "and end with one");
        }
    }

    #[test]
    fn sessions_are_the_rows_that_follow_each_other(
        times in prop::collection::vec(-300..300_i64, 1..30),
        gap in 1..20_i64,
        more in 0..100_i64,
    ) {
        let max = gap + more;
        // In whatever order they come: one window after the other takes those that touch it.
        let mut sessions: Vec<(i64, i64)> = Vec::new();
        for time in &times {
            let mut own = Assigner::session_of(*time, gap, max);
            let is_part = |window: &(i64, i64)| Assigner::is_one_session(*window, own, max);
            let (parts, others): (Vec<_>, Vec<_>) =
                sessions.drain(..).partition(is_part);
            for part in parts {
                own = (own.0.min(part.0), own.1.max(part.1));
            }
            sessions = others;
            sessions.push(own);
        }
        sessions.sort_unstable();
        // In the order of time.
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let mut wanted: Vec<(i64, i64)> = Vec::new();
        for time in sorted {
            let end = (time + gap).min((time.div_euclid(max) + 1) * max);
            match wanted.last_mut() {
                Some(last) if time < last.1 => last.1 = end.max(last.1),
                _ => wanted.push((time, end)),
            }
        }
        prop_assert_eq!(sessions, wanted);
    }
}

#[test]
fn times_at_both_ends_of_the_world_do_not_overflow() {
    for slices in [
        Slices::tumbling(60, 7),
        Slices::sliding(60, 7, 3),
        Slices::cumulative(60, 5, 1),
    ] {
        for time in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            let pane = slices.pane_of(time);
            let (first, last) = (slices.first_end(pane), slices.last_end(pane));
            assert!(slices.start_of(first) <= slices.start_of(last).max(first));
        }
    }
    Assigner::session_of(i64::MIN, 10, 100);
    Assigner::session_of(i64::MAX, 10, 100);
}

#[test]
fn a_definition_says_all_that_state_hangs_on() {
    let aggregate = Aggregate {
        name: "total".into(),
        function: Function::Sum,
        column: Some(0),
        input: Some(arrow_schema::Field::new(
            "amount",
            arrow_schema::DataType::Decimal128(12, 2),
            true,
        )),
        data_type: arrow_schema::DataType::Decimal128(38, 2),
        nullable: true,
        plugin: None,
    };
    let windowing = Windowing {
        assigner: Assigner::Aligned(Slices::sliding(60_000_000, 5_000_000, 0)),
        aggregates: vec![aggregate],
        trigger: Trigger::of_watermark(),
        lateness_us: 0,
        corrections: Corrections::Changelog,
        schema: Arc::new(arrow_schema::Schema::empty()),
        keys: 0,
        policy: OperatorPolicy {
            on_error: crate::pipeline::Policy::Fail,
            budget: None,
        },
    };
    assert_eq!(
        windowing.definition(),
        "sliding 1m every 5s lateness 0us; total: sum amount decimal(12,2)?"
    );
    assert!(!windowing.has_corrections());
}

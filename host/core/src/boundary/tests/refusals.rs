//! One wrong thing at a time, and what the host says of it.

use super::*;

/// Decodes what `spoil` makes of an empty answer and looks for `part` in the error.
fn check(part: &str, spoil: impl FnOnce(&mut Encoder)) {
    let mut encoder = Encoder::new();
    spoil(&mut encoder);
    let (directory, arena) = encoder.finish().expect("small");
    refuse(part, directory, arena);
}

fn refuse(part: &str, directory: &[u32], arena: &[u64]) {
    let mut decoder = Decoder::new();
    match decoder.decode(&layout(), &question(), directory, arena) {
        Ok(_) => panic!("accepted, wanted `{part}`"),
        Err(error) => assert!(error.to_string().contains(part), "{error}, not `{part}`"),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn malformed_directories_are_refused() {
    let output = section(Group::Output, 1);
    let cause = [output, column::CAUSE, 2, 0, 4];
    let count = |rows| [output, 0, 0, rows, 0];
    let directory = |entries: &[[u32; 5]]| entries.concat();
    refuse("multiple of five", &[1, 2, 3], &[]);
    refuse("at most 65536", &vec![0; 5 * 65_537], &[]);
    refuse("row count", &directory(&[cause]), &[0]);
    refuse(
        "two places",
        &directory(&[count(0), [section(Group::Rejects, 0), 0, 0, 0, 0], count(0)]),
        &[],
    );
    refuse(
        "column cause: buffer kind 2 stands twice",
        &directory(&[count(1), cause, cause]),
        &[0; 2],
    );
    refuse(
        "overlap",
        &directory(&[count(1), cause, [output, 7, 2, 0, 8]]),
        &[0],
    );
    refuse(
        "outside the arena of 8",
        &directory(&[count(1), [output, 7, 2, 8, 8]]),
        &[0],
    );
    refuse(
        "outside",
        &directory(&[count(1), [output, 7, 2, !7, u32::MAX]]),
        &[0],
    );
    refuse(
        "no multiple of 8",
        &directory(&[count(1), [output, 7, 2, 4, 4]]),
        &[0],
    );
    refuse(
        "no buffer kind 5",
        &directory(&[count(1), [output, 7, 5, 0, 4]]),
        &[0],
    );
    refuse(
        "column 7: no such column",
        &directory(&[
            count(1),
            [output, 7, 2, 0, 4],
            [output, column::CAUSE, 2, 8, 4],
        ]),
        &[0; 2],
    );
    refuse(
        "declares no such",
        &directory(&[[section(Group::Output, 2), 0, 0, 0, 0]]),
        &[],
    );
    refuse(
        "declares no such",
        &directory(&[[99 << 16, 0, 0, 0, 0]]),
        &[],
    );
    refuse(
        "declares no such",
        &directory(&[[section(Group::MapClears, 1), 0, 0, 0, 0]]),
        &[],
    );
    refuse("limit `output-rows`", &directory(&[count(u32::MAX)]), &[]);
    refuse(
        "column and length",
        &directory(&[[output, 1, 0, 0, 0]]),
        &[],
    );
}

#[test]
fn wrong_causes_are_refused() {
    for cause in [10, CAUSE_TIMER, CAUSE_TIMER | 1] {
        check("neither a row nor a firing", |e| {
            e.begin(Group::Output, 1, 1);
            e.copy(column::CAUSE, Kind::Values, &[cause]);
            e.begin(Group::TimerChanges, 0, 1);
            e.copy(0, Kind::Values, &[0u32]);
            e.copy(1, Kind::Values, &[0u32]);
            e.copy(2, Kind::Values, &[0i64]);
            e.copy(3, Kind::Values, &[0u8]);
        });
    }
    check("the values are 0 bytes, not 4", |e| {
        e.begin(Group::Output, 1, 1)
    });
    check("row 10 is out of range", |e| {
        e.begin(Group::Rejects, 0, 1);
        e.copy(0, Kind::Offsets, &[0i32, 0]);
        e.copy(column::CAUSE, Kind::Values, &[10u32]);
    });
}

#[test]
fn wrong_text_is_refused() {
    let rejects = |offsets: [i32; 3], data: &'static [u8]| {
        move |e: &mut Encoder| {
            e.begin(Group::Rejects, 0, 2);
            e.copy(0, Kind::Offsets, &offsets);
            e.copy(0, Kind::Data, data);
            e.copy(column::CAUSE, Kind::Values, &[0u32, 1]);
        }
    };
    check(
        "row 1: the reason is not UTF-8",
        rejects([0, 1, 2], b"a\xff"),
    );
    // Together they are a character, each by itself is not.
    check(
        "row 0: the reason is not UTF-8",
        rejects([0, 1, 2], "ä".as_bytes()),
    );
    check("row 1: the offsets fall", rejects([0, 2, 1], b"ab"));
    check("do not begin at 0", rejects([1, 1, 2], b"ab"));
    check("do not begin at 0", rejects([-1, 1, 2], b"ab"));
    check("the data are 2 bytes, not 9", rejects([0, 1, 9], b"ab"));
}

#[test]
fn wrong_states_are_refused() {
    let value = |keys: [u32; 2]| {
        move |e: &mut Encoder| {
            e.begin(Group::StateChanges, 0, 2);
            e.copy(0, Kind::Values, &keys);
            e.reserve(1, Kind::Values, 48).fill(0);
        }
    };
    check("key index 4 is out of range: there are 4", value([0, 4]));
    check("row 1: key index 2 stands twice", value([2, 2]));
    let map = |value: &'static [u8]| {
        move |e: &mut Encoder| {
            e.begin(Group::StateChanges, 2, 1);
            e.copy(0, Kind::Values, &[0u32]);
            e.copy(1, Kind::Offsets, &[0i32, 4]);
            e.copy(1, Kind::Data, &[0u8; 4]);
            e.copy(2, Kind::Offsets, &[0i32, value.len() as i32]);
            e.copy(2, Kind::Data, value);
        }
    };
    check("byte 0 is 2", map(&[2, 0]));
    check("byte 1 is 7", map(&[1, 7]));
    check("the value ends at byte 1", map(&[1]));
    check("the value ends at byte", map(&[1, 1, 9, 0, 0, 0, b'a']));
    check("1 bytes are left over at byte 2", map(&[1, 0, 0]));
    check("the text at byte", map(&[1, 1, 1, 0, 0, 0, 0xff]));
    check("more than 4 digits", |e| {
        e.begin(Group::StateChanges, 3, 1);
        e.copy(0, Kind::Values, &10_000i128.to_le_bytes());
    });
    check("an operator state has one row", |e| {
        e.begin(Group::StateChanges, 3, 2);
        e.reserve(0, Kind::Values, 32).fill(0);
    });
    check("the entry is changed twice", |e| {
        e.begin(Group::StateChanges, 2, 2);
        e.copy(0, Kind::Values, &[0u32, 0]);
        e.copy(1, Kind::Offsets, &[0i32, 4, 8]);
        e.copy(1, Kind::Data, &[0u8; 8]);
        e.copy(2, Kind::Validity, &[0u8]);
        e.copy(2, Kind::Offsets, &[0i32; 3]);
    });
}

#[test]
fn wrong_timers_are_refused() {
    let timer = |key: u32, timer: u32, time: i64, action: u8| {
        move |e: &mut Encoder| {
            e.begin(Group::TimerChanges, 0, 2);
            e.copy(0, Kind::Values, &[1u32, key]);
            e.copy(1, Kind::Values, &[0u32, timer]);
            e.copy(2, Kind::Values, &[50i64, time]);
            e.copy(3, Kind::Values, &[2u8, action]);
        }
    };
    check(
        "row 1: a timer fired that was not pending",
        timer(1, 0, 50, 2),
    );
    check("not pending", timer(3, 1, 61, 2));
    check("timer 2 is out of range", timer(3, 2, 60, 2));
    check("key index 9 is out of range", timer(9, 1, 60, 2));
    check("no timer action 3", timer(3, 1, 60, 3));
}

#[test]
fn nulls_and_decimals_are_checked_in_outputs() {
    let mut layout = layout();
    let fields: Vec<Field> = ["u64", "decimal(3,1)"]
        .iter()
        .map(|text| data_type::parse_field("c", text).expect("a type"))
        .collect();
    layout.outputs[0] = Arc::new(Schema::new(fields));
    let check = |part: &str, validity: u8, decimal: i128| {
        let mut e = Encoder::new();
        e.begin(Group::Output, 0, 1);
        e.copy(0, Kind::Validity, &[validity]);
        e.copy(0, Kind::Values, &[1u64]);
        e.copy(1, Kind::Values, &decimal.to_le_bytes());
        e.copy(column::CAUSE, Kind::Values, &[0u32]);
        let (directory, arena) = e.finish().expect("small");
        let error = Decoder::new()
            .decode(&layout, &question(), directory, arena)
            .map(|_| ())
            .expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
    };
    check("`c` is not nullable", 0, 0);
    check(
        "column 1, row 0: the decimal has more than 3 digits",
        1,
        -1_000,
    );
}

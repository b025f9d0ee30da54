//! What the SDK promises about state, refused rows and timers, tested through the boundary.

use wasmill_sdk::prelude::*;
use wasmill_sdk::testing::Harness;

/// What a row tells the operator to do.
#[derive(Row, Clone, Copy)]
struct Step<'a> {
    user: &'a str,
    act: &'a str,
    page: Option<&'a str>,
    number: i64,
    at: EventTime,
}

/// What happened, as text.
#[derive(Row, Debug, PartialEq)]
struct Line<'a> {
    text: &'a str,
}

/// A row for whoever reads the side output.
#[derive(Row, Debug, PartialEq)]
struct Side {
    number: i64,
    twice: Option<Decimal<20, 1>>,
}

#[derive(Outputs, Debug, PartialEq)]
enum Out<'a> {
    Lines(Line<'a>),
    Numbers(Side),
}

#[derive(Row)]
struct User<'a> {
    user: &'a str,
}

#[derive(State, Clone, Default, Debug, PartialEq)]
struct Fixed {
    count: u32,
    odd: bool,
    sum: i64,
}

#[derive(Timers, Clone, Copy)]
enum Timer {
    First,
    Second,
    #[timer(processing)]
    Wall,
}

#[derive(States)]
#[states(key = User<'a>, timer = Timer)]
struct Memory {
    fixed: Value<Fixed>,
    text: Value<String>,
    #[state(items_max = 3)]
    last: List<i64>,
    words: List<String>,
    #[state(column = "page")]
    pages: Map<String, u64>,
    numbers: Map<i64, String>,
}

struct Follower;

impl Operator for Follower {
    const PLUGIN: Plugin = plugin!("follower");
    type Config = ();
    type Input<'a> = Step<'a>;
    type Output<'a> = Out<'a>;
    type State = Memory;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn prefetch(&self, row: &Step<'_>, state: &mut Memory) {
        if row.act.starts_with("number") {
            state.numbers.prefetch(&row.number);
        }
    }

    fn process(&mut self, row: Step<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let at = Timestamp::from_micros(row.number);
        match row.act {
            "add" | "add-refuse" => {
                cx.state.fixed.update(|fixed| {
                    fixed.count += 1;
                    fixed.odd = !fixed.odd;
                    fixed.sum += row.number;
                });
                cx.state.text.update(|text| text.push('x'));
                cx.state.last.push(row.number);
                cx.state.words.push(format!("w{}", row.number));
                if let Some(page) = row.page {
                    cx.state.pages.update(page, |visits| *visits += 1);
                }
                cx.set_timer(Timer::Second, at);
                cx.emit(Line { text: "added" });
                let twice = Decimal::from_unscaled(i128::from(row.number) * 20);
                cx.emit(Side {
                    number: row.number,
                    twice,
                });
            }
            "number" | "number-unfetched" | "refuse-number" => {
                let before = cx.state.numbers.get(&row.number);
                cx.state
                    .numbers
                    .set(&row.number, row.page.unwrap_or("-").to_owned());
                cx.emit(Line {
                    text: &before.unwrap_or_default(),
                });
            }
            "drop" => cx.state.last.drop_front(row.number as usize),
            "clear" => {
                cx.state.fixed.clear();
                cx.state.last.clear();
                cx.state.pages.clear();
                cx.state.numbers.clear();
            }
            "set" => cx.set_timer(Timer::First, at),
            "wall" => cx.set_timer(Timer::Wall, at),
            "delete" => cx.delete_timer(Timer::First, at),
            "panic" => panic!("told to"),
            _ => cx.emit(Line { text: row.act }),
        }
        match row.act.contains("refuse") {
            true => reject(format!("refused {}", row.number)),
            false => Ok(()),
        }
    }

    fn on_timer(&mut self, timer: Timer, at: Timestamp, cx: &mut Context<'_, Self>) {
        let name = match timer {
            Timer::First => "first",
            Timer::Second => "second",
            Timer::Wall => "wall",
        };
        let (user, count) = (cx.key().user, cx.state.fixed.get_or_default().count);
        cx.emit(Line {
            text: &format!("{name} {} of {user} at count {count}", at.as_micros()),
        });
        if at.as_micros() == 7 {
            cx.set_timer(Timer::First, Timestamp::from_micros(8));
        }
    }
}

fn step<'a>(user: &'a str, act: &'a str, number: i64, at: i64) -> Step<'a> {
    let at = Timestamp::from_micros(at).into();
    Step {
        user,
        act,
        page: None,
        number,
        at,
    }
}

fn follower() -> Harness<Follower> {
    Harness::new("{}").keyed_by(&["user"])
}

fn lines(effects: &wasmill_sdk::testing::Effects<Follower>) -> Vec<String> {
    let lines = effects.rows().into_iter().filter_map(|row| match row {
        Out::Lines(line) => Some(line.text.to_owned()),
        Out::Numbers(_) => None,
    });
    lines.collect()
}

#[test]
fn state_lasts_from_batch_to_batch_and_is_each_keys_own() {
    let mut follower = follower();
    follower.push(&[step("ann", "add", 100, 1), step("bob", "add", 200, 1)]);
    follower.push(&[step("ann", "add", 300, 1)]);
    let fixed = |count, odd, sum| Some(Fixed { count, odd, sum });
    assert_eq!(follower.value("fixed", "ann"), fixed(2, false, 400));
    assert_eq!(follower.value("fixed", "bob"), fixed(1, true, 200));
    assert_eq!(
        follower.value::<String>("text", "ann"),
        Some("xx".to_owned())
    );
    assert_eq!(follower.list::<String>("words", "ann"), ["w100", "w300"]);
    follower.push(&[step("ann", "clear", 0, 1)]);
    assert_eq!(follower.value::<Fixed>("fixed", "ann"), None);
    assert!(follower.list::<i64>("last", "ann").is_empty());
    assert_eq!(
        follower.value("fixed", "bob"),
        fixed(1, true, 200),
        "bob's state is not ann's"
    );
}

#[test]
fn results_do_not_depend_on_where_batches_end() {
    let acts = [
        "add",
        "number",
        "drop",
        "set",
        "add-refuse",
        "delete",
        "add",
        "clear",
        "add",
    ];
    let steps: Vec<_> = (0..60)
        .map(|i| {
            let user = ["ann", "bob", "cem"][i % 3];
            let page = [None, Some("/a"), Some("/b")][i % 5 % 3];
            let number = (i as i64 * 7) % 5 + i as i64 / 2;
            Step {
                page,
                ..step(user, acts[i * 5 % acts.len()], number, i as i64 / 2)
            }
        })
        .collect();
    let run = |size: usize| {
        let mut follower = follower();
        let mut seen: Vec<String> = Vec::new();
        for batch in steps.chunks(size) {
            seen.extend(lines(&follower.push(batch)));
        }
        seen.extend(lines(&follower.advance_to(Timestamp::MAX)));
        seen.sort();
        let users = ["ann", "bob", "cem"];
        let kept = users.map(|user| {
            let fixed = follower.value::<Fixed>("fixed", user);
            let last = follower.list::<i64>("last", user);
            let pages = follower.map::<String, u64>("pages", user);
            (
                fixed,
                last,
                pages,
                follower.map::<i64, String>("numbers", user),
                follower.timers(user),
            )
        });
        (seen, kept)
    };
    let whole = run(60);
    for size in [1, 2, 7, 31] {
        assert_eq!(run(size), whole, "batches of {size}");
    }
}

#[test]
fn a_refused_row_leaves_no_effects() {
    let mut follower = follower();
    let page = Some("/a");
    let effects = follower.push(&[
        Step {
            page,
            ..step("ann", "add", 5, 1)
        },
        Step {
            page,
            ..step("ann", "add-refuse", 6, 1)
        },
        Step {
            page,
            ..step("bob", "add-refuse", 7, 1)
        },
        Step {
            page,
            ..step("ann", "add", 8, 1)
        },
    ]);
    let refused = [(1, "refused 6".to_owned()), (2, "refused 7".to_owned())];
    assert_eq!(effects.rejected(), refused);
    assert_eq!(effects.causes(), [Some(0), Some(3), Some(0), Some(3)]);
    let side = |number: i64| {
        let twice = format!("{}.0", number * 2).parse().ok();
        Out::Numbers(Side { number, twice })
    };
    assert_eq!(effects.rows()[2..], [side(5), side(8)]);
    let fixed = Fixed {
        count: 2,
        odd: false,
        sum: 13,
    };
    assert_eq!(follower.value("fixed", "ann"), Some(fixed));
    assert_eq!(follower.value::<Fixed>("fixed", "bob"), None);
    assert_eq!(follower.list::<i64>("last", "ann"), [5, 8]);
    assert_eq!(follower.list::<String>("words", "ann"), ["w5", "w8"]);
    assert_eq!(follower.map("pages", "ann"), [("/a".to_owned(), 2u64)]);
    let timers = [5, 8].map(|at| (Timestamp::from_micros(at), "second"));
    assert_eq!(follower.timers("ann"), timers);
    assert!(follower.timers("bob").is_empty());
}

#[test]
fn a_list_keeps_its_last_items() {
    let mut follower = follower();
    let add = |number| step("ann", "add", number, 1);
    follower.push(&[add(1), add(2), add(3), add(4)]);
    assert_eq!(follower.list::<i64>("last", "ann"), [2, 3, 4]);
    follower.push(&[add(5), step("ann", "drop", 1, 1), add(6), add(7)]);
    assert_eq!(follower.list::<i64>("last", "ann"), [5, 6, 7]);
    follower.push(&[step("ann", "drop", 9, 1), add(8)]);
    assert_eq!(follower.list::<i64>("last", "ann"), [8]);
}

#[test]
fn prefetched_entries_cost_one_call_a_batch() {
    let mut follower = follower();
    let number = |act, number| step("ann", act, number, 1);
    let batch = [
        number("number", 1),
        number("number", 2),
        number("number", 1),
    ];
    let effects = follower.push(&batch);
    assert_eq!(lines(&effects), ["", "", "-"]);
    assert_eq!(follower.host_calls(), 1);
    follower.push(&batch);
    assert_eq!(follower.host_calls(), 2);
    let stored = [(1i64, "-".to_owned()), (2, "-".to_owned())];
    assert_eq!(follower.map("numbers", "ann"), stored);
    follower.push(&[number("refuse-number", 5)]);
    assert_eq!(
        follower.host_calls(),
        3,
        "an entry that was not announced costs a call"
    );
    assert_eq!(
        follower.map("numbers", "ann"),
        stored,
        "and a refused row changes none"
    );
    follower.push(&[number("clear", 0), number("number", 9)]);
    assert_eq!(follower.map("numbers", "ann"), [(9i64, "-".to_owned())]);
}

#[test]
fn a_timer_fires_after_the_rows_up_to_its_time_and_before_later_ones() {
    let mut follower = follower();
    let effects = follower.push(&[
        step("ann", "set", 5, 1),
        step("bob", "bob's row", 0, 9),
        step("ann", "up to", 0, 9),
        step("ann", "set", 3, 9),
    ]);
    let expected = [
        "bob's row",
        "first 5 of ann at count 0",
        "up to",
        "first 3 of ann at count 0",
    ];
    assert_eq!(lines(&effects), expected);
    // The clock stands at 9: a timer for 9 waits for rows that also have clock 9.
    let effects = follower.push(&[step("ann", "set", 9, 9), step("ann", "same", 0, 9)]);
    assert_eq!(lines(&effects), ["same"]);
    assert_eq!(
        follower.timers("ann"),
        [(Timestamp::from_micros(9), "first")]
    );
    let effects = follower.push(&[step("bob", "other", 0, 10)]);
    assert_eq!(
        lines(&effects),
        ["other", "first 9 of ann at count 0"],
        "a key without rows wakes"
    );
    assert_eq!(effects.causes(), [Some(0), None]);
}

#[test]
fn timers_fire_in_time_order_and_may_set_timers() {
    let mut follower = follower();
    let set = |number| step("ann", "set", number, 1);
    follower.push(&[set(9), set(7), set(8), set(7), step("ann", "delete", 9, 1)]);
    let effects = follower.advance_to(Timestamp::from_micros(8));
    assert_eq!(
        lines(&effects),
        ["first 7 of ann at count 0"],
        "8 was set already, and is not due"
    );
    let effects = follower.advance_to(Timestamp::MAX);
    assert_eq!(lines(&effects), ["first 8 of ann at count 0"]);
    assert!(follower.timers("ann").is_empty());
}

#[test]
fn processing_timers_follow_the_machines_clock() {
    let mut follower = follower();
    follower.push(&[step("ann", "wall", 50, 1_000)]);
    assert!(lines(&follower.advance_processing_time_to(Timestamp::from_micros(49))).is_empty());
    let effects = follower.advance_processing_time_to(Timestamp::from_micros(50));
    assert_eq!(lines(&effects), ["wall 50 of ann at count 0"]);
}

#[test]
fn the_descriptor_follows_from_the_types() {
    let descriptor = follower().descriptor();
    let expected = serde_json::json!({
        "descriptor": 1,
        "name": "follower",
        "version": env!("CARGO_PKG_VERSION"),
        "doc": env!("CARGO_PKG_DESCRIPTION"),
        "inputs": [{ "name": "step", "time": true, "columns": [
            { "name": "user", "type": "string" },
            { "name": "act", "type": "string" },
            { "name": "page", "type": "string?" },
            { "name": "number", "type": "i64" },
        ] }],
        "keys": [{ "name": "user", "type": "string" }],
        "order": "arrival",
        "states": [
            { "name": "fixed", "kind": "value", "type": "struct<count: u32, odd: bool, sum: i64>" },
            { "name": "text", "kind": "value", "type": "string" },
            { "name": "last", "kind": "list", "type": "i64", "items-max": 3 },
            { "name": "words", "kind": "list", "type": "string" },
            { "name": "pages", "kind": "map", "key": "string", "type": "u64", "column": "page" },
            { "name": "numbers", "kind": "map", "key": "i64", "type": "string" },
        ],
        "timers": [
            { "name": "first", "time": "event" },
            { "name": "second", "time": "event" },
            { "name": "wall", "time": "processing" },
        ],
        "outputs": [
            { "name": "lines", "columns": [{ "name": "text", "type": "string" }] },
            { "name": "numbers", "columns": [
                { "name": "number", "type": "i64" },
                { "name": "twice", "type": "decimal(20,1)?" },
            ] },
        ],
        "config": { "type": "object", "properties": {}, "additionalProperties": false },
    });
    assert_eq!(descriptor, expected);
}

//! Whole calls as vectors: batch and answer, byte by byte, and what the answer means.

use super::{alike, hex, path, read};
use crate::buffer::{Batch, engine, group, kind};
use crate::prelude::*;
use crate::testing::read::{read_optional, read_u32s, read_values};
use crate::testing::{Exchange, Harness};
use crate::{Malformed, Outputs, States};
use serde_json::{Value as Json, json};
use std::fs;

/// Every type that a column can have.
#[derive(Row, Clone)]
struct Wide<'a> {
    flag: Option<bool>,
    small: i8,
    large: u64,
    ratio: f64,
    price: Decimal<12, 2>,
    day: Date,
    made: Option<Timestamp>,
    name: Option<&'a str>,
    octets: &'a [u8],
    code: [u8; 3],
    items: Items<'a, i32>,
    place: Place<'a>,
    at: EventTime,
}

#[derive(Row, Clone)]
struct Place<'a> {
    city: &'a str,
    floor: Option<i16>,
}

/// Emits what it reads, half a second later.
struct Echo;

impl Operator for Echo {
    const PLUGIN: Plugin = PLUGIN;
    type Config = ();
    type Input<'a> = Wide<'a>;
    type Output<'a> = Wide<'a>;
    type State = ();

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, mut row: Wide<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        row.at = (*row.at + std::time::Duration::from_millis(500)).into();
        cx.emit(row);
        Ok(())
    }
}

const PLUGIN: Plugin = Plugin {
    name: "vector",
    version: "0.1.0",
    doc: "",
};

/// A payment, or an order to do something.
#[derive(Row, Clone, Copy)]
struct Payment<'a> {
    account: u32,
    shop: &'a str,
    cents: i64,
    at: EventTime,
}

#[derive(Row)]
struct Account {
    account: u32,
}

#[derive(Row)]
struct Line<'a> {
    text: &'a str,
}

#[derive(Row)]
struct Sum {
    account: u32,
    cents: i64,
}

#[derive(Outputs)]
enum Ledgers<'a> {
    Lines(Line<'a>),
    Sums(Sum),
}

#[derive(Timers, Clone, Copy)]
enum Bell {
    Close,
}

#[derive(State, Clone, Default)]
struct Tally {
    count: u32,
    cents: i64,
    odd: bool,
}

#[derive(States)]
#[states(key = Account, timer = Bell)]
struct Books {
    tally: Value<Tally>,
    note: Value<String>,
    #[state(items_max = 2)]
    last: List<i64>,
    #[state(column = "shop")]
    shops: Map<String, u16>,
}

/// Keeps one state of each kind: below zero it refuses, zero clears, others are added up, and 100
/// ms later the account is closed.
struct Ledger;

impl Operator for Ledger {
    const PLUGIN: Plugin = PLUGIN;
    type Config = ();
    type Input<'a> = Payment<'a>;
    type Output<'a> = Ledgers<'a>;
    type State = Books;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Payment<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let Payment {
            account,
            cents,
            shop,
            at,
        } = row;
        if cents == 0 {
            cx.state.tally.clear();
            cx.state.note.clear();
            cx.state.last.clear();
            cx.state.shops.clear();
            return Ok(());
        }
        let tally = cx.state.tally.update(|tally| {
            tally.count += 1;
            tally.cents += cents;
            tally.odd = !tally.odd;
        });
        cx.state.note.update(|note| note.push('·'));
        cx.state.last.push(cents);
        cx.state.shops.update(shop, |visits| *visits += 1);
        cx.set_timer(Bell::Close, *at + std::time::Duration::from_millis(100));
        cx.emit(Sum {
            account,
            cents: tally.cents,
        });
        match cents < 0 {
            true => reject(format!("{cents} is below zero")),
            false => Ok(()),
        }
    }

    fn on_timer(&mut self, _bell: Bell, at: Timestamp, cx: &mut Context<'_, Self>) {
        let count = cx.state.tally.get_or_default().count;
        let text = format!(
            "{} closed at {} with {count}",
            cx.key().account,
            at.as_micros()
        );
        cx.emit(Line { text: &text });
    }
}

/// How many payments there were, and their sum; the result is the mean.
struct Mean;

#[derive(State)]
struct Total {
    count: u32,
    cents: i64,
}

impl Aggregate for Mean {
    const PLUGIN: Plugin = PLUGIN;
    type Config = ();
    type Row<'a> = Payment<'a>;
    type Accumulator = Total;
    type Output = i64;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn create(&self) -> Total {
        Total { count: 0, cents: 0 }
    }

    fn add(&self, total: &mut Total, row: Payment<'_>) -> Result<(), Reject> {
        total.count += 1;
        total.cents += row.cents;
        Ok(())
    }

    fn merge(&self, total: &mut Total, other: Total) {
        total.count += other.count;
        total.cents += other.cents;
    }

    fn result(&self, total: Total) -> i64 {
        total.cents / i64::from(total.count)
    }
}

#[derive(States)]
#[states(key = Account)]
struct Folded {
    #[state(reduce = i64::max)]
    most: Reducing<i64>,
    mean: Aggregating<Mean>,
    rows: OperatorState<u32>,
    last: OperatorState<String>,
}

/// Folds payments: below zero it refuses, zero clears.
struct Folder;

impl Operator for Folder {
    const PLUGIN: Plugin = PLUGIN;
    type Config = ();
    type Input<'a> = Payment<'a>;
    type Output<'a> = Sum;
    type State = Folded;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Payment<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        cx.state.rows.update(|rows| *rows += 1);
        if row.cents == 0 {
            cx.state.most.clear();
            cx.state.mean.clear();
            cx.state.last.clear();
            return Ok(());
        }
        cx.state.most.add(row.cents);
        cx.state.mean.add(&Mean, row)?;
        cx.state.last.set(row.shop.to_owned());
        let cents = cx.state.mean.result(&Mean).unwrap_or_default();
        let account = row.account;
        cx.emit(Sum { account, cents });
        match row.cents < 0 {
            true => reject("below zero"),
            false => Ok(()),
        }
    }
}

fn wide(flag: Option<bool>, name: Option<&'static str>) -> Wide<'static> {
    Wide {
        flag,
        small: -1,
        large: u64::MAX,
        ratio: 0.5,
        price: Decimal::from_unscaled(-1230).unwrap(),
        day: Date::from_days(20_484),
        made: name.map(|_| Timestamp::from_micros(1)),
        name,
        octets: &[0, 255],
        code: [1, 2, 3],
        items: Items::from_slice(if flag.is_some() { &[7, 8] } else { &[] }),
        place: Place {
            city: "Köln",
            floor: flag.map(i16::from),
        },
        at: Timestamp::from_secs(1).into(),
    }
}

fn payment(account: u32, shop: &str, cents: i64, millis: i64) -> Payment<'_> {
    let at = Timestamp::from_millis(millis).into();
    Payment {
        account,
        shop,
        cents,
        at,
    }
}

/// What an answer means, as far as it is not in the emitted rows' own cells.
fn effects<Op: Operator>(answer: &Exchange) -> Result<Json, Malformed> {
    let batch = Batch::new(&answer.answer.0, &answer.answer.1)?;
    let mut outputs = Vec::new();
    for ordinal in 0..Op::Output::shapes().len() as u32 {
        let section = batch.section(group::OUTPUT, ordinal)?;
        outputs.push(json!({ "causes": read_u32s(&section, engine::CAUSE)? }));
    }
    let rejects = batch.section(group::REJECTS, 0)?;
    let data = rejects.bytes_of(0, kind::DATA)?;
    let reason = std::str::from_utf8(data).expect("one reason at most in each vector");
    let timers = batch.section(group::TIMER_CHANGES, 0)?;
    let times = timers.fixed::<8>(2, timers.rows())?;
    let times: Vec<_> = times.iter().map(|time| i64::from_le_bytes(*time)).collect();
    let actions = timers.fixed::<1>(3, timers.rows())?;
    let actions: Vec<_> = actions.iter().map(|[action]| action).collect();
    Ok(json!({
        "outputs": outputs,
        "rejects": { "rows": read_u32s(&rejects, engine::CAUSE)?, "reasons": reason },
        "states": states::<Op>(&batch)?,
        "timers": {
            "keys": read_u32s(&timers, 0)?, "timers": read_u32s(&timers, 1)?,
            "times": times, "actions": actions,
        },
    }))
}

/// The changes of states, with encoded values in hexadecimal.
fn states<Op: Operator>(batch: &Batch<'_>) -> Result<Vec<Json>, Malformed> {
    let described = Op::State::describe();
    let mut states = Vec::new();
    let text = |value: &Option<Vec<u8>>| value.as_deref().map(hex);
    for (ordinal, (state, widths)) in described.iter().zip(Op::State::widths()).enumerate() {
        let cleared = read_u32s(&batch.section(group::MAP_CLEARS, ordinal as u32)?, 0)?;
        let section = batch.section(group::STATE_CHANGES, ordinal as u32)?;
        if state["kind"] == "operator" {
            let values = read_optional(&section, 0, section.rows(), widths.value)?;
            let told = |value| json!({ "values": [text(value)], "state": ordinal });
            states.extend(values.iter().map(told));
            continue;
        }
        if state["kind"] == "broadcast" {
            let rows = section.rows();
            if rows == 0 {
                continue;
            }
            let entries = read_values(&section, 1, rows, widths.map_key)?;
            let entries: Vec<_> = entries.iter().map(|entry| hex(entry)).collect();
            let values = read_optional(&section, 2, rows, widths.value)?;
            let values: Vec<_> = values.iter().map(text).collect();
            states.push(json!({ "state": ordinal, "entries": entries, "values": values }));
            continue;
        }
        let (rows, keys) = (section.rows(), read_u32s(&section, 0)?);
        if rows == 0 && cleared.is_empty() {
            continue;
        }
        let mut changes = match state["kind"].as_str() {
            Some("list") => {
                let ends = section.offsets(2, rows, None)?;
                let items = read_values(&section, 3, ends.at(rows), widths.value)?;
                let items: Vec<_> = items.iter().map(|item| hex(item)).collect();
                let of_key = |row| items[ends.at(row)..ends.at(row + 1)].to_vec();
                let items: Vec<_> = (0..rows).map(of_key).collect();
                json!({ "drops": read_u32s(&section, 1)?, "items": items })
            }
            Some("map") => {
                let entries = read_values(&section, 1, rows, widths.map_key)?;
                let entries: Vec<_> = entries.iter().map(|entry| hex(entry)).collect();
                let values = read_optional(&section, 2, rows, widths.value)?;
                let values: Vec<_> = values.iter().map(text).collect();
                json!({ "cleared": cleared, "entries": entries, "values": values })
            }
            _ => {
                let values = read_optional(&section, 1, rows, widths.value)?;
                json!({ "values": values.iter().map(text).collect::<Vec<_>>() })
            }
        };
        changes["state"] = ordinal.into();
        changes["keys"] = keys.into();
        states.push(changes);
    }
    Ok(states)
}

fn buffers((directory, arena): &(Vec<u32>, Vec<u64>)) -> Json {
    let entries: Vec<_> = directory.chunks(5).collect();
    json!({ "directory": entries, "arena": hex(bytemuck::cast_slice(arena)) })
}

pub(super) fn case<Op: Operator>(name: &str, harness: &Harness<Op>) -> Json {
    let exchange = harness.last_exchange().expect("a batch was sent");
    let (mut batch, answer) = (buffers(&exchange.batch), buffers(&exchange.answer));
    batch["rows"] = exchange.rows.into();
    let effects = effects::<Op>(exchange).expect("the answer can be read");
    json!({
        "name": name, "descriptor": harness.descriptor(),
        "batch": batch, "answer": answer, "effects": effects,
    })
}

fn cases() -> Vec<Json> {
    let mut cases = Vec::new();
    let mut echo = Harness::<Echo>::new("{}");
    echo.push(&[
        wide(Some(true), Some("añ")),
        wide(None, None),
        wide(Some(false), Some("")),
    ]);
    cases.push(case("every type of column, there and back", &echo));
    let mut ledger = Harness::<Ledger>::new("{}").keyed_by(&["account"]);
    let books = "books";
    ledger.push(&[
        payment(7, books, 5, 10),
        payment(8, "", 3, 10),
        payment(7, books, 6, 20),
    ]);
    cases.push(case("states that the keys do not have yet", &ledger));
    ledger.push(&[payment(7, "tea", 1, 30), payment(9, books, -4, 30)]);
    cases.push(case(
        "states that ride along, and a row that is refused",
        &ledger,
    ));
    ledger.push(&[payment(9, "", 2, 40), payment(7, "", 0, 40)]);
    cases.push(case("states that are cleared", &ledger));
    ledger.push(&[payment(9, books, 1, 300), payment(9, books, 1, 500)]);
    cases.push(case(
        "timers due inside their own batch, and of keys without rows",
        &ledger,
    ));
    let mut folder = Harness::<Folder>::new("{}");
    folder.push(&[payment(7, books, 5, 10), payment(8, "", 3, 10)]);
    cases.push(case("values that are folded, and of a subtask", &folder));
    folder.push(&[payment(7, "tea", 2, 20), payment(9, books, -4, 20)]);
    cases.push(case(
        "folded values and those of a subtask that ride along",
        &folder,
    ));
    folder.push(&[payment(7, "tea", 0, 30), payment(8, books, 9, 30)]);
    folder.push(&[payment(8, "", 0, 40)]);
    cases.push(case("a value of a subtask that is cleared", &folder));
    cases.extend(alike::cases());
    cases
}

#[test]
fn calls_are_those_of_the_vectors() {
    let doc = "Calls as they cross the boundary (docs/formats/buffers.md): the batch and the \
        answer of an operator with that descriptor, directories by entry, arenas in \
        hexadecimal; and what the answer means. Both sides must read the bytes; where a buffer \
        lies in an arena is free.";
    let vectors = json!({ "doc": doc, "cases": cases() });
    if std::env::var_os("BLESS").is_some() {
        let text = serde_json::to_string_pretty(&vectors).expect("JSON writes");
        fs::write(path("batches.json"), compact(&text)).expect("the folder is there");
    }
    assert_eq!(vectors, read("batches.json"));
}

/// Puts lists of numbers on one line each.
pub(super) fn compact(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let is_scalar = !line.trim_end().ends_with(['[', '{', '}']) && !line.contains("\": ");
        match lines.last_mut().filter(|_| open && is_scalar) {
            Some(last) => {
                let space = if last.ends_with(',') { " " } else { "" };
                *last = format!("{last}{space}{}", line.trim());
                open = !line.trim_start().starts_with(']');
            }
            None => {
                open = line.trim_end().ends_with('[');
                lines.push(line.to_owned());
            }
        }
    }
    lines.join("\n") + "\n"
}

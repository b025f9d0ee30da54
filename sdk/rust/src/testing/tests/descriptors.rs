//! What this SDK makes of types, as the vectors have it (docs/formats/vectors/descriptors.json).

use super::{alike, path, read};
use crate::prelude::*;
use crate::testing::Harness;
use crate::{Date, Decimal};
use serde_json::{Value as Json, json};
use std::fs;
use std::time::Duration;

/// Every setting, and each way in which one may be left out.
#[derive(Config, PartialEq)]
struct Settings {
    /// The most in a minute.
    #[config(default = 5)]
    max_per_minute: u32,
    #[config(default)]
    trusted: Vec<String>,
    pause: Duration,
    factor: Option<f64>,
    limit: Decimal<12, 2>,
    strict: bool,
}

#[derive(Row)]
#[row(name = "payments")]
struct Payment<'a> {
    account: u64,
    shop: &'a str,
    note: Option<&'a str>,
    amount: Decimal<12, 2>,
    at: EventTime,
}

#[derive(Row)]
struct Account {
    account: u64,
}

#[derive(Row)]
struct Alert<'a> {
    rule: &'a str,
    day: Date,
}

#[derive(Row)]
struct Pause {
    until: Timestamp,
}

#[derive(Outputs)]
enum Told<'a> {
    Alerts(Alert<'a>),
    Pauses(Pause),
}

#[derive(Timers, Clone, Copy)]
enum Bell {
    Close,
    #[timer(processing)]
    Rest,
}

#[derive(State, Clone, Default)]
struct Tally {
    count: u64,
    last: Option<Timestamp>,
}

fn widen(old: u32) -> Option<u64> {
    Some(old.into())
}

#[derive(States)]
#[states(key = Account, timer = Bell)]
struct Everything {
    #[state(ttl = "30d")]
    tally: Value<Tally>,
    #[state(migrate(from = u32, with = widen))]
    visits: Value<u64>,
    #[state(items_max = 100, ttl = "12h", ttl_time = "processing")]
    recent: List<Vec<u8>>,
    #[state(column = "shop", name = "by-shop")]
    shops: Map<String, Option<i64>>,
    #[state(reduce = i64::max)]
    most: Reducing<i64>,
    mean: Aggregating<Mean>,
    numbered: OperatorState<u64>,
}

/// The mean of amounts, as an operator keeps it and as windows do.
struct Mean;

impl Aggregate for Mean {
    const PLUGIN: Plugin = Plugin {
        name: "mean",
        version: "1.2.3",
        doc: "",
    };
    type Config = ();
    type Row<'a> = Pause;
    type Accumulator = Tally;
    type Output = Option<i64>;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn create(&self) -> Tally {
        Tally::default()
    }

    fn add(&self, tally: &mut Tally, row: Pause) -> Result<(), Reject> {
        tally.last = Some(row.until);
        Ok(())
    }

    fn merge(&self, tally: &mut Tally, other: Tally) {
        tally.count += other.count;
    }

    fn result(&self, tally: Tally) -> Option<i64> {
        tally.last.map(|last| last.as_micros())
    }
}

/// One of everything that an operator with one input can declare.
struct All;

impl Operator for All {
    const PLUGIN: Plugin = Plugin {
        name: "all",
        version: "2.0.0-rc.1",
        doc: "All that there is.",
    };
    const ORDER: Order = Order::EventTime;
    type Config = Settings;
    type Input<'a> = Payment<'a>;
    type Output<'a> = Told<'a>;
    type State = Everything;

    fn open(_config: Settings, _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, _row: Payment<'_>, _cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        Ok(())
    }
}

/// As little as there can be.
struct Little;

impl Operator for Little {
    const PLUGIN: Plugin = Plugin {
        name: "little",
        version: "0.1.0",
        doc: "",
    };
    type Config = ();
    type Input<'a> = Pause;
    type Output<'a> = Pause;
    type State = ();

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Pause, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        cx.emit(row);
        Ok(())
    }
}

/// What the vectors call each of them.
fn made() -> [(&'static str, Json); 4] {
    let settings = r#"{ "pause": "30s", "limit": "1.00", "strict": true }"#;
    [
        (
            "as little as there can be",
            Harness::<Little>::new("{}").descriptor(),
        ),
        (
            "each state by key, times to live and timers of both clocks, side outputs, settings",
            Harness::<All>::new(settings).descriptor(),
        ),
        ("a second input, which is broadcast", alike::descriptor()),
        (
            "an aggregate for windows",
            AggregateHarness::<Mean>::new("{}").descriptor(),
        ),
    ]
}

/// `BLESS=1` writes the documents anew, and then the host's test what they mean.
#[test]
fn descriptors_are_those_of_the_vectors() {
    let mut vectors = read("descriptors.json");
    if std::env::var_os("BLESS").is_some() {
        for case in vectors["cases"].as_array_mut().expect("a list") {
            if let Some((_, of)) = made().into_iter().find(|(name, _)| case["name"] == *name) {
                case["document"] = of;
            }
        }
        let text = serde_json::to_string_pretty(&vectors).expect("JSON") + "\n";
        fs::write(path("descriptors.json"), text).expect("the folder is there");
    }
    let cases = vectors["cases"].as_array().expect("a list");
    for (name, descriptor) in made() {
        let case = cases.iter().find(|case| case["name"] == name);
        let document = case.map(|case| &case["document"]);
        let told = serde_json::to_string_pretty(&descriptor).expect("JSON");
        assert_eq!(document, Some(&descriptor), "{name}: {told}");
    }
}

/// Each case that this SDK does not make is of what it cannot say.
#[test]
fn what_the_vectors_have_besides_is_not_for_this_sdk() {
    let vectors = read("descriptors.json");
    let made = made().map(|(name, _)| name);
    let cases = vectors["cases"].as_array().expect("a list").iter();
    let others = cases.filter(|case| !made.iter().any(|name| case["name"] == *name));
    let others: Vec<&Json> = others.map(|case| &case["name"]).collect();
    assert_eq!(
        json!(others),
        json!([
            "several inputs, one of them a changelog",
            "rolling features, and what is left out"
        ])
    );
}

//! What the SDK promises about states that are folded and about those without a key, tested through
//! the boundary.

use wasmill_sdk::prelude::*;

/// What a row tells the operator to do.
#[derive(Row, Clone, Copy)]
struct Step<'a> {
    user: &'a str,
    act: &'a str,
    number: i64,
}

#[derive(Row)]
struct User<'a> {
    user: &'a str,
}

/// What all states hold after a row.
#[derive(Row, Debug, PartialEq)]
struct Line<'a> {
    text: &'a str,
}

#[derive(State, Debug, PartialEq)]
struct Bounds {
    least: i64,
    greatest: i64,
}

/// The least and the greatest number; 13 is refused, after it has been added.
struct Spread;

impl Aggregate for Spread {
    const PLUGIN: Plugin = plugin!("spread");
    type Config = ();
    type Row<'a> = Step<'a>;
    type Accumulator = Bounds;
    type Output = u64;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn create(&self) -> Bounds {
        Bounds {
            least: i64::MAX,
            greatest: i64::MIN,
        }
    }

    fn add(&self, bounds: &mut Bounds, row: Step<'_>) -> Result<(), Reject> {
        bounds.least = bounds.least.min(row.number);
        bounds.greatest = bounds.greatest.max(row.number);
        match row.number {
            13 => reject("bad luck"),
            _ => Ok(()),
        }
    }

    fn merge(&self, _bounds: &mut Bounds, _other: Bounds) {
        unreachable!("a state has nothing to merge");
    }

    fn result(&self, bounds: Bounds) -> u64 {
        bounds.greatest.abs_diff(bounds.least)
    }
}

/// All numbers, kept in order; the result is the one in the middle.
struct Median {
    most: usize,
}

impl Aggregate for Median {
    const PLUGIN: Plugin = plugin!("median");
    type Config = ();
    type Row<'a> = Step<'a>;
    type Accumulator = Vec<i64>;
    type Output = Option<i64>;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self { most: 9 })
    }

    fn create(&self) -> Vec<i64> {
        Vec::new()
    }

    fn add(&self, numbers: &mut Vec<i64>, row: Step<'_>) -> Result<(), Reject> {
        let at = numbers.partition_point(|number| *number < row.number);
        numbers.insert(at, row.number);
        numbers.truncate(self.most);
        Ok(())
    }

    fn merge(&self, _numbers: &mut Vec<i64>, _other: Vec<i64>) {
        unreachable!("a state has nothing to merge");
    }

    fn result(&self, numbers: Vec<i64>) -> Option<i64> {
        numbers.get(numbers.len() / 2).copied()
    }
}

#[derive(States)]
#[states(key = User<'a>)]
struct Memory {
    #[state(reduce = i64::max)]
    greatest: Reducing<i64>,
    #[state(reduce = |text, more| text + &more)]
    text: Reducing<String>,
    spread: Aggregating<Spread>,
    median: Aggregating<Median>,
    rows: OperatorState<u64>,
    last: OperatorState<String>,
}

struct Folds {
    spread: Spread,
    median: Median,
}

impl Operator for Folds {
    const PLUGIN: Plugin = plugin!("folds");
    type Config = ();
    type Input<'a> = Step<'a>;
    type Output<'a> = Line<'a>;
    type State = Memory;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self {
            spread: Spread,
            median: Median { most: 5 },
        })
    }

    fn process(&mut self, row: Step<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let state = &mut *cx.state;
        match row.act {
            "clear" => {
                state.greatest.clear();
                state.text.clear();
                state.spread.clear();
                state.median.clear();
                state.last.clear();
            }
            "clear-and-refuse" => {
                state.greatest.clear();
                state.spread.clear();
                state.rows.clear();
                state.last.set("nobody will see it".to_owned());
                return reject("refused");
            }
            _ => {
                state.rows.update(|rows| *rows += 1);
                state.greatest.add(row.number);
                state.text.add(format!("{} ", row.number));
                state.last.set(row.user.to_owned());
                state.median.add(&self.median, row)?;
                // Where this one refuses, all that is above is undone too.
                state.spread.add(&self.spread, row)?;
            }
        }
        let text = format!(
            "{:?} {:?} {:?} {:?} {:?} {:?}",
            state.greatest.get(),
            state.text.get(),
            state.spread.result(&self.spread),
            state.median.result(&self.median),
            state.rows.get_or_default(),
            state.last.get()
        );
        cx.emit(Line { text: &text });
        Ok(())
    }
}

fn step<'a>(user: &'a str, act: &'a str, number: i64) -> Step<'a> {
    Step { user, act, number }
}

fn folds() -> Harness<Folds> {
    Harness::new("{}")
}

#[test]
fn items_fold_from_batch_to_batch_and_each_key_has_its_own() {
    let mut folds = folds();
    folds.push(&[step("ann", "", 3), step("bob", "", -7), step("ann", "", 9)]);
    let effects = folds.push(&[step("ann", "", 4)]);
    let text = r#"Some(9) Some("3 9 4 ") Some(6) Some(Some(4)) 4 Some("ann")"#;
    assert_eq!(effects.rows(), [Line { text }]);
    assert_eq!(folds.value("greatest", "bob"), Some(-7i64));
    assert_eq!(folds.value("text", "ann"), Some("3 9 4 ".to_owned()));
    let (least, greatest) = (3, 9);
    let bounds = Bounds { least, greatest };
    assert_eq!(folds.value("spread", "ann"), Some(bounds));
    assert_eq!(folds.value("median", "ann"), Some(vec![3i64, 4, 9]));
    assert_eq!(folds.operator_state("rows"), Some(4u64), "of all keys");
}

#[test]
fn a_refused_row_adds_nothing() {
    let mut folds = folds();
    folds.push(&[step("ann", "", 3)]);
    let effects = folds.push(&[
        step("ann", "", 13),
        step("bob", "", 13),
        step("ann", "clear-and-refuse", 0),
        step("ann", "", 5),
    ]);
    let reasons = [(0, "bad luck"), (1, "bad luck"), (2, "refused")];
    assert_eq!(
        effects.rejected(),
        reasons.map(|(row, why)| (row, why.to_owned()))
    );
    let text = r#"Some(5) Some("3 5 ") Some(2) Some(Some(5)) 2 Some("ann")"#;
    assert_eq!(effects.rows(), [Line { text }]);
    assert_eq!(folds.value::<i64>("greatest", "bob"), None);
    assert_eq!(folds.value::<Vec<i64>>("median", "bob"), None);
    // Refused alone, so that nothing of the call is left.
    folds.push(&[step("bob", "clear-and-refuse", 0)]);
    assert_eq!(folds.operator_state("rows"), Some(2u64));
    assert_eq!(folds.operator_state("last"), Some("ann".to_owned()));
}

#[test]
fn what_is_cleared_begins_anew() {
    let mut folds = folds();
    let effects = folds.push(&[step("ann", "", 3), step("ann", "clear", 0)]);
    let text = "None None None None 1 None";
    assert_eq!(effects.rows()[1], Line { text });
    assert_eq!(folds.value::<i64>("greatest", "ann"), None);
    assert_eq!(folds.operator_state::<String>("last"), None);
    let effects = folds.push(&[step("ann", "", 1)]);
    let text = r#"Some(1) Some("1 ") Some(0) Some(Some(1)) 2 Some("ann")"#;
    assert_eq!(effects.rows(), [Line { text }]);
}

#[test]
fn results_depend_neither_on_batches_nor_on_instances() {
    let users = ["ann", "bob", "cem"];
    let acts = ["", "", "clear-and-refuse", "", "", "", "clear"];
    let steps: Vec<_> = (0..90)
        .map(|i| step(users[i * 7 % 3], acts[i * 5 % 7], i as i64 * 11 % 17))
        .collect();
    let run = |size: usize, restarts: bool| {
        let (mut folds, mut lines) = (folds(), Vec::new());
        for batch in steps.chunks(size) {
            let effects = folds.push(batch);
            lines.extend(effects.rows().iter().map(|row| row.text.to_owned()));
            if restarts {
                folds.restart();
            }
        }
        let kept = users.map(|user| {
            let greatest = folds.value::<i64>("greatest", user);
            let text = folds.value::<String>("text", user);
            (greatest, text, folds.value::<Vec<i64>>("median", user))
        });
        (lines, kept, folds.operator_state::<u64>("rows"))
    };
    let whole = run(90, false);
    for (size, restarts) in [(1, true), (2, false), (7, true), (31, false)] {
        assert_eq!(run(size, restarts), whole, "batches of {size}");
    }
}

#[test]
fn the_descriptor_names_the_kinds() {
    let descriptor = folds().descriptor();
    let states = descriptor["states"].as_array().expect("a list");
    let told = states.iter().map(|state| {
        let told = ["name", "kind", "type"].map(|field| state[field].as_str().expect("text"));
        told.join(" ")
    });
    assert_eq!(
        told.collect::<Vec<String>>(),
        [
            "greatest reducing i64",
            "text reducing string",
            "spread aggregating struct<least: i64, greatest: i64>",
            "median aggregating list<i64>",
            "rows operator u64",
            "last operator string",
        ]
    );
}

/// Counts rows, whatever their keys: it has none.
struct Unkeyed;

#[derive(States)]
struct Count {
    #[state(migrate(from = u8, with = widened))]
    rows: OperatorState<u64>,
}

fn widened(rows: u8) -> Option<u64> {
    Some(rows.into())
}

impl Operator for Unkeyed {
    const PLUGIN: Plugin = plugin!("unkeyed");
    type Config = ();
    type Input<'a> = Step<'a>;
    type Output<'a> = ();
    type State = Count;

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, _row: Step<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        cx.state.rows.update(|rows| *rows += 1);
        Ok(())
    }
}

wasmill_sdk::export!(Unkeyed, migrate);

#[test]
fn an_operator_without_keyed_state_needs_no_key() {
    let mut unkeyed = Harness::<Unkeyed>::new("{}");
    unkeyed.push(&[step("ann", "", 0), step("bob", "", 0)]);
    unkeyed.push(&[]);
    unkeyed.restart();
    unkeyed.push(&[step("ann", "", 0)]);
    assert_eq!(unkeyed.operator_state("rows"), Some(3u64));
    let exchange = unkeyed.last_exchange().expect("a call");
    let sections: Vec<u32> = exchange.batch.0.chunks(5).map(|entry| entry[0]).collect();
    assert!(!sections.contains(&(3 << 16)), "no keys cross");
    assert_eq!(
        Harness::<Unkeyed>::migrate("rows", &7u8),
        Ok(Some(7u64)),
        "a value without a key is migrated like others"
    );
}

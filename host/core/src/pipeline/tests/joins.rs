//! Joins in documents: what they become, and what is wrong with them.

use crate::pipeline::{Pipeline, parse};
use crate::plan::{self, Root};

/// A document with an operator `joined` that has these fields.
fn document(operator: &str) -> String {
    format!(
        "name: test
sources:
  orders:
    file: {{ path: o.csv }}
    format: {{ csv: {{ order: u64, amount: i64, at: timestamp }} }}
    event-time: {{ column: at }}
  payments:
    file: {{ path: p.csv }}
    format: {{ csv: {{ order: u64, ref: u64, amount: i64, note: 'string?', at: timestamp }} }}
    event-time: {{ column: at }}
  table:
    file: {{ path: t.csv }}
    format: {{ csv: {{ order: u64, name: string }} }}
  endless:
    generator: {{ columns: {{ order: {{ sequence: true, type: u64 }} }} }}
operators:
  joined: {{ {operator} }}
sinks:
  out: {{ input: joined, discard: {{}} }}
"
    )
}

fn built(operator: &str) -> Pipeline {
    let written = parse(&document(operator)).unwrap_or_else(|errors| panic!("{errors}"));
    let pipeline = written.validate(&|_| Err("there are no plugins".into()));
    pipeline.unwrap_or_else(|errors| panic!("{errors}"))
}

/// The mistakes of an operator, with their places and remedies.
fn mistakes(operator: &str) -> String {
    let written = match parse(&document(operator)) {
        Ok(written) => written,
        Err(errors) => return errors.to_string(),
    };
    let pipeline = written.validate(&|_| Err("there are no plugins".into()));
    pipeline.expect_err("it is wrong").to_string()
}

fn columns(pipeline: &Pipeline) -> Vec<String> {
    let stream = pipeline.operators[0].outputs[0];
    let fields = pipeline.stream(stream).schema.fields().iter();
    fields
        .map(|field| {
            let mark = if field.is_nullable() { "?" } else { "" };
            format!("{}{mark}", field.name())
        })
        .collect()
}

const SIDES: &str = "input: { left: orders, right: payments }";
const INTERVAL: &str = "join: { interval: { lower: -5m, upper: 1h }";

#[test]
fn without_select_the_key_comes_first_and_clashes_get_their_side() {
    let inner = built(&format!("{SIDES}, key-by: [order], {INTERVAL} }}"));
    let all = [
        "order",
        "left-amount",
        "left-at",
        "ref",
        "right-amount",
        "note?",
        "right-at",
    ];
    assert_eq!(columns(&inner), all);
    let full = built(&format!(
        "{SIDES}, key-by: [order], {INTERVAL}, type: full }}"
    ));
    assert_eq!(
        columns(&full),
        [
            "order",
            "left-amount?",
            "left-at?",
            "ref?",
            "right-amount?",
            "note?",
            "right-at?"
        ]
    );
    let sides = "key-by: { left: [order], right: [ref] }";
    let left = built(&format!("{SIDES}, {sides}, {INTERVAL}, type: left }}"));
    assert_eq!(
        columns(&left),
        [
            "order",
            "left-amount",
            "left-at",
            "right-order?",
            "right-amount?",
            "note?",
            "right-at?"
        ]
    );
}

#[test]
fn a_join_has_a_task_of_its_own_and_late_rows_of_each_side() {
    let pipeline = built(&format!(
        "{SIDES}, key-by: [order], {INTERVAL} }}, select: {{ n: left.amount, k: key.order }}"
    ));
    assert_eq!(columns(&pipeline), ["n", "k"]);
    let warnings: Vec<String> = pipeline.warnings.iter().map(ToString::to_string).collect();
    let warned = warnings.join("\n");
    assert!(
        warned.contains("nobody reads `joined.late-left`"),
        "{warned}"
    );
    assert!(
        warned.contains("nobody reads `joined.late-right`"),
        "{warned}"
    );
    let plan = plan::plan(&pipeline, 2);
    let task = plan.tasks.iter().find(|task| !task.operators.is_empty());
    let task = task.expect("the join runs somewhere");
    assert!(matches!(task.root, Root::Gate(_)));
    assert!(task.name.starts_with("joined: "), "{}", task.name);
    let carried: Vec<usize> = task
        .edges_in(&plan)
        .map(|edge| edge.columns.len())
        .collect();
    assert_eq!(
        carried,
        [2, 1],
        "what is neither key nor selected stays behind"
    );
}

impl plan::TaskPlan {
    fn edges_in<'a>(
        &self,
        plan: &'a plan::Plan,
    ) -> impl Iterator<Item = &'a plan::EdgePlan> + use<'a> {
        let id = self.id;
        plan.edges.iter().filter(move |edge| edge.to == id)
    }
}

/// Refuses each operator, and says all parts of why.
fn check_mistakes(cases: &[(String, &str)]) {
    for (operator, wanted) in cases {
        let said = mistakes(operator);
        let mut parts = wanted.split("; ");
        assert!(parts.all(|part| said.contains(part)), "{operator}:\n{said}");
    }
}

#[test]
fn mistakes_about_sides_and_keys_are_told_with_their_remedies() {
    let by = "key-by: [order]";
    check_mistakes(&[
        (
            format!("input: orders, {by}, {INTERVAL} }}"),
            "a join has two sides",
        ),
        (
            format!("input: {{ left: orders }}, {by}, {INTERVAL} }}"),
            "the right side has no stream",
        ),
        (
            format!("{SIDES}, {INTERVAL} }}"),
            "rows of a join meet by their keys",
        ),
        (
            format!("{SIDES}, key-by: [odrer], {INTERVAL} }}"),
            "there is no column `odrer`; did you mean `order`?",
        ),
        (
            format!("{SIDES}, key-by: {{ left: [order], right: [note] }}, {INTERVAL} }}"),
            "the key columns of the sides have different types",
        ),
    ]);
}

#[test]
fn mistakes_about_kinds_and_columns_are_told_with_their_remedies() {
    let by = "key-by: [order]";
    check_mistakes(&[
        (
            format!("{SIDES}, {by}, join: {{ interval: {{ lower: 1h, upper: 5m }} }}"),
            "`upper` lies before `lower`",
        ),
        (
            format!("{SIDES}, {by}, join: {{ interval: {{ lower: soon, upper: 5m }} }}"),
            "`soon` is not a duration",
        ),
        (format!("{SIDES}, {by}, join: {{}}"), "a join needs a kind"),
        (
            format!("{SIDES}, {by}, join: {{ window: {{ tumbling: 0s }} }}"),
            "a window of no length",
        ),
        (
            format!("{SIDES}, {by}, join: {{ as-of: {{}}, type: full }}"),
            "as-of joins are `inner` or `left`",
        ),
        (
            format!("{SIDES}, {by}, {INTERVAL} }}, order: arrival"),
            "interval joins go by event time",
        ),
        (
            format!("input: {{ left: orders, right: table }}, {by}, {INTERVAL} }}"),
            "interval joins go by event time, and the stream has none",
        ),
        (
            format!("input: {{ left: orders, right: endless }}, {by}, join: {{ lookup: {{}} }}"),
            "`endless` has no end",
        ),
        (
            format!("input: {{ left: orders, right: orders }}, {by}, join: {{ lookup: {{}} }}"),
            "the table comes from the same source",
        ),
        (
            format!("{SIDES}, {by}, {INTERVAL} }}, select: {{ a: left.amuont }}"),
            "the left side has no column `amuont`; did you mean `amount`?",
        ),
        (
            format!("{SIDES}, {by}, {INTERVAL} }}, select: {{ a: amount }}"),
            "`amount` names no column of a side",
        ),
        (
            format!("{SIDES}, {by}, {INTERVAL} }}, config: {{ a: 1 }}"),
            "`config` goes with `plugin`",
        ),
    ]);
}

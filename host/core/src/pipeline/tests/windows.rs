//! Documents with windows.

use super::*;
use crate::data_type;
use crate::window::{Assigner, Slices};

/// The document with an operator that aggregates over windows in the place of the plugin.
fn with(operator: &str) -> String {
    SOURCE.replacen("    plugin: rules.wasm\n", operator, 1)
}

const TUMBLING: &str = "    window: { tumbling: 60s }\n    aggregates: { n: { count: rows }, total: { sum: amount } }\n";

fn windowing(operator: &str) -> crate::window::Windowing {
    let pipeline = sound(&with(operator));
    match &pipeline.operators[0].kind {
        OperatorKind::Window(windowing) => (**windowing).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn windows_become_an_operator_with_its_streams() {
    let pipeline = sound(&with(TUMBLING));
    let operator = &pipeline.operators[0];
    assert!(operator.is_keyed());
    let output = pipeline.stream(operator.outputs[0]);
    let columns: Vec<String> = output
        .schema
        .fields()
        .iter()
        .map(|field| {
            let of = data_type::print(field.data_type(), field.is_nullable());
            format!("{}: {of}", field.name())
        })
        .collect();
    let wanted = [
        "account: u32",
        "window-start: timestamp",
        "window-end: timestamp",
        "n: u64",
        "total: decimal(38,2)",
    ];
    assert_eq!(columns, wanted);
    let late = pipeline.stream(operator.late.expect("windows have late rows"));
    assert_eq!(late.name, "rules.late");
    let slices = Slices::tumbling(60_000_000, 0);
    assert_eq!(windowing(TUMBLING).assigner, Assigner::Aligned(slices));
}

/// Refuses a document with an operator, and says part of why.
fn wrong(operator: &str, part: &str) {
    let errors = pipeline_of(&with(operator)).map(drop).expect_err(part);
    let errors = errors.to_string();
    assert!(errors.contains(part), "{errors}");
}

#[test]
fn mistakes_about_windows_have_their_place() {
    let aggregates = "    aggregates: { n: { count: rows } }\n";
    let cases = [
        ("", "operators.rules: an operator needs a kind; add one of"),
        (
            "    window: {}\n",
            "operators.rules.window: a window needs a kind",
        ),
        (
            "    window: { sliding: { size: 5s, every: 60s } }\n",
            "operators.rules.window.sliding.every: rows between two windows",
        ),
        (
            "    window: { cumulative: { size: 60s, every: 7s } }\n",
            "make `size` a multiple of `every`",
        ),
        ("    window: { tumbling: 0s }\n", "a window of no length"),
        (
            "    window: { tumbling: 60s }\n    trigger: { count: 3 }\n",
            "use `window: { global: {} }`",
        ),
        (
            "    window: { tumbling: 60s }\n    config: { max: 1 }\n",
            "operators.rules.config: `config` goes with `plugin`",
        ),
        (
            "    window: { tumbling: 60s }\n    plugin: rules.wasm\n",
            "here stand `plugin`, `window`",
        ),
        (
            "    window: { tumbling: 60s }\n    allowed-lateness: 5s\n",
            "`rules` corrects its rows, and the sink only adds rows",
        ),
        (
            "    window: { session: { gap: 5s } }\n    trigger: { early: { every: 1s } }\n    \
             corrections: revisions\n",
            "sessions that grow take results back",
        ),
    ];
    for (operator, part) in cases {
        wrong(&(operator.to_owned() + aggregates), part);
    }
}

#[test]
fn mistakes_about_aggregates_have_their_place() {
    let window = "    window: { tumbling: 60s }\n";
    let cases = [
        ("", "windows aggregate something"),
        (
            "    aggregates: { n: { count: amonut } }\n",
            "did you mean `amount`?",
        ),
        (
            "    aggregates: { n: { sum: at } }\n",
            "`sum` needs a number, and `at` is timestamp",
        ),
        (
            "    aggregates: { n: {} }\n",
            "does not say what to compute",
        ),
        (
            "    aggregates: { account: { count: rows } }\n",
            "results have two columns `account`",
        ),
        (
            "    aggregates: { n: { quantile: { column: amount, at: 1.5 } } }\n",
            "out of range",
        ),
    ];
    for (aggregates, part) in cases {
        wrong(&(window.to_owned() + aggregates), part);
    }
    check(
        "plugin: rules.wasm",
        "plugin: rules.wasm\n    allowed-lateness: 5s",
        "`allowed-lateness` goes with `window`",
    );
}

#[test]
fn corrections_are_told_where_they_are_understood() {
    let corrected = TUMBLING.to_owned() + "    allowed-lateness: 5s\n";
    let shown = with(&corrected).replace("input: rules,", "input: rules, include: { op: op },");
    assert!(
        sound(&shown)
            .streams
            .iter()
            .any(|stream| stream.is_changelog)
    );
    let revisions = windowing(&(corrected + "    corrections: revisions\n"));
    assert!(revisions.schema.field_with_name("revision").is_ok());
}

#[test]
fn without_a_key_one_subtask_has_all_rows() {
    let text = with(TUMBLING).replace("    key-by: [account]\n", "");
    let pipeline = sound(&text);
    let plan = crate::plan::plan(&pipeline, 4);
    let task = plan.tasks.iter().find(|task| !task.operators.is_empty());
    let task = task.expect("the operator has a task");
    assert_eq!(
        (task.parallelism, &*task.name),
        (1, "transactions as a whole")
    );
    let edge = plan.edges.iter().find(|edge| edge.to == task.id);
    assert_eq!(
        edge.expect("an edge").columns,
        [1],
        "only what is read is carried"
    );
}

/// An operator whose windows have an aggregate of a plugin.
fn plugged(window: &str, aggregate: &str, more: &str) -> String {
    format!("    window: {window}\n    aggregates: {{ a: {{ {aggregate} }} }}\n{more}")
}

#[test]
fn aggregates_of_plugins_bind_their_columns_in_order() {
    let windowing = windowing(&plugged(
        "{ session: { gap: 5s } }",
        "plugin: spread.wasm, of: amount",
        "    on-error: skip\n",
    ));
    let aggregate = &windowing.aggregates[0];
    let plugin = aggregate.plugin.as_ref().expect("a plugin");
    assert_eq!(plugin.columns, [Some(0)]);
    assert_eq!(
        aggregate.field().data_type(),
        &arrow_schema::DataType::Float64
    );
    assert!(aggregate.nullable);
    assert_eq!(windowing.policy.on_error, Policy::Skip);
    let definition = windowing.definition();
    let wanted = "; a: plugin p of amount decimal(12,2) keeping list<i64>";
    assert!(definition.ends_with(wanted), "{definition}");
}

#[test]
fn mistakes_about_plugins_of_aggregates_have_their_place() {
    let tumbling = "{ tumbling: 60s }";
    let ranked = "plugin: ranked.wasm, of: amount";
    sound(&with(&plugged(tumbling, ranked, "")));
    let cases = [
        (
            plugged("{ sliding: { size: 60s, every: 5s } }", ranked, ""),
            "operators.rules.aggregates.a.plugin: aggregate `a`: the plugin does not merge, and \
             windows that overlap",
        ),
        (
            plugged("{ session: { gap: 5s } }", ranked, ""),
            "the plugin does not merge, and sessions that meet become one",
        ),
        (
            plugged(
                tumbling,
                ranked,
                "    allowed-lateness: 5s\n    corrections: revisions\n",
            ),
            "the plugin does not merge, and late rows",
        ),
        (
            plugged(tumbling, "plugin: spread.wasm", ""),
            "aggregate `a`: the plugin reads a column `value` of type decimal(38,2)",
        ),
        (
            plugged(tumbling, "plugin: spread.wasm, of: [amonut]", ""),
            "did you mean `amount`?",
        ),
        (
            plugged(tumbling, "plugin: spread.wasm, of: [at]", ""),
            "the plugin reads `at` as decimal(38,2), and the stream has timestamp",
        ),
        (
            plugged(tumbling, "plugin: spread.wasm, of: [amount, at]", ""),
            "the plugin reads 1 columns, and `of` has 2",
        ),
        (
            plugged(tumbling, "plugin: rules.wasm, of: amount", ""),
            "`rules.wasm` is an operator, no aggregate",
        ),
        (
            plugged(tumbling, "plugin: spread.wasm, of: amount, max: amount", ""),
            "here stand `plugin` and `max`",
        ),
        (
            plugged(tumbling, "max: amount, of: amount", ""),
            "operators.rules.aggregates.a.of: aggregate `a`: `of` goes with `plugin`",
        ),
        (
            plugged(tumbling, "max: amount", "    on-error: skip\n"),
            "operators.rules.on-error: `on-error` goes with `plugin`",
        ),
        (
            "    plugin: spread.wasm\n".into(),
            "`spread.wasm` is an aggregate, which is part of a window",
        ),
    ];
    for (operator, part) in cases {
        wrong(&operator, part);
    }
}

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::key::KeyGroupRange;
use crate::pipeline::tests::{SOURCE, pipeline};

fn sound(text: &str) -> Pipeline {
    pipeline(text).unwrap_or_else(|e| panic!("{text}\n{e}"))
}

/// What must hold for every plan.
#[expect(clippy::too_many_lines, reason = "one promise after the other")]
fn check(pipeline: &Pipeline, plan: &Plan) {
    let mut available: HashMap<TaskId, HashSet<StreamId>> = HashMap::new();
    let mut seen = HashSet::new();
    for task in &plan.tasks {
        let streams = available.entry(task.id).or_default();
        match &task.root {
            Root::Source(id) => {
                let source = pipeline.source(*id);
                streams.insert(source.stream);
                streams.extend(source.late);
            }
            Root::Gate(gate) => {
                for edge in gate.edges.iter().map(|id| plan.edge(*id)) {
                    assert_eq!(edge.to, task.id);
                    assert!(
                        edge.from < task.id,
                        "tasks stand after those that feed them"
                    );
                    assert!(
                        streams.insert(edge.stream) || plan.stream(edge.stream).tasks.len() > 1
                    );
                    let is_hash = matches!(edge.partition, Partition::Hash(_));
                    assert_eq!(is_hash, gate.key.is_some());
                    assert!(edge.partition != Partition::Gather || task.parallelism == 1);
                }
            }
        }
        for operator in &task.operators {
            assert!(
                seen.insert(operator.operator),
                "an operator runs in one task"
            );
            for stream in &operator.inputs {
                assert!(streams.contains(stream), "what is consumed is there");
            }
            streams.extend(&operator.outputs);
            streams.extend(operator.late.iter().chain(&operator.late_right));
            let of = pipeline.operator(operator.operator);
            assert_eq!(operator.features.len(), of.features().len());
            let Root::Gate(gate) = &task.root else {
                assert!(!of.is_keyed(), "a keyed operator stands behind a gate");
                continue;
            };
            if of.is_keyed() {
                assert_eq!(gate.key.as_ref(), Some(&of.key_by));
                assert_eq!(gate.order, of.order);
            }
        }
        for (_, stream) in &task.sinks {
            let dead = matches!(plan.stream(*stream).producer, Producer::DeadLetters(_));
            assert!(dead || streams.contains(stream));
        }
        for edge in &task.outputs {
            assert_eq!(plan.edge(*edge).from, task.id);
        }
    }
    assert_eq!(seen.len(), pipeline.operators.len());
    for edge in &plan.edges {
        let from = plan.task(edge.from);
        assert!(from.outputs.contains(&edge.id));
        assert!(plan.stream(edge.stream).tasks.contains(&edge.from));
    }
    for sink in &pipeline.sinks {
        for stream in &sink.inputs {
            let produced = &plan.stream(*stream).tasks;
            let taken = plan
                .tasks
                .iter()
                .filter(|task| task.sinks.iter().any(|s| s.1 == *stream));
            assert!(
                produced.is_empty() || taken.count() > 0,
                "every sink gets its streams"
            );
        }
    }
}

#[test]
fn a_thousand_rules_share_one_exchange() {
    let mut text = SOURCE
        .replace("input: rules", "input: rule-0")
        .replace("  rules:", "  rule-0:");
    for rule in 1..1000 {
        text += &format!(
            "  rule-{rule}: {{ input: transactions, key-by: [account], plugin: features.wasm }}\n"
        );
    }
    let pipeline = sound(&text);
    let plan = plan(&pipeline, 2);
    check(&pipeline, &plan);
    let hashes = plan
        .edges
        .iter()
        .filter(|e| matches!(e.partition, Partition::Hash(_)));
    assert_eq!(hashes.count(), 1);
    let task = plan
        .tasks
        .iter()
        .find(|t| t.operators.len() == 1000)
        .expect("one task");
    assert_eq!(task.features.len(), 1, "equal features are computed once");
}

#[test]
fn what_needs_no_exchange_is_chained() {
    let text = "\
name: chain
sources:
  rows: { generator: { columns: { account: sequence, amount: { constant: 1, type: \"decimal(12,2)\" } } } }
operators:
  a: { input: rows, plugin: filter.wasm }
  b: { input: a, plugin: filter.wasm }
  both: { input: [a.side, b], plugin: filter.wasm }
  keyed: { input: b, key-by: [account], plugin: rules.wasm }
  after: { input: keyed.side, plugin: filter.wasm }
  mixed: { input: [rows, keyed], plugin: filter.wasm }
sinks:
  none: { input: [both, after, mixed], discard: {} }
";
    let pipeline = sound(text);
    let plan = plan(&pipeline, 4);
    check(&pipeline, &plan);
    let names: Vec<(&str, usize)> = plan
        .tasks
        .iter()
        .map(|task| (task.name.as_str(), task.operators.len()))
        .collect();
    assert_eq!(names, [("rows", 3), ("b by account", 2), ("rows+keyed", 1)]);
    assert_eq!(plan.edges.len(), 3);
    assert_eq!(
        plan.tasks
            .iter()
            .map(|task| task.sinks.len())
            .collect::<Vec<_>>(),
        [1, 1, 1]
    );
}

#[test]
fn engine_columns_are_carried_only_where_they_are_needed() {
    let engine = |text: &str, stream: &str| {
        let pipeline = sound(text);
        let plan = plan(&pipeline, 1);
        let found = plan
            .streams
            .into_iter()
            .find(|s| s.name == stream)
            .expect(stream);
        (found.engine.times, found.engine.clocks)
    };
    assert_eq!(engine(SOURCE, "transactions"), (false, false));
    let timers = SOURCE.replace("rules.wasm", "timers.wasm");
    assert_eq!(engine(&timers, "transactions"), (true, true));
    assert_eq!(engine(&timers, "rules"), (false, false));
    let included = SOURCE.replace("stdout: {}", "stdout: {}, include: { when: event-time }");
    assert_eq!(engine(&included, "rules"), (true, false));
    assert_eq!(engine(&included, "transactions"), (true, false));
}

#[test]
fn an_exchange_carries_what_is_read_behind_it() {
    let carried = |text: &str| {
        let pipeline = sound(text);
        let plan = plan(&pipeline, 2);
        let is_dealt = |edge: &&EdgePlan| matches!(edge.partition, Partition::Hash(_));
        let edge = plan.edges.iter().find(is_dealt).expect("a keyed operator");
        edge.columns.clone()
    };
    let read = carried(SOURCE);
    let other_key = SOURCE.replace("key-by: [account]", "key-by: [at, account]");
    assert!(!read.contains(&3), "nobody reads the tags: {read:?}");
    assert!(carried(&other_key).contains(&2), "the key is read");
    let counted =
        SOURCE.to_owned() + "    features: { tagged: { last: { column: tags, n: 3 } } }\n";
    let counted = counted.replace("list<string>?", "string?");
    assert!(carried(&counted).contains(&3), "a feature reads the tags");
    let ordered = SOURCE.to_owned() + "    order: event-time\n";
    assert_eq!(carried(&ordered), read);
    let late = ordered.replace("input: rules, stdout", "input: rules.late, stdout");
    assert_eq!(carried(&late), [0, 1, 2, 3], "late rows leave as they came");
    let letters = SOURCE.to_owned() + "    on-error: { dead-letter: rejects }\n";
    assert_eq!(carried(&letters), read, "a letter has the original bytes");
    let source = "generator: { columns: { account: { mod: 9, type: u32 }, amount: { mod: 7, \
                  type: \"decimal(12,2)\" }, at: { time: { step: 1s } }, tags: { mod: 3 } } }";
    let generated = letters.replace("file: { path: in.jsonl }", source);
    let generated: Vec<&str> = generated.lines().collect();
    let written = |line: &&&str| !line.contains("json: {") && !line.contains("format:");
    let generated: Vec<&str> = generated.iter().filter(written).copied().collect();
    assert_eq!(carried(&generated.join("\n")), [0, 1, 2, 3], "or the row");
}

#[test]
fn dead_letters_come_from_every_task_that_sends_them() {
    let text = SOURCE.replace(
        "rules.wasm",
        "rules.wasm\n    on-error: { dead-letter: rejects }",
    );
    let pipeline = sound(&text);
    let plan = plan(&pipeline, 2);
    check(&pipeline, &plan);
    let edges: Vec<&EdgePlan> = plan
        .edges
        .iter()
        .filter(|e| e.stream == StreamId(0))
        .collect();
    assert_eq!(edges.len(), 2);
    assert!(edges.iter().all(|edge| edge.partition == Partition::Gather));
}

/// An operator: how many of the earlier streams it reads, which, its key, plugin and order.
type Choice = (Vec<prop::sample::Index>, bool, bool, bool, bool);

fn document(choices: &[Choice], sinks: &[(prop::sample::Index, bool)]) -> String {
    let mut text = SOURCE
        .split("sinks:")
        .next()
        .expect("the source")
        .to_owned();
    text += "  other:\n    stdin: {}\n    format: { json: { account: u32, amount: \"decimal(12,2)\" } }\n";
    let mut streams = vec![
        "transactions".to_owned(),
        "transactions.late".into(),
        "other".into(),
    ];
    let mut operators = String::from("operators:\n");
    for (index, (inputs, is_keyed, stateful, dead, _)) in choices.iter().enumerate() {
        let names: Vec<&String> = inputs.iter().map(|input| input.get(&streams)).collect();
        let mut names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        // Only `account: u32` of the sources and `account: u64` of operators differ, and a key's
        // types must not.
        let is_source = |name: &str| name.starts_with("transactions") || name == "other";
        let first = is_source(names[0]);
        names.retain(|name| is_source(name) == first);
        let key = if *is_keyed { "key-by: [account], " } else { "" };
        let plugin = if *is_keyed && *stateful {
            "rules.wasm"
        } else {
            "filter.wasm"
        };
        let error = if *dead {
            "dead-letter: rejects"
        } else {
            "skip: "
        };
        let error = if *dead {
            format!("on-error: {{ {error} }}, ")
        } else {
            String::new()
        };
        operators += &format!(
            "  op-{index}: {{ input: [{}], {key}{error}plugin: {plugin} }}\n",
            names.join(", ")
        );
        streams.push(format!("op-{index}"));
        streams.push(format!("op-{index}.side"));
    }
    text += &operators;
    text += "sinks:\n  rejects: { file: { path: rejects.jsonl } }\n";
    for (index, (input, discard)) in sinks.iter().enumerate() {
        let kind = if *discard {
            "discard: {}".into()
        } else {
            format!("file: {{ path: f{index} }}")
        };
        text += &format!(
            "  sink-{index}: {{ input: {}, {kind} }}\n",
            input.get(&streams)
        );
    }
    text
}

proptest! {
    #[test]
    fn every_plan_holds_together(
        choices in prop::collection::vec(
            (prop::collection::vec(any::<prop::sample::Index>(), 1..3), any::<bool>(),
             any::<bool>(),
                any::<bool>(), any::<bool>()),
            1..12,
        ),
        sinks in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..5),
        parallelism in 1_usize..200,
    ) {
        let pipeline = sound(&document(&choices, &sinks));
        let plan = plan(&pipeline, parallelism);
        check(&pipeline, &plan);
        let subtasks = plan.parallelism as u16;
        let ranges = (0..subtasks).map(|s| KeyGroupRange::of_subtask(s, subtasks, plan.key_groups));
        let covered: usize = ranges.map(|range| range.len()).sum();
        prop_assert_eq!(covered, usize::from(plan.key_groups));
        for group in 0..plan.key_groups {
            let range = |s| KeyGroupRange::of_subtask(s, subtasks, plan.key_groups);
            let owners = (0..subtasks).filter(|s| range(*s).contains(group));
            prop_assert_eq!(owners.count(), 1);
        }
    }
}

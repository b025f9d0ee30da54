use serde_json::json;
use wasmill_core::descriptor::Descriptor;
use wasmill_core::pipeline::OperatorKind;

use super::*;
use crate::state::Resident;
use crate::window::accumulator::Accumulator;
use crate::window::cell::Global;
use crate::window::folded::Folded;

const DOCUMENT: &str = "\
name: test
sources:
  n: { stdin: {}, format: { json: { key: u64, x: i64 } } }
operators:
  w:
    input: n
    key-by: [key]
    window: { global: {} }
    aggregates: { a: { plugin: p.wasm, of: x } }
sinks:
  out: { input: w, stdout: {} }
";

/// An operator with an aggregate of a plugin that is never called.
fn operator() -> WindowOperator {
    let descriptor = json!({
        "descriptor": 1, "name": "p", "version": "1.0.0", "outputs": [],
        "inputs": [{ "name": "rows", "columns": [{ "name": "x", "type": "i64" }] }],
        "aggregate": { "accumulator": "string", "result": "string" },
    });
    let descriptor = Descriptor::parse(&descriptor.to_string()).expect("a descriptor");
    let descriptor = Arc::new(descriptor);
    let plugin = |_: &str| Ok(descriptor.clone());
    let pipeline = pipeline::parse(DOCUMENT)
        .and_then(|written| written.validate(&plugin))
        .unwrap_or_else(|errors| panic!("{errors}"));
    let spec = &pipeline.operators[0];
    let OperatorKind::Window(windowing) = &spec.kind else {
        panic!("{:?}", spec.kind);
    };
    let parts = Parts {
        inputs: Vec::new(),
        has_time: false,
        subtask: 0,
        subtasks: 1,
        job: "test".into(),
        plugins: Vec::new(),
        is_spilling: false,
        metrics: Arc::default(),
    };
    WindowOperator::new(spec, (**windowing).clone(), parts)
}

fn held(of: usize) -> Held {
    Held::Bytes(vec![0; of].into())
}

#[test]
fn what_plugins_merge_weighs_when_it_is_merged() {
    let mut operator = operator();
    let merges = operator.shape.slots[1].merges.clone();
    let merges = merges.expect("the plugin merges");
    let cell = operator.cells.get_mut(3);
    cell.is_held = true;
    let mut accumulators: Box<[Accumulator]> = operator.shape.empty().collect();
    let mut folded = Some(Folded::of(held(10)));
    merges.merge(&mut folded, Some(&Folded::of(held(20))));
    accumulators[1] = Accumulator::Plugin(folded);
    cell.global = Some(Box::new(Global {
        number: 0,
        time: 0,
        shown: None,
        accumulators,
    }));
    operator.weigh(3);
    operator.weigh(3);
    let (_, before) = operator.bytes();
    for merge in merges.take() {
        merge.into.settle(held(100_000));
    }
    operator.weigh_merged();
    let (_, after) = operator.bytes();
    assert_eq!(after, before + 100_000);
    operator.weigh(3);
    operator.weigh_merged();
    assert_eq!(operator.bytes().1, after, "nothing counts twice");
}

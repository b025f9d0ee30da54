//! What a call across the boundary costs, in nanoseconds of thread CPU time a row: `boundary
//! COUNT-BY-KEY.wasm`.
//!
//! The guest keeps one 16-byte state a key and emits a row for each row. The parts are measured
//! apart: writing the
//! arena, the call itself, reading the answer.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use arrow_array::{Float64Array, UInt64Array};
use wasmill_core::boundary::{
    Decoder, Encoder, Group, Kind, Layout, Question, StateKind, StateLayout, ValueType, column,
};
use wasmill_core::descriptor::Descriptor;
use wasmill_host::{
    clock,
    wasm::{CallContext, Engine, EngineOptions, Instance, InstanceOptions},
};

/// CPU time spent on each measurement.
const LENGTH: Duration = Duration::from_millis(400);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: boundary COUNT-BY-KEY.wasm")?;
    let engine = Engine::new(EngineOptions::default())?;
    let plugin = engine.load(&std::fs::read(path)?)?;
    let layout = layout(&Descriptor::parse(plugin.descriptor())?);
    let mut instance = block_on(plugin.instantiate(&InstanceOptions::default()))?;
    block_on(instance.open(r#"{ "context": 1, "config": {} }"#))?;
    let empty = measure(&mut || call(&mut instance, 0, &[], &[]));
    println!("empty call: {empty:.0} ns");
    for rows in [1, 8, 64, 1024] {
        batch(&mut instance, &layout, rows)?;
    }
    Ok(())
}

fn batch(
    instance: &mut Instance,
    layout: &Layout,
    rows: u32,
) -> Result<(), Box<dyn std::error::Error>> {
    let account = UInt64Array::from_iter_values((0..rows).map(u64::from));
    let amount = Float64Array::from_iter_values((0..rows).map(f64::from));
    let keys: Vec<u32> = (0..rows).collect();
    let fields = layout.inputs[0].fields().clone();
    let width = layout.states[0].value.width.ok_or("a fixed-width state")?;
    let state = vec![1u8; rows as usize * width];
    let write = |encoder: &mut Encoder| {
        encoder.clear();
        encoder.begin(Group::Input, 0, rows);
        let mut number = 0;
        encoder.array(&mut number, &fields[0], &account)?;
        encoder.array(&mut number, &fields[1], &amount)?;
        encoder.copy(column::KEY, Kind::Values, &keys);
        encoder.begin(Group::Keys, 0, rows);
        encoder.begin(Group::State, 0, rows);
        encoder.copy(0, Kind::Values, &state);
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let mut encoder = Encoder::new();
    write(&mut encoder)?;
    let (directory, arena) = encoder.finish()?;
    let (directory, arena) = (directory.to_vec(), arena.to_vec());
    let question = Question {
        rows,
        keys: rows,
        output_rows_max: 1 << 20,
        ..Question::default()
    };
    let answer = call(instance, rows, &directory, &arena);
    let mut decoder = Decoder::new();
    let writing = measure(&mut || write(&mut encoder).is_ok());
    let calling = measure(&mut || call(instance, rows, &directory, &arena));
    let reading = measure(&mut || {
        decoder
            .decode(layout, &question, &answer.0, &answer.1)
            .map(|effects| effects.outputs.len() + effects.states.len())
            .map_err(|error| error.to_string())
    });
    let per_row = |ns: f64| ns / f64::from(rows);
    println!(
        "{rows:5} rows: {:7.1} ns a row = write {:.1} + call {:.1} + read {:.1}",
        per_row(writing + calling + reading),
        per_row(writing),
        per_row(calling),
        per_row(reading),
    );
    Ok(())
}

fn layout(descriptor: &Descriptor) -> Layout {
    let states = descriptor.states.iter().map(|state| StateLayout {
        kind: StateKind::Value,
        map_key: None,
        value: ValueType::new(state.value.data_type().clone(), state.value.is_nullable()),
    });
    Layout {
        inputs: descriptor
            .inputs
            .iter()
            .map(|input| Arc::clone(&input.schema))
            .collect(),
        states: states.collect(),
        timers: 0,
        outputs: descriptor
            .outputs
            .iter()
            .map(|output| Arc::clone(&output.schema))
            .collect(),
    }
}

fn call(
    instance: &mut Instance,
    rows: u32,
    directory: &[u32],
    arena: &[u64],
) -> (Vec<u32>, Vec<u64>) {
    match block_on(instance.process(rows, directory, arena, CallContext::default())) {
        Ok(answer) => (answer.directory, answer.arena),
        Err(error) => panic!("{error}"),
    }
}

/// Nanoseconds of thread CPU time of one run.
fn measure<T>(body: &mut impl FnMut() -> T) -> f64 {
    for _ in 0..100 {
        std::hint::black_box(body());
    }
    let (began, mut runs) = (clock::thread_cpu(), 0u32);
    loop {
        for _ in 0..100 {
            std::hint::black_box(body());
        }
        runs += 100;
        let used = clock::thread_cpu() - began;
        if used > LENGTH {
            return used.as_nanos() as f64 / f64::from(runs);
        }
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return output;
        }
    }
}

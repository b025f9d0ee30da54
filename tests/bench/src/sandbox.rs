//! What the sandbox costs: the same operator as a guest and linked in, in the same engine, and the
//! crossing of the boundary alone. Both in nanoseconds of the thread's CPU time.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, UInt64Array};
use guest_bench_rule::Rule;
use wasmill_core::{
    batch::Batch,
    boundary::{Decoder, Encoder, Group, Kind, Question, column},
    key::{KEY_GROUPS_DEFAULT, KeyCodec, KeyGroupRange},
    lineage::{Ancestor, Chunk, Lineage},
    pipeline,
};
use wasmill_host::{
    clock,
    operator::{self, Keyed, Make, Operator},
    state::{BatchKeys, KeyIndex, KeyedStates, Secret},
    wasm::{CallContext, Instance, InstanceOptions},
};

use crate::{job, native, scenario::Measured, throughput};

/// Rows of a call under load.
const ROWS: u64 = 4_096;
/// Batches that are made beforehand and processed in turn.
const BATCHES: u64 = 64;
/// Different accounts, as in `keyed-10k`.
const KEYS: u64 = 10_000;
/// The bytes that the operator keeps for an account.
const STATE_BYTES: usize = 24;
/// CPU time that one side runs before it is the other's turn.
const TURN: Duration = Duration::from_millis(20);

/// Guest minus native.
pub(crate) fn tax(seconds: f64) -> Result<Measured> {
    let document = throughput::keyed_document(throughput::payments(KEYS));
    let bound = job::bind(&document, &[])?;
    let linked = native::operator::<Rule>(r#"{ "sum-max": 1e12 }"#)?;
    let spec = &bound.pipeline.operators[0];
    let batches: Vec<Batch> = (0..BATCHES).map(batch).collect::<Result<_>>()?;
    let make = bound.makes[0].clone();
    let mut guest = Side::new(spec, make.context("the rule is a plugin")?, &batches)?;
    let mut native = Side::new(spec, linked.make, &batches)?;
    let (mut guest_ns, mut native_ns) = (Vec::new(), Vec::new());
    let mut records = 0;
    let start = clock::monotonic();
    while (clock::monotonic() - start).as_secs_f64() < seconds {
        for (side, figures) in [(&mut guest, &mut guest_ns), (&mut native, &mut native_ns)] {
            let (ns, rows) = side.turn()?;
            figures.push(ns);
            records += rows;
        }
    }
    let (guest, native) = (median(&mut guest_ns), median(&mut native_ns));
    eprintln!("guest {guest:.1} ns a record, native {native:.1} ns");
    let seconds = (clock::monotonic() - start).as_secs_f64();
    Ok(ns(records, seconds, guest - native))
}

/// One of the two operators, with keys and state of its own.
struct Side<'a> {
    operator: Operator,
    keyed: Keyed,
    codec: KeyCodec,
    stream: usize,
    batches: &'a [Batch],
    next: usize,
}

impl<'a> Side<'a> {
    fn new(spec: &pipeline::Operator, make: Make, batches: &'a [Batch]) -> Result<Self> {
        let plugin = spec.plugin().context("the rule is a plugin")?;
        let parts = operator::Parts {
            key_fields: Default::default(),
            inputs: spec.inputs.clone(),
            job: "sandbox-tax".into(),
            make,
            states: Some(KeyedStates::new(&plugin.descriptor.states)),
            features: Vec::new(),
            subtask: (0, 1),
            metrics: Arc::default(),
        };
        let groups = KEY_GROUPS_DEFAULT;
        let index = KeyIndex::new(KeyGroupRange::all(groups), groups, true, Secret::random());
        let mut this = Self {
            operator: Operator::new(spec, plugin, parts),
            keyed: Keyed {
                index,
                keys: BatchKeys::default(),
                features: Vec::new(),
            },
            codec: KeyCodec::new(&batches[0].rows.schema(), &["account"])?,
            stream: spec.inputs[0].stream.0,
            batches,
            next: 0,
        };
        // Every key is known before anything is measured, and the instance runs.
        for _ in batches {
            this.one()?;
        }
        Ok(this)
    }

    /// Nanoseconds of CPU a record over one turn, and its records.
    fn turn(&mut self) -> Result<(f64, u64)> {
        let (began, mut rows) = (clock::thread_cpu(), 0);
        loop {
            self.one()?;
            rows += ROWS;
            let used = clock::thread_cpu() - began;
            if used > TURN {
                return Ok((used.as_nanos() as f64 / rows as f64, rows));
            }
        }
    }

    fn one(&mut self) -> Result<()> {
        let batch = &self.batches[self.next % self.batches.len()];
        self.next += 1;
        let keys = self.codec.keys(&batch.rows);
        let hashes = keys.hashes();
        self.keyed.index.recycle();
        self.keyed.keys.clear();
        let Keyed {
            index, keys: of, ..
        } = &mut self.keyed;
        index.lookup(&keys, &hashes, of);
        let mut emitted = Vec::new();
        let processed =
            self.operator
                .process(self.stream, batch, Some(&mut self.keyed), &mut emitted);
        block_on(processed)?;
        ensure!(emitted.is_empty(), "no account has so much");
        Ok(())
    }
}

/// The records of one batch, as the generator computes them.
fn batch(number: u64) -> Result<Batch> {
    let numbers = number * ROWS..(number + 1) * ROWS;
    let account = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS;
    let columns: [(&str, ArrayRef); 3] = [
        (
            "account",
            Arc::new(UInt64Array::from_iter_values(numbers.clone().map(account))),
        ),
        (
            "amount",
            Arc::new(Float64Array::from_iter_values(
                numbers.clone().map(|i| (i % 1000) as f64),
            )),
        ),
        (
            "ts",
            Arc::new(Int64Array::from_iter_values(numbers.map(|i| i as i64))),
        ),
    ];
    let rows = RecordBatch::try_from_iter(columns)?;
    let chunk = Ancestor::Chunk(Arc::new(Chunk::default()));
    Ok(Batch::new(rows, Lineage::whole(chunk, ROWS as usize)))
}

/// The crossing alone, for calls of so many rows: writing the arena, the call, reading and checking
/// the answer. Every row has a key of its own.
pub(crate) fn boundary(rows: u32, seconds: f64) -> Result<Measured> {
    let document = throughput::keyed_document(throughput::payments(KEYS));
    let bound = job::bind(&document, &[])?;
    let Some(Make::Plugin(plugin)) = &bound.makes[0] else {
        anyhow::bail!("the operator is a plugin");
    };
    let mut instance = block_on(plugin.instantiate(&InstanceOptions::default()))?;
    block_on(instance.open(r#"{ "context": 1, "config": { "sum-max": 1e12 } }"#))?;
    let mut crossing = Crossing::new(instance, &bound.pipeline.operators[0], rows)?;
    let start = clock::monotonic();
    let mut figures = Vec::new();
    let mut records = 0;
    while (clock::monotonic() - start).as_secs_f64() < seconds {
        let (cpu, calls) = crossing.turn()?;
        records += calls * u64::from(rows);
        figures.push(cpu.as_nanos() as f64 / (calls * u64::from(rows)) as f64);
    }
    let seconds = (clock::monotonic() - start).as_secs_f64();
    Ok(ns(records, seconds, median(&mut figures)))
}

struct Crossing {
    instance: Instance,
    layout: wasmill_core::boundary::Layout,
    encoder: Encoder,
    decoder: Decoder,
    columns: [ArrayRef; 3],
    keys: Vec<u32>,
    states: Vec<u8>,
    rows: u32,
}

impl Crossing {
    fn new(instance: Instance, spec: &pipeline::Operator, rows: u32) -> Result<Self> {
        let descriptor = &spec.plugin().context("the rule is a plugin")?.descriptor;
        let width = descriptor.states[0].value.data_type();
        let layout = operator::layout(descriptor);
        ensure!(
            layout.states[0].value.width == Some(STATE_BYTES),
            "the state is {width}"
        );
        Ok(Self {
            instance,
            layout,
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            columns: [
                Arc::new(UInt64Array::from_iter_values(0..u64::from(rows))),
                Arc::new(Float64Array::from_iter_values((0..rows).map(f64::from))),
                Arc::new(Int64Array::from_iter_values((0..rows).map(i64::from))),
            ],
            keys: (0..rows).collect(),
            states: vec![0; rows as usize * STATE_BYTES],
            rows,
        })
    }

    /// CPU time of one turn, and its calls.
    fn turn(&mut self) -> Result<(Duration, u64)> {
        let (began, mut calls) = (clock::thread_cpu(), 0);
        loop {
            for _ in 0..100 {
                self.one()?;
            }
            calls += 100;
            let used = clock::thread_cpu() - began;
            if used > TURN {
                return Ok((used, calls));
            }
        }
    }

    fn one(&mut self) -> Result<()> {
        let (encoder, rows) = (&mut self.encoder, self.rows);
        encoder.clear();
        encoder.begin(Group::Input, 0, rows);
        let fields = self.layout.inputs[0].fields();
        let mut number = 0;
        for (field, array) in fields.iter().zip(&self.columns) {
            encoder.array(&mut number, field, array)?;
        }
        encoder.copy(column::KEY, Kind::Values, &self.keys);
        encoder.begin(Group::Keys, 0, rows);
        encoder.begin(Group::State, 0, rows);
        encoder.copy(0, Kind::Values, &self.states);
        let (directory, arena) = encoder.finish()?;
        let call = self
            .instance
            .process(rows, directory, arena, CallContext::default());
        let answer = block_on(call)?;
        let question = Question {
            rows,
            keys: rows,
            output_rows_max: 1 << 20,
            ..Question::default()
        };
        let effects =
            self.decoder
                .decode(&self.layout, &question, &answer.directory, &answer.arena)?;
        let changed = effects.states.first().context("every state changes")?;
        std::hint::black_box(changed);
        Ok(())
    }
}

fn ns(records: u64, seconds: f64, value: f64) -> Measured {
    Measured {
        records,
        seconds,
        value,
        unit: "ns/record",
        cpu: None,
    }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Polls to the end: nothing here waits for anybody else.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

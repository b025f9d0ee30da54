//! Calls a `single-record-operator` as if it took batches: one guest call a record, one answer
//! a batch.

mod answer;
mod cell;

use wasmill_core::{
    boundary::{InputReader, InputRows, StateKind, StateLayout, ValueType},
    descriptor::{Descriptor, Kind},
};
use wasmtime::component::{ComponentType, Lift, Lower};

use super::limits::{Exceeded, Limit};
use answer::Answer;
use cell::{Cell, Column};

/// One record on its way into a guest.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct InputRecord {
    input: u32,
    cells: Vec<Cell>,
    time: Option<i64>,
    states: Vec<Option<Vec<u8>>>,
}

/// One emitted row.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct OutputRecord {
    output: u32,
    cells: Vec<Cell>,
}

/// One changed state.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct StateChange {
    state: u32,
    value: Option<Vec<u8>>,
}

/// What one record caused.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct Effects {
    emitted: Vec<OutputRecord>,
    states: Vec<StateChange>,
    rejected: Option<String>,
}

/// What a record operator's descriptor says, or why it asks for what that world has not.
pub(super) fn shape(descriptor: &str) -> Result<Shape, String> {
    let descriptor = Descriptor::parse(descriptor).map_err(|error| error.to_string())?;
    let has_timers = !descriptor.timers.is_empty();
    let other_state = descriptor.states.iter().find(|s| s.kind != Kind::Value);
    if let Some(state) = other_state {
        return Err(format!(
            "state `{}` is a {}: an operator on single records has value states only",
            state.name,
            state.kind.name()
        ));
    }
    if has_timers || descriptor.inputs.len() != 1 {
        return Err("an operator on single records has one input and no timers".into());
    }
    let states = descriptor.states.iter().map(|state| StateLayout {
        kind: StateKind::Value,
        map_key: None,
        value: ValueType::new(state.value.data_type().clone(), state.value.is_nullable()),
    });
    Ok(Shape {
        states: states.collect(),
        descriptor,
    })
}

/// The columns and states of a record operator.
#[derive(Debug)]
pub(super) struct Shape {
    descriptor: Descriptor,
    states: Vec<StateLayout>,
}

/// A batch that is processed record by record.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    shape: &'a Shape,
    input: Option<InputRows>,
    columns: Vec<Column>,
    /// The states of each key as the records so far have left them; key by key.
    states: Vec<Option<Vec<u8>>>,
    is_changed: Vec<bool>,
    /// Bytes of all changed states.
    bytes: usize,
    answer: Answer,
}

impl<'a> Batch<'a> {
    /// Reads the buffers of a batch.
    pub(super) fn read(shape: &'a Shape, directory: &[u32], arena: &[u64]) -> Result<Self, String> {
        let text = |error: wasmill_core::boundary::DecodeError| error.to_string();
        let reader = InputReader::new(directory, arena).map_err(text)?;
        let schema = &shape.descriptor.inputs[0].schema;
        let input = reader.input(0, schema, arena).map_err(text)?;
        let columns = match &input {
            None => Vec::new(),
            Some(input) => schema
                .fields()
                .iter()
                .zip(input.rows.columns())
                .map(|(field, array)| Column::new(field, array.clone()))
                .collect::<Result<_, _>>()?,
        };
        let (keys, count) = (reader.keys() as usize, shape.states.len());
        let mut states = vec![None; keys * count];
        for (ordinal, state) in shape.states.iter().enumerate() {
            let number = u16::try_from(ordinal).unwrap_or(u16::MAX);
            let Some((rows, values)) = reader.values(number, state, arena).map_err(text)? else {
                continue;
            };
            for key in 0..rows.min(keys) {
                states[key * count + ordinal] = values.get(key).map(<[u8]>::to_vec);
            }
        }
        Ok(Self {
            shape,
            columns,
            is_changed: vec![false; states.len()],
            bytes: 0,
            states,
            input,
            answer: Answer::new(shape.descriptor.outputs.len()),
        })
    }

    /// Number of records.
    pub(super) fn len(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.rows.num_rows())
    }

    fn key(&self, row: usize) -> usize {
        let keys = self.input.as_ref().and_then(|input| input.keys.as_ref());
        keys.map_or(0, |keys| keys[row] as usize)
    }

    /// The record of a row, with the states of its key as the rows before it have left them.
    pub(super) fn record(&self, row: usize) -> InputRecord {
        let times = self.input.as_ref().and_then(|input| input.times.as_ref());
        let count = self.shape.states.len();
        let first = self.key(row) * count;
        let states = self.states.get(first..first + count).unwrap_or_default();
        InputRecord {
            input: 0,
            cells: self.columns.iter().map(|column| column.cell(row)).collect(),
            time: times.map(|times| times[row]),
            states: states.to_vec(),
        }
    }

    /// Takes what a record caused.
    pub(super) fn apply(&mut self, row: usize, effects: Effects) -> Result<(), String> {
        if let Some(reason) = effects.rejected {
            self.answer.reject(row, &reason);
            return Ok(());
        }
        for emitted in effects.emitted {
            let output = emitted.output as usize;
            let Some(declared) = self.shape.descriptor.outputs.get(output) else {
                return Err(format!("there is no output {output}"));
            };
            self.answer
                .emit(row, output, &declared.schema, &emitted.cells)?;
        }
        let count = self.shape.states.len();
        let mut is_named = vec![false; count];
        for change in effects.states {
            let state = change.state as usize;
            let at = self.key(row) * count + state;
            if state >= count || at >= self.states.len() {
                return Err(format!("there is no state {state}"));
            }
            if std::mem::replace(&mut is_named[state], true) {
                return Err(format!("state {state} stands twice"));
            }
            let len = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
            if std::mem::replace(&mut self.is_changed[at], true) {
                self.bytes -= len(&self.states[at]);
            }
            self.bytes += len(&change.value);
            self.states[at] = change.value;
        }
        Ok(())
    }

    /// Rows emitted and refused so far.
    pub(super) fn output_rows(&self) -> u64 {
        self.answer.rows()
    }

    /// Whether the records so far hand more to the host than a batch may: the host keeps it all.
    pub(super) fn exceeds(&self, bytes_max: usize) -> Option<Exceeded> {
        let bytes = self.bytes + self.answer.bytes();
        (bytes > bytes_max).then_some(Exceeded {
            limit: Limit::OutputBytes,
            used: bytes as u64,
            budget: bytes_max as u64,
        })
    }

    /// The buffers of the answer.
    pub(super) fn finish(self) -> Result<(Vec<u32>, Vec<u64>), String> {
        let outputs = self.shape.descriptor.outputs.iter();
        let schemas = outputs
            .map(|output| output.schema.clone())
            .collect::<Vec<_>>();
        let mut encoder = self.answer.encode(&schemas)?;
        let count = self.shape.states.len();
        for (ordinal, state) in self.shape.states.iter().enumerate() {
            let of_state = (ordinal..self.states.len()).step_by(count.max(1));
            let changed = of_state
                .filter(|at| self.is_changed[*at])
                .map(|at| ((at / count) as u32, self.states[at].as_deref()));
            answer::encode_changes(
                &mut encoder,
                ordinal,
                &state.value,
                &changed.collect::<Vec<_>>(),
            )?;
        }
        let (directory, arena) = encoder.finish().map_err(|error| error.to_string())?;
        Ok((directory.to_vec(), arena.to_vec()))
    }
}

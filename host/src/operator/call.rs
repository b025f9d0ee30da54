//! One call: rows, keys, states and timers are written into the arena, and what comes back is
//! applied.

use std::ops::Range;

use arrow_array::{ArrayRef, cast::AsArray};
use arrow_schema::DataType;
use serde_json::json;
use wasmill_core::{
    batch::Batch,
    boundary::{Effects, EncodeError, Group, Kind, Question, TimerAction, column},
    descriptor::TimeDomain as Domain,
    encoding::{self, Form},
    pipeline::{self, ColumnOrigin, InputBinding},
    timer::{Action, Change, Timer},
};

use super::{Operator, isolation::CallFailure, reader::Reader};
use crate::{
    clock,
    state::{BatchKeys, Clocks, KeyIndex},
    task::slot,
    wasm::{CallContext, LogLine, Seeds, StateReader},
};

/// The rows of one call.
pub(super) struct Rows<'a> {
    /// The stream that they come from.
    pub stream: usize,
    /// The rows.
    pub batch: &'a Batch,
    /// The features of these rows.
    pub features: &'a [ArrayRef],
}

/// The keys of one call.
pub(super) struct Keys<'a> {
    /// The keys of the subtask.
    pub index: &'a mut KeyIndex,
    /// The keys of the call, and each row's.
    pub batch: &'a BatchKeys,
}

/// The context document of `open`.
pub(super) fn context(name: &str, plugin: &pipeline::PluginUse, subtask: (usize, usize)) -> String {
    let inputs: Vec<_> = plugin
        .descriptor
        .inputs
        .iter()
        .map(|input| json!({ "name": input.name, "stream": input.name }))
        .collect();
    json!({
        "context": 1, "operator": name, "subtask": subtask.0, "subtasks": subtask.1,
        "config": plugin.config, "inputs": inputs,
    })
    .to_string()
}

impl Operator {
    /// Calls the guest once. On error nothing has happened, but the instance may be gone.
    pub(super) async fn call(
        &mut self,
        rows: Option<Rows<'_>>,
        mut keys: Option<Keys<'_>>,
        emitted: &mut Vec<(usize, Batch)>,
    ) -> Result<(), CallFailure> {
        self.ran = None;
        let now = clock::wall_us();
        let (first, last) = self.key_clocks(rows.as_ref(), keys.as_ref());
        let clocks_at = |event| Clocks {
            event,
            processing: now,
        };
        // A state that is there for a key's first row stays for the whole call, and one that is
        // written counts from the key's last row: no state dies early.
        let (before, after) = (clocks_at(&first), clocks_at(&last));
        let count = rows.as_ref().map_or(0, |rows| rows.batch.len());
        let key_count = keys.as_ref().map_or(0, |keys| keys.batch.ids.len());
        // What cannot be cut is tried, however large it is.
        self.encoder.set_bytes_max(match count.max(key_count) {
            0 | 1 => usize::MAX,
            _ => self.call_bytes_max,
        });
        let pending = self.encode(rows.as_ref(), keys.as_mut(), (&before, &after))?;
        let seeds = self.seeds(rows.as_ref(), keys.as_ref());
        let no_keys = BatchKeys::default();
        let mut reader = self.states.as_mut().map(|states| Reader {
            layout: &self.layout,
            states,
            keys: keys.as_ref().map_or(&no_keys, |keys| keys.batch),
            clocks: before,
        });
        let context = CallContext {
            time_us: rows
                .as_ref()
                .and_then(|rows| first_time(rows.batch))
                .unwrap_or(self.watermark),
            times: rows.as_ref().and_then(|rows| rows.batch.times.as_deref()),
            seeds,
            reader: reader.as_mut().map(|reader| reader as &mut dyn StateReader),
        };
        let (directory, arena) = self.encoder.finish().map_err(CallFailure::Encode)?;
        let instance = self.guest.instance().await.map_err(CallFailure::Start)?;
        let count = u32::try_from(count).expect("batches are bounded");
        let call = instance.process(count, directory, arena, context);
        let (output, ran) = slot::timed(call).await;
        self.ran = Some(ran);
        self.metrics
            .cpu_ns
            .add(usize::try_from(ran.as_nanos()).unwrap_or(usize::MAX));
        let output = output.map_err(CallFailure::Call)?;
        self.write_log(&output.log);
        let question = Question {
            rows: count,
            keys: keys.as_ref().map_or(0, |keys| keys.batch.ids.len() as u32),
            timers: &pending,
            is_broadcast: rows
                .as_ref()
                .is_some_and(|rows| self.is_broadcast(rows.stream)),
            output_rows_max: self.output_rows_max,
        };
        let mut decoder = std::mem::take(&mut self.decoder);
        let decoded = decoder.decode(&self.layout, &question, &output.directory, &output.arena);
        let applied = match decoded {
            Ok(effects) => self.apply(&effects, rows.as_ref(), keys, &after, emitted),
            Err(error) => Err(CallFailure::Decode(error)),
        };
        self.decoder = decoder;
        if applied.is_ok() {
            self.metrics.own.add(&output.metrics);
        }
        applied
    }

    /// What random numbers derive from, if the guest can draw any.
    fn seeds(&self, rows: Option<&Rows<'_>>, keys: Option<&Keys<'_>>) -> Seeds {
        if !self.guest.draws() {
            return Seeds::default();
        }
        let mut seeds = Seeds::new(&self.name);
        if let Some(rows) = rows {
            seeds.set_rows(&rows.batch.lineage);
        }
        // Nearly every plugin's library could draw, and a key's bytes are dear: they are taken for
        // those that can ask for a key's seed, and where no row gives the call its own.
        if let Some(keys) = keys.filter(|_| rows.is_none() || self.guest.draws_by_key()) {
            seeds.set_keys(keys.batch.ids.iter().map(|id| keys.index.key(*id)));
        }
        seeds
    }

    /// Each key's event-time clock before the call, that of its first row, and after it, that of
    /// its last; the watermark for a key without rows.
    fn key_clocks(&self, rows: Option<&Rows<'_>>, keys: Option<&Keys<'_>>) -> (Vec<i64>, Vec<i64>) {
        let Some(keys) = keys.filter(|_| self.descriptor.uses_time(Domain::Event)) else {
            return (Vec::new(), Vec::new());
        };
        let mut last = vec![self.watermark; keys.batch.ids.len()];
        let mut first = last.clone();
        if let Some(clocks) = rows.and_then(|rows| rows.batch.clocks.as_ref()) {
            let rows = keys.batch.row_to_key.iter().zip(clocks.iter());
            rows.clone()
                .for_each(|(key, clock)| last[*key as usize] = *clock);
            rows.rev()
                .for_each(|(key, clock)| first[*key as usize] = *clock);
        }
        (first, last)
    }

    /// Writes the call's sections; gives the pending timers that were sent.
    fn encode(
        &mut self,
        rows: Option<&Rows<'_>>,
        keys: Option<&mut Keys<'_>>,
        (before, after): (&Clocks<'_>, &Clocks<'_>),
    ) -> Result<Vec<(u32, u32, i64)>, CallFailure> {
        self.encoder.clear();
        let is_new = !self.guest.is_running();
        if let Some(states) = &mut self.states {
            states.forget_entries();
            states.set_new(is_new);
        }
        if let Some(rows) = rows {
            self.encode_rows(rows, keys.as_deref())
                .map_err(CallFailure::Encode)?;
        }
        let mut pending = Vec::new();
        if let Some(keys) = keys.as_deref() {
            self.encode_keys(rows, keys, after)
                .map_err(CallFailure::Encode)?;
        }
        if let Some(states) = &mut self.states {
            let no_keys = BatchKeys::default();
            let batch = keys.as_deref().map_or(&no_keys, |keys| keys.batch);
            states.encode(batch, *before, &mut self.encoder);
        }
        if let Some(keys) = keys {
            self.encode_timers(keys, &mut pending);
        }
        if self
            .descriptor
            .timers
            .iter()
            .any(|timer| timer.time == Domain::Processing)
        {
            self.encoder.begin(Group::Batch, 0, 1);
            self.encoder.copy(0, Kind::Values, &[after.processing]);
        }
        Ok(pending)
    }

    fn encode_rows(&mut self, rows: &Rows<'_>, keys: Option<&Keys<'_>>) -> Result<(), EncodeError> {
        let binding = &self.bindings[&rows.stream];
        let (batch, encoder) = (rows.batch, &mut self.encoder);
        encoder.begin(Group::Input, binding.input as u16, batch.len() as u32);
        let mut number = 0;
        for bound in &binding.columns {
            match bound.origin {
                ColumnOrigin::Stream(at) => {
                    encoder.array(&mut number, &bound.to, batch.rows.column(at).as_ref())?;
                }
                ColumnOrigin::Feature(at) => {
                    encoder.array(&mut number, &bound.to, rows.features[at].as_ref())?;
                }
                ColumnOrigin::Null => encoder.nulls(&mut number, &bound.to, batch.len()),
            }
        }
        if let Some(keys) = keys {
            encoder.copy(column::KEY, Kind::Values, &keys.batch.row_to_key);
        }
        self.encode_map_entries(rows, keys)?;
        let binding = &self.bindings[&rows.stream];
        let (batch, encoder) = (rows.batch, &mut self.encoder);
        let input = &self.descriptor.inputs[binding.input];
        if let Some(times) = batch.times.as_ref().filter(|_| input.time) {
            encoder.copy(column::TIME, Kind::Values, times);
        }
        let has_timers = self
            .descriptor
            .timers
            .iter()
            .any(|timer| timer.time == Domain::Event);
        if let Some(clocks) = batch.clocks.as_ref().filter(|_| has_timers) {
            encoder.copy(column::CLOCK, Kind::Values, clocks);
        }
        if let Some(ops) = batch.ops.as_ref().filter(|_| input.changelog) {
            encoder.copy(column::OP, Kind::Values, ops);
        }
        Ok(())
    }

    /// Which entry of each map state a row names, where the state is bound to a column.
    fn encode_map_entries(
        &mut self,
        rows: &Rows<'_>,
        keys: Option<&Keys<'_>>,
    ) -> Result<(), EncodeError> {
        let (Some(states), Some(keys)) = (&mut self.states, keys) else {
            return Ok(());
        };
        let binding = &self.bindings[&rows.stream];
        for (number, state) in (0u32..).zip(&self.descriptor.states) {
            let Some(bound) = state.column.map(|at| &binding.columns[at]) else {
                continue;
            };
            let column = match bound.origin {
                ColumnOrigin::Stream(at) => rows.batch.rows.column(at),
                ColumnOrigin::Feature(at) => &rows.features[at],
                ColumnOrigin::Null => continue,
            };
            let nullable = bound.to.is_nullable();
            let map_key = encoding::Encoder::new(column.as_ref(), nullable, Form::State);
            let Ok(map_key) = map_key.as_ref().map_err(drop) else {
                continue;
            };
            let entries = states.entries_mut(number as usize);
            entries.collect(keys.batch, |row, out| map_key.push(row, out));
            let column = column::MAP_ENTRY + number;
            self.encoder.copy(column, Kind::Values, entries.rows());
        }
        Ok(())
    }

    fn encode_keys(
        &mut self,
        rows: Option<&Rows<'_>>,
        keys: &Keys<'_>,
        clocks: &Clocks<'_>,
    ) -> Result<(), EncodeError> {
        let count = keys.batch.ids.len() as u32;
        self.encoder.begin(Group::Keys, 0, count);
        match rows {
            _ if self.descriptor.keys.is_empty() => {}
            Some(rows) => {
                let binding = self.bindings[&rows.stream].clone();
                self.encode_key_columns(rows, keys, &binding)?;
            }
            None => self.encode_woken_keys(keys)?,
        }
        let has_timers = self
            .descriptor
            .timers
            .iter()
            .any(|timer| timer.time == Domain::Event);
        if has_timers {
            self.encoder.copy(column::CLOCK, Kind::Values, clocks.event);
        }
        Ok(())
    }

    /// The key columns that the guest wants to see, from each key's first row.
    fn encode_key_columns(
        &mut self,
        rows: &Rows<'_>,
        keys: &Keys<'_>,
        binding: &InputBinding,
    ) -> Result<(), EncodeError> {
        let mut first = vec![u32::MAX; keys.batch.ids.len()];
        for (row, key) in (0u32..).zip(&keys.batch.row_to_key) {
            let at = &mut first[*key as usize];
            *at = (*at).min(row);
        }
        let first = arrow_array::UInt32Array::from(first);
        let mut number = 0;
        for bound in &binding.keys {
            match bound.origin {
                ColumnOrigin::Stream(at) => {
                    let values = rows.batch.rows.column(at).as_ref();
                    let taken = arrow_select::take::take(values, &first, None);
                    let taken = taken.expect("every key of the batch has a row");
                    self.encoder.array(&mut number, &bound.to, taken.as_ref())?;
                }
                _ => self.encoder.nulls(&mut number, &bound.to, first.len()),
            }
        }
        Ok(())
    }

    /// The key columns of keys without rows, from the keys' own bytes.
    fn encode_woken_keys(&mut self, keys: &Keys<'_>) -> Result<(), EncodeError> {
        let Some((binding, fields)) = self.key_fields.clone() else {
            return Ok(());
        };
        let bytes: Vec<Vec<u8>> = keys
            .batch
            .ids
            .iter()
            .map(|id| keys.index.key(*id))
            .collect();
        let values = bytes.iter().map(|key| Some(key.as_slice()));
        let columns = encoding::decode(&DataType::Struct(fields), false, values)
            .expect("the index holds what the key codec encoded");
        let columns = columns.as_struct();
        let mut number = 0;
        for bound in &binding.keys {
            let at = match bound.origin {
                ColumnOrigin::Stream(at) => binding.key_columns.iter().position(|key| *key == at),
                _ => None,
            };
            match at {
                Some(at) => {
                    self.encoder
                        .array(&mut number, &bound.to, columns.column(at).as_ref())?;
                }
                None => self.encoder.nulls(&mut number, &bound.to, bytes.len()),
            }
        }
        Ok(())
    }

    fn encode_timers(&mut self, keys: &Keys<'_>, pending: &mut Vec<(u32, u32, i64)>) {
        let Some(timers) = &self.timers else { return };
        for (at, id) in (0u32..).zip(&keys.batch.ids) {
            let of_key = timers.pending(*id).iter();
            pending.extend(of_key.map(|timer| (at, timer.timer, timer.time)));
        }
        self.encoder.begin(Group::Timers, 0, pending.len() as u32);
        let keys: Vec<u32> = pending.iter().map(|timer| timer.0).collect();
        let numbers: Vec<u32> = pending.iter().map(|timer| timer.1).collect();
        let times: Vec<i64> = pending.iter().map(|timer| timer.2).collect();
        self.encoder.copy(0, Kind::Values, &keys);
        self.encoder.copy(1, Kind::Values, &numbers);
        self.encoder.copy(2, Kind::Values, &times);
    }

    /// Lets a call's effects happen: all of them, or none.
    fn apply(
        &mut self,
        effects: &Effects<'_>,
        rows: Option<&Rows<'_>>,
        keys: Option<Keys<'_>>,
        clocks: &Clocks<'_>,
        emitted: &mut Vec<(usize, Batch)>,
    ) -> Result<(), CallFailure> {
        // The caller's policy may end the job over a refused row: then nothing else happens.
        self.check_rejects(effects, rows)?;
        if let Some(states) = &mut self.states {
            states.heard();
        }
        if let Some(keys) = keys {
            if let Some(timers) = &mut self.timers {
                let changes: Vec<Change> = effects
                    .timers
                    .iter()
                    .map(|change| of_key(change, keys.batch))
                    .collect();
                timers.apply(&changes).map_err(CallFailure::Timer)?;
                for (key, was_added) in timers.applied() {
                    keys.index.touch(key);
                    if was_added {
                        keys.index.hold(key);
                    } else {
                        keys.index.release(key);
                    }
                }
            }
            if let Some(states) = &mut self.states {
                states.apply(&effects.states, *clocks, keys.batch, keys.index);
            }
            self.emit(effects, rows, Some(&keys), emitted)?;
        } else {
            if let Some(states) = &mut self.states {
                states.apply_unkeyed(&effects.states);
            }
            self.emit(effects, rows, None, emitted)?;
        }
        self.bury_rejects(effects, rows, emitted)
    }

    fn write_log(&self, lines: &[LogLine]) {
        lines.iter().for_each(|line| line.write(&self.name));
    }
}

fn of_key(change: &wasmill_core::boundary::TimerChange, keys: &BatchKeys) -> Change {
    let action = match change.action {
        TimerAction::Set => Action::Set,
        TimerAction::Deleted => Action::Delete,
        TimerAction::Fired => Action::Fire,
    };
    let timer = Timer {
        time: change.time,
        timer: change.timer,
    };
    Change {
        key: keys.ids[change.key as usize],
        timer,
        action,
    }
}

fn first_time(batch: &Batch) -> Option<i64> {
    batch
        .times
        .as_ref()
        .and_then(|times| times.first().copied())
}

/// The keys of some of a batch's rows.
pub(super) fn keys_of(keys: &BatchKeys, rows: Range<usize>) -> BatchKeys {
    let mut positions = vec![u32::MAX; keys.ids.len()];
    let mut some = BatchKeys::default();
    for key in &keys.row_to_key[rows] {
        let position = &mut positions[*key as usize];
        if *position == u32::MAX {
            *position = some.ids.len() as u32;
            some.ids.push(keys.ids[*key as usize]);
        }
        some.row_to_key.push(*position);
    }
    some
}

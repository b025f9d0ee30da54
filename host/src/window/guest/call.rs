//! Calls of one aggregate's plugin: what goes in, and what comes back, checked.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{Field, SchemaRef};
use wasmill_core::batch::Batch;
use wasmill_core::boundary::{
    DecodeError, Decoder, Effects, EncodeError, Encoder, Group, Kind, Layout, Question,
    StateChanges, StateKind, StateLayout, ValueType, column,
};
use wasmill_core::window::AggregatePlugin;

use super::super::folded::{Folded, Held, Merge, Merges};
use crate::metrics::NodeMetrics;
use crate::operator;
use crate::task::slot;
use crate::wasm::{CallError, Fold, PIECES, RawOutput};

/// Why a call had no effect.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallFailure {
    #[error("{0}")]
    Start(#[source] CallError),
    #[error("{0}")]
    Call(#[source] CallError),
    #[error("the plugin returned buffers that do not keep to the contract: {0}")]
    Decode(#[source] DecodeError),
    #[error("the plugin returned what does not keep to the contract: {0}")]
    Contract(&'static str),
    #[error("{0}")]
    Encode(#[source] EncodeError),
}

impl CallFailure {
    /// The position that the guest blames.
    pub(super) fn row(&self) -> Option<usize> {
        match self {
            Self::Call(error) => error.row().map(|row| row as usize),
            _ => None,
        }
    }

    /// What is wrong, for who is told the row's place besides.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Call(error) => error.reason(),
            other => other.to_string(),
        }
    }

    /// Into how many pieces so many rows or accumulators are cut to find the one to blame.
    pub(super) fn pieces(&self, count: usize) -> usize {
        match self {
            Self::Call(error) => error.pieces(count),
            _ => PIECES,
        }
    }

    pub(super) fn log(&self) -> String {
        let lines = match self {
            Self::Call(error) => error.log(),
            _ => &[],
        };
        let lines = lines.iter().map(|line| line.text.as_str());
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The plugin of one aggregate.
pub(super) struct Guest {
    /// The aggregate's name.
    pub(super) name: Arc<str>,
    operator: Arc<str>,
    /// Its place among the accumulators of a pane.
    pub(super) slot: usize,
    /// Merges that wait for it.
    pub(super) merges: Merges,
    /// The type of results.
    pub(super) result: Field,
    pub(super) plugin: operator::Guest,
    /// For each column that it reads the position among those that the operator reads.
    columns: Vec<Option<usize>>,
    schema: SchemaRef,
    reads_time: bool,
    /// The width of accumulators, if all have the same.
    pub(super) width: Option<usize>,
    /// What calls for accumulators and calls for results may answer.
    layouts: [Layout; 2],
    output_rows_max: u64,
    encoder: Encoder,
    decoder: Decoder,
    /// CPU time of the last call, if the plugin was called.
    pub(super) ran: Option<Duration>,
    metrics: Arc<NodeMetrics>,
}

/// A batch's rows as the operator reads them.
pub(super) struct Input<'a> {
    pub(super) batch: &'a Batch,
    /// The position in the batch of each column that the operator reads.
    pub(super) columns: &'a [usize],
}

/// Rows that a call refused: positions, with reasons.
pub(super) type Rejects = Vec<(usize, String)>;

impl Guest {
    pub(super) fn new(
        (operator, name): (&Arc<str>, &str),
        (slot, merges): (usize, Merges),
        used: &AggregatePlugin,
        plugin: operator::Guest,
        metrics: &Arc<NodeMetrics>,
    ) -> Self {
        let value = |field: &Field| StateLayout {
            kind: StateKind::Value,
            map_key: None,
            value: ValueType::new(field.data_type().clone(), field.is_nullable()),
        };
        let (kept, result) = (&used.aggregate.accumulator, &used.aggregate.result);
        let input = &used.descriptor.inputs[0];
        let layout = |states: Vec<StateLayout>| Layout {
            inputs: vec![input.schema.clone()],
            states,
            ..Layout::default()
        };
        Self {
            name: name.into(),
            operator: operator.clone(),
            slot,
            merges,
            result: result.clone(),
            plugin,
            columns: used.columns.clone(),
            schema: input.schema.clone(),
            reads_time: used.reads_time(),
            width: value(kept).value.width,
            layouts: [
                layout(vec![value(kept)]),
                layout(vec![value(kept), value(result)]),
            ],
            output_rows_max: used.limits.output_rows_max,
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            ran: None,
            metrics: metrics.clone(),
        }
    }

    /// Adds rows to the accumulators of their groups; gives those that were refused, by their
    /// positions in the range.
    pub(super) async fn add(
        &mut self,
        input: &Input<'_>,
        rows: Range<usize>,
        (groups, values): (&[u32], &mut [Option<Held>]),
    ) -> Result<Rejects, CallFailure> {
        let (numbers, sent) = numbered(&groups[rows.clone()], values.len());
        self.encode_rows(input, &rows, &numbers)
            .map_err(CallFailure::Encode)?;
        self.encoder.begin(Group::Keys, 0, sent.len() as u32);
        let before = sent.iter().map(|group| bytes(&values[*group as usize]));
        encode_values(&mut self.encoder, self.width, before);
        let output = self.call(Fold::Add, rows.len()).await?;
        let question = (rows.len(), sent.len());
        let layout = &self.layouts[0];
        let limit = self.output_rows_max;
        let effects = decode(&mut self.decoder, layout, question, limit, &output)?;
        let mut changes = Vec::new();
        for (number, value) in changed(&effects, 0)? {
            changes.push((sent[number as usize], value));
        }
        let is_there = |group: &&u32| {
            values[**group as usize].is_some() || changes.iter().any(|(of, _)| of == *group)
        };
        if changes.len() < sent.len() && !sent.iter().all(|group| is_there(&group)) {
            return Err(CallFailure::Contract("an accumulator was left out"));
        }
        for (group, value) in changes {
            values[group as usize] = Some(Held::Bytes(value.into()));
        }
        let rejects = effects.rejects.rows.iter().enumerate();
        let rejects = rejects.map(|(at, row)| {
            let reason = effects.rejects.reason(at).to_owned();
            (*row as usize, reason)
        });
        Ok(rejects.collect())
    }

    /// Merges pairs, of which none is lost and each waits for what others before it give at most.
    pub(super) async fn merge(&mut self, pairs: &[&Merge]) -> Result<(), CallFailure> {
        let place = |of: &Arc<Folded>| Arc::as_ptr(of) as usize;
        let mut numbers: HashMap<usize, u32> = HashMap::new();
        let mut sent: Vec<&Arc<Folded>> = Vec::new();
        for side in pairs.iter().flat_map(|pair| [&pair.left, &pair.right]) {
            if side.known().is_some() && !numbers.contains_key(&place(side)) {
                numbers.insert(place(side), sent.len() as u32);
                sent.push(side);
            }
        }
        let made = (sent.len() as u32..).zip(pairs);
        numbers.extend(made.map(|(number, pair)| (place(&pair.into), number)));
        let number = |of: &Arc<Folded>| numbers.get(&place(of)).copied();
        let left: Option<Vec<u32>> = pairs.iter().map(|pair| number(&pair.left)).collect();
        let right: Option<Vec<u32>> = pairs.iter().map(|pair| number(&pair.right)).collect();
        let (Some(left), Some(right)) = (left, right) else {
            return Err(CallFailure::Contract("a merge waits for a later one"));
        };
        self.encoder.clear();
        let values = sent.iter().map(|folded| of_bytes(folded.held()));
        encode_values(&mut self.encoder, self.width, values);
        self.encoder.begin(Group::Merges, 0, pairs.len() as u32);
        self.encoder.copy(0, Kind::Values, &left);
        self.encoder.copy(1, Kind::Values, &right);
        let output = self.call(Fold::Merge, 0).await?;
        let question = (0, sent.len() + pairs.len());
        let layout = &self.layouts[0];
        let effects = decode(&mut self.decoder, layout, question, 0, &output)?;
        let changes = changed(&effects, 0)?;
        let is_made = |(number, _): &(u32, &[u8])| *number as usize >= sent.len();
        if changes.len() != pairs.len() || !changes.iter().all(is_made) {
            let reason = "other accumulators than those that are merged";
            return Err(CallFailure::Contract(reason));
        }
        for (number, value) in changes {
            let pair = pairs[number as usize - sent.len()];
            pair.into.settle(Held::Bytes(value.into()));
        }
        Ok(())
    }

    /// The encoded results of accumulators, in their order; of one that is absent the result of no
    /// rows.
    pub(super) async fn results(
        &mut self,
        accumulators: &[Option<&[u8]>],
    ) -> Result<Vec<Box<[u8]>>, CallFailure> {
        self.encoder.clear();
        encode_values(&mut self.encoder, self.width, accumulators.iter().copied());
        let output = self.call(Fold::Results, 0).await?;
        let question = (0, accumulators.len());
        let layout = &self.layouts[1];
        let effects = decode(&mut self.decoder, layout, question, 0, &output)?;
        if !changed(&effects, 0)?.is_empty() {
            return Err(CallFailure::Contract("accumulators changed with a result"));
        }
        let mut results = vec![None; accumulators.len()];
        for (number, value) in changed(&effects, 1)? {
            results[number as usize] = Some(value.into());
        }
        let results: Option<Vec<Box<[u8]>>> = results.into_iter().collect();
        results.ok_or(CallFailure::Contract("an accumulator has no result"))
    }

    fn encode_rows(
        &mut self,
        input: &Input<'_>,
        rows: &Range<usize>,
        numbers: &[u32],
    ) -> Result<(), EncodeError> {
        let encoder = &mut self.encoder;
        encoder.clear();
        encoder.begin(Group::Input, 0, rows.len() as u32);
        let mut number = 0;
        for (field, of) in self.schema.fields().iter().zip(&self.columns) {
            match of.and_then(|of| input.columns.get(of)) {
                Some(at) => {
                    let column = input.batch.rows.column(*at);
                    let column = column.slice(rows.start, rows.len());
                    encoder.array(&mut number, field, column.as_ref())?;
                }
                None => encoder.nulls(&mut number, field, rows.len()),
            }
        }
        encoder.copy(column::KEY, Kind::Values, numbers);
        if let Some(times) = input.batch.times.as_ref().filter(|_| self.reads_time) {
            encoder.copy(column::TIME, Kind::Values, &times[rows.clone()]);
        }
        Ok(())
    }

    async fn call(&mut self, fold: Fold, rows: usize) -> Result<RawOutput, CallFailure> {
        self.ran = None;
        let buffers = self.encoder.finish().map_err(CallFailure::Encode)?;
        let instance = self.plugin.instance().await.map_err(CallFailure::Start)?;
        let (output, ran) = slot::timed(instance.fold(fold, rows as u32, buffers)).await;
        self.ran = Some(ran);
        let ran_ns = usize::try_from(ran.as_nanos()).unwrap_or(usize::MAX);
        self.metrics.cpu_ns.add(ran_ns);
        let output = output.map_err(CallFailure::Call)?;
        if !output.log.is_empty() {
            let place = format!("{}.{}", self.operator, self.name);
            output.log.iter().for_each(|line| line.write(&place));
        }
        self.metrics.own.add(&output.metrics);
        Ok(output)
    }
}

/// The groups of some rows, each once, and each row's place among them.
fn numbered(groups: &[u32], count: usize) -> (Vec<u32>, Vec<u32>) {
    let (mut places, mut sent) = (vec![u32::MAX; count], Vec::new());
    let numbers = groups.iter().map(|group| {
        let place = &mut places[*group as usize];
        if *place == u32::MAX {
            *place = sent.len() as u32;
            sent.push(*group);
        }
        *place
    });
    let numbers = numbers.collect();
    (numbers, sent)
}

/// The bytes of an accumulator that is there.
fn bytes(held: &Option<Held>) -> Option<&[u8]> {
    held.as_ref().and_then(of_bytes)
}

pub(super) fn of_bytes(held: &Held) -> Option<&[u8]> {
    match held {
        Held::Bytes(bytes) => Some(bytes),
        Held::Lost(_) => None,
    }
}

/// Writes the section of accumulators.
fn encode_values<'v>(
    encoder: &mut Encoder,
    width: Option<usize>,
    values: impl ExactSizeIterator<Item = Option<&'v [u8]>> + Clone,
) {
    let count = values.len();
    encoder.begin(Group::State, 0, count as u32);
    if values.clone().any(|value| value.is_none()) {
        let bits = encoder.reserve(0, Kind::Validity, count.div_ceil(8));
        bits.fill(0);
        for (at, _) in values.clone().enumerate().filter(|(_, it)| it.is_some()) {
            if let Some(byte) = bits.get_mut(at / 8) {
                *byte |= 1 << (at % 8);
            }
        }
    }
    let values = values.map(Option::unwrap_or_default);
    if let Some(width) = width {
        let room = encoder.reserve(0, Kind::Values, count * width);
        room.fill(0);
        for (value, room) in values.zip(room.chunks_exact_mut(width.max(1))) {
            if value.len() == width {
                room.copy_from_slice(value);
            }
        }
        return;
    }
    let ends = values.clone().scan(0_u32, |end, value| {
        *end = end.saturating_add(u32::try_from(value.len()).unwrap_or(u32::MAX));
        Some(*end)
    });
    let offsets: Vec<u32> = std::iter::once(0).chain(ends).collect();
    encoder.copy(0, Kind::Offsets, &offsets);
    let data: Vec<&[u8]> = values.collect();
    encoder.copy(0, Kind::Data, &data.concat());
}

fn decode<'a>(
    decoder: &mut Decoder,
    layout: &Layout,
    (rows, keys): (usize, usize),
    output_rows_max: u64,
    output: &'a RawOutput,
) -> Result<Effects<'a>, CallFailure> {
    let question = Question {
        rows: rows as u32,
        keys: keys as u32,
        output_rows_max,
        ..Question::default()
    };
    decoder
        .decode(layout, &question, &output.directory, &output.arena)
        .map_err(CallFailure::Decode)
}

/// The values of a state that an answer has, by their numbers.
fn changed<'a>(effects: &Effects<'a>, of: usize) -> Result<Vec<(u32, &'a [u8])>, CallFailure> {
    let mut changed = Vec::new();
    for change in &effects.states {
        let StateChanges::Value {
            state,
            keys,
            values,
        } = change
        else {
            continue;
        };
        if *state != of {
            continue;
        }
        for (at, key) in keys.iter().enumerate() {
            let value = values.get(at);
            let value = value.ok_or(CallFailure::Contract("an accumulator was cleared"))?;
            changed.push((*key, value));
        }
    }
    Ok(changed)
}

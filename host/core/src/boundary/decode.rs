//! Reads what a guest gave back.

mod broadcast;
mod check;

use std::collections::HashSet;

use arrow_array::RecordBatch;
use arrow_buffer::ScalarBuffer;
use arrow_schema::SchemaRef;

use super::{
    Group, Kind, array, column,
    directory::{Cursor, DecodeError, Directory, Section, SectionName, group},
    effects::{
        Effects, OutputRows, Rejects, StateChanges, TimerAction, TimerChange, Values, is_set,
    },
    layout::{Layout, StateKind, StateLayout, ValueType},
    section, validate,
};
use crate::encoding;
use check::{check_below, check_causes, check_entries, check_keys};

/// What the call was about: the guest may speak of nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question<'a> {
    /// Rows to process.
    pub rows: u32,
    /// Rows of the keys section; 0 for an operator without keys.
    pub keys: u32,
    /// The pending timers as they were sent: key index, timer, time.
    pub timers: &'a [(u32, u32, i64)],
    /// Whether the rows are of a broadcast input: only these change broadcast states.
    pub is_broadcast: bool,
    /// Rows that the call may emit at most, over all outputs and rejects.
    pub output_rows_max: u64,
}

/// Reads buffers of one operator; keeps its scratch memory from call to call.
#[derive(Debug, Default)]
pub struct Decoder {
    directory: Directory,
    /// A bit for each key of the batch, for columns whose keys must be distinct.
    seen: Vec<u64>,
}

impl Decoder {
    /// A decoder without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks a call's result and gives views of it.
    ///
    /// # Errors
    /// Everything that `docs/formats/buffers.md` lists under "What the host refuses".
    pub fn decode<'a>(
        &mut self,
        layout: &Layout,
        question: &Question<'_>,
        directory: &[u32],
        arena: &'a [u64],
    ) -> Result<Effects<'a>, DecodeError> {
        let bytes: &'a [u8] = bytemuck::cast_slice(arena);
        let sections_max = 2 + layout.outputs.len() + 2 * layout.states.len();
        self.directory.read(directory, bytes.len(), sections_max)?;
        self.check_sections(layout, question)?;
        let mut effects = Effects::default();
        // Causes may name timer changes, and changes of a map follow its clears.
        if let Some(section) = self.directory.find(section(Group::TimerChanges, 0)) {
            let cursor = self.directory.cursor(&section, bytes);
            effects.timers = timer_changes(cursor, layout, question)?;
        }
        for at in 0..self.directory.sections.len() {
            let section = self.directory.sections[at];
            let ordinal = (section.number & 0xFFFF) as usize;
            match group(section.number) {
                Some(Group::Output) => {
                    let cursor = self.directory.cursor(&section, bytes);
                    let schema = &layout.outputs[ordinal];
                    let rows = output(cursor, ordinal, schema, question, &effects.timers)?;
                    effects.outputs.push(rows);
                }
                Some(Group::Rejects) => {
                    let cursor = self.directory.cursor(&section, bytes);
                    effects.rejects = rejects(cursor, question)?;
                }
                Some(Group::StateChanges) => {
                    let changes = self.changes(layout, ordinal, &section, question, bytes)?;
                    effects.states.push(changes);
                }
                Some(Group::MapClears) => {
                    effects
                        .states
                        .extend(self.lone_clears(ordinal, &section, question, bytes)?);
                }
                _ => {}
            }
        }
        Ok(effects)
    }

    /// Reads the question of `state.get-many` (or, without `entries`, of `state.get-all`) about a
    /// map state.
    ///
    /// Gives the key index and the encoded map key of each entry asked for.
    ///
    /// # Errors
    /// As for [`Decoder::decode`].
    pub fn decode_map_question<'a>(
        &mut self,
        layout: &Layout,
        state: u32,
        keys: u32,
        (directory, arena): (&[u32], &'a [u64]),
    ) -> Result<(&'a [u32], Option<Values<'a>>), DecodeError> {
        let bytes: &'a [u8] = bytemuck::cast_slice(arena);
        self.directory.read(directory, bytes.len(), 1)?;
        let Some(section) = self.directory.sections.first().copied() else {
            return Ok((&[], None));
        };
        let ordinal = (section.number & 0xFFFF) as usize;
        let known = layout.states.get(ordinal).and_then(|s| s.map_key.as_ref());
        let (Some(Group::State), Some(map_key)) = (group(section.number), known) else {
            return Err(wrong(&section, "the question is not about a map state"));
        };
        if ordinal != state as usize {
            return Err(wrong(&section, "the question is about another state"));
        }
        let mut cursor = self.directory.cursor(&section, bytes);
        let indexes = cursor.words(0)?;
        check_below(&cursor, 0, indexes, keys, "key index")?;
        let entries = match cursor.is_done() {
            true => None,
            false => Some(values(
                &mut cursor,
                1,
                map_key,
                section.rows as usize,
                false,
            )?),
        };
        cursor.finish()?;
        Ok((indexes, entries))
    }

    /// Refuses sections that the descriptor knows nothing of, and floods of rows.
    fn check_sections(&self, layout: &Layout, question: &Question<'_>) -> Result<(), DecodeError> {
        let mut rows = 0;
        for section in &self.directory.sections {
            let ordinal = (section.number & 0xFFFF) as usize;
            let is_map = |state: &StateLayout| state.kind == StateKind::Map;
            let is_known = match group(section.number) {
                Some(Group::Output) => ordinal < layout.outputs.len(),
                Some(Group::StateChanges) => ordinal < layout.states.len(),
                Some(Group::MapClears) => layout.states.get(ordinal).is_some_and(is_map),
                Some(Group::Rejects | Group::TimerChanges) => ordinal == 0,
                _ => false,
            };
            if !is_known {
                return Err(wrong(section, "the descriptor declares no such section"));
            }
            if let Some(Group::Output | Group::Rejects) = group(section.number) {
                rows += u64::from(section.rows);
            }
        }
        if rows > question.output_rows_max {
            return Err(DecodeError::TooManyRows {
                rows,
                rows_max: question.output_rows_max,
            });
        }
        Ok(())
    }

    /// The changes of one state, each to a key of the batch. Keys of values and lists stand once:
    /// the order of two changes would be anyone's guess.
    fn changes<'a>(
        &mut self,
        layout: &Layout,
        state: usize,
        at: &Section,
        question: &Question<'_>,
        arena: &'a [u8],
    ) -> Result<StateChanges<'a>, DecodeError> {
        let (kind, rows) = (layout.states[state].kind, at.rows as usize);
        let value_type = &layout.states[state].value;
        if kind == StateKind::Operator {
            return operator_change(self.directory.cursor(at, arena), state, value_type);
        }
        if kind == StateKind::Broadcast {
            let layout = &layout.states[state];
            let is_broadcast = question.is_broadcast;
            return broadcast::changes(
                self.directory.cursor(at, arena),
                (state, layout),
                is_broadcast,
            );
        }
        let cleared = match kind {
            StateKind::Map => self.clears(state, question, arena)?,
            _ => &[],
        };
        let mut cursor = self.directory.cursor(at, arena);
        let keys = cursor.words(0)?;
        let changes = match kind {
            StateKind::List => {
                check_keys(&cursor, keys, question.keys, &mut self.seen)?;
                let drops = cursor.words(1)?;
                let offsets = cursor.offsets(2, rows)?;
                let items = values(&mut cursor, 3, value_type, offsets[rows] as usize, false)?;
                StateChanges::List {
                    state,
                    keys,
                    drops,
                    offsets,
                    items,
                }
            }
            StateKind::Map => {
                check_below(&cursor, 0, keys, question.keys, "key index")?;
                let map_key = layout.states[state].map_key.as_ref();
                let map_key = map_key.unwrap_or(value_type);
                let entries = values(&mut cursor, 1, map_key, rows, false)?;
                check_entries(&cursor, keys, &entries)?;
                let values = values(&mut cursor, 2, value_type, rows, true)?;
                StateChanges::Map {
                    state,
                    cleared,
                    keys,
                    entries,
                    values,
                }
            }
            StateKind::Value | StateKind::Operator | StateKind::Broadcast => {
                check_keys(&cursor, keys, question.keys, &mut self.seen)?;
                let values = values(&mut cursor, 1, value_type, rows, true)?;
                StateChanges::Value {
                    state,
                    keys,
                    values,
                }
            }
        };
        cursor.finish()?;
        Ok(changes)
    }

    /// The keys whose maps are cleared.
    fn clears<'a>(
        &mut self,
        state: usize,
        question: &Question<'_>,
        arena: &'a [u8],
    ) -> Result<&'a [u32], DecodeError> {
        let number = section(Group::MapClears, ordinal(state));
        let Some(at) = self.directory.find(number) else {
            return Ok(&[]);
        };
        let mut cursor = self.directory.cursor(&at, arena);
        let keys = cursor.words(0)?;
        cursor.finish()?;
        check_keys(&cursor, keys, question.keys, &mut self.seen)?;
        Ok(keys)
    }

    /// Clears of a map state that has no other changes.
    fn lone_clears<'a>(
        &mut self,
        state: usize,
        at: &Section,
        question: &Question<'_>,
        arena: &'a [u8],
    ) -> Result<Option<StateChanges<'a>>, DecodeError> {
        debug_assert_eq!(at.number & 0xFFFF, u32::from(ordinal(state)));
        let changes = section(Group::StateChanges, ordinal(state));
        if self.directory.find(changes).is_some() {
            return Ok(None);
        }
        let none = Values::Variable {
            offsets: &[0],
            data: &[],
            validity: None,
        };
        Ok(Some(StateChanges::Map {
            state,
            cleared: self.clears(state, question, arena)?,
            keys: &[],
            entries: none,
            values: none,
        }))
    }
}

/// Ordinals come from section numbers and from descriptors with at most 64 states.
fn ordinal(state: usize) -> u16 {
    (state & 0xFFFF) as u16
}

/// An error about a whole section.
fn wrong(section: &Section, reason: &str) -> DecodeError {
    DecodeError::Section {
        section: SectionName(section.number),
        reason: reason.into(),
    }
}

/// The rows of an output with their causes.
fn output(
    mut cursor: Cursor<'_, '_>,
    output: usize,
    schema: &SchemaRef,
    question: &Question<'_>,
    timers: &[TimerChange],
) -> Result<OutputRows, DecodeError> {
    let (rows, mut number) = (cursor.rows, 0);
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(array::read(&mut cursor, &mut number, field, rows)?);
    }
    let times = engine_column::<i64>(&mut cursor, column::TIME)?;
    // Of an output without columns, the causes alone prove that the guest sent that many rows.
    let causes = cursor.words(column::CAUSE)?;
    check_causes(&cursor, causes, question, timers)?;
    let ops = engine_column::<u8>(&mut cursor, column::OP)?;
    if let Some(row) = ops
        .as_ref()
        .and_then(|ops| ops.iter().position(|op| *op > 3))
    {
        return Err(cursor.wrong_row(column::OP, row, "there are only the kinds 0 to 3"));
    }
    cursor.finish()?;
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| cursor.wrong(0, error.to_string()))?;
    Ok(OutputRows {
        output,
        rows: batch,
        causes: causes.to_vec().into(),
        times,
        ops,
    })
}

/// A column of the engine's own, which a guest may leave out: one value for each row.
pub(super) fn engine_column<T: bytemuck::Pod + arrow_buffer::ArrowNativeType>(
    cursor: &mut Cursor<'_, '_>,
    number: u32,
) -> Result<Option<ScalarBuffer<T>>, DecodeError> {
    let Some(bytes) = cursor.optional(number, Kind::Values) else {
        return Ok(None);
    };
    if Some(bytes.len()) != cursor.rows.checked_mul(size_of::<T>()) {
        return Err(cursor.wrong(number, format!("{} bytes for its rows", bytes.len())));
    }
    let values: &[T] = bytemuck::try_cast_slice(bytes)
        .map_err(|_| cursor.wrong(number, "the values are not aligned".into()))?;
    Ok(Some(values.to_vec().into()))
}

/// The rows that the guest refused, each a row of the batch, with the reasons.
fn rejects<'a>(
    mut cursor: Cursor<'_, 'a>,
    question: &Question<'_>,
) -> Result<Rejects<'a>, DecodeError> {
    let rows = cursor.rows;
    let (offsets, data) = array::text(&mut cursor, 0, rows)?;
    validate::utf8(offsets, data)
        .map_err(|row| cursor.wrong_row(0, row, "the reason is not UTF-8"))?;
    let rows = cursor.words(column::CAUSE)?;
    check_below(&cursor, column::CAUSE, rows, question.rows, "row")?;
    cursor.finish()?;
    Ok(Rejects {
        rows,
        offsets,
        data,
    })
}

/// Timers set, deleted and fired, in order; each names a key of the batch and a declared timer, and
/// only what is pending by then can fire.
fn timer_changes(
    mut cursor: Cursor<'_, '_>,
    layout: &Layout,
    question: &Question<'_>,
) -> Result<Vec<TimerChange>, DecodeError> {
    let (keys, timers) = (cursor.words(0)?, cursor.words(1)?);
    let times: &[i64] = cursor.typed(2)?;
    let actions: &[u8] = cursor.typed(3)?;
    cursor.finish()?;
    check_below(&cursor, 0, keys, question.keys, "key index")?;
    check_below(&cursor, 1, timers, layout.timers, "timer")?;
    let mut pending: HashSet<(u32, u32, i64)> = question.timers.iter().copied().collect();
    let mut changes = Vec::with_capacity(keys.len());
    for row in 0..keys.len() {
        let timer = (keys[row], timers[row], times[row]);
        let action = match actions[row] {
            0 => {
                pending.insert(timer);
                TimerAction::Set
            }
            1 => {
                pending.remove(&timer);
                TimerAction::Deleted
            }
            2 if pending.remove(&timer) => TimerAction::Fired,
            2 => return Err(cursor.wrong_row(3, row, "a timer fired that was not pending")),
            other => return Err(cursor.wrong_row(3, row, &format!("no timer action {other}"))),
        };
        changes.push(TimerChange {
            key: timer.0,
            timer: timer.1,
            time: timer.2,
            action,
        });
    }
    Ok(changes)
}

/// The state of the operator, which has no key.
fn operator_change<'a>(
    mut cursor: Cursor<'_, 'a>,
    state: usize,
    value_type: &ValueType,
) -> Result<StateChanges<'a>, DecodeError> {
    if cursor.rows != 1 {
        let reason = format!("an operator state has one row, not {}", cursor.rows);
        return Err(cursor.wrong(0, reason));
    }
    let values = values(&mut cursor, 0, value_type, 1, true)?;
    cursor.finish()?;
    let value = values.get(0);
    Ok(StateChanges::Operator { state, value })
}

/// A column of encoded values, each checked against its type.
pub(super) fn values<'a>(
    cursor: &mut Cursor<'_, 'a>,
    column: u32,
    value_type: &ValueType,
    rows: usize,
    may_be_absent: bool,
) -> Result<Values<'a>, DecodeError> {
    let validity = cursor.validity(column, rows)?;
    if validity.is_some()
        && !may_be_absent
        && let Some(row) = (0..rows).find(|row| !is_set(validity, *row))
    {
        return Err(cursor.wrong_row(column, row, "the value is missing"));
    }
    let values = match value_type.width {
        Some(width) => {
            let bytes = cursor.exact(column, Kind::Values, rows.checked_mul(width))?;
            Values::Fixed {
                width,
                bytes,
                validity,
            }
        }
        None => {
            let (offsets, data) = array::text(cursor, column, rows)?;
            Values::Variable {
                offsets,
                data,
                validity,
            }
        }
    };
    if !value_type.any_bytes {
        for row in 0..rows {
            if let Some(bytes) = values.get(row) {
                encoding::validate(&value_type.data_type, value_type.nullable, bytes)
                    .map_err(|error| cursor.wrong_row(column, row, &error.to_string()))?;
            }
        }
    }
    Ok(values)
}

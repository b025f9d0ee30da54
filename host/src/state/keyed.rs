//! All states of one operator in one subtask, and their way across the boundary.

mod resident;

use wasmill_core::boundary::{Encoder, Group, Kind, StateChanges};
use wasmill_core::data_type;
use wasmill_core::descriptor::{self, State, Ttl};

use super::broadcast::{BroadcastState, state_of};
use super::{
    BatchKeys, Clocks, FixedColumn, KeyIndex, ListColumn, Lists, MapColumn, MapEntries, VarColumn,
};

/// The states of one operator, in the descriptor's order.
#[derive(Debug)]
pub struct KeyedStates {
    pub(super) states: Vec<State>,
    pub(super) columns: Vec<Column>,
    /// The entries of the batch, for each map state that is bound to a column.
    entries: Vec<MapEntries>,
    sweeps: Vec<u32>,
    scratch: Scratch,
    /// Whether the instance that is called next knows nothing yet.
    is_new: bool,
}

#[derive(Debug)]
pub(super) enum Column {
    Fixed(FixedColumn, Option<Ttl>),
    Var(VarColumn, Option<Ttl>),
    List(ListColumn, Option<Ttl>),
    Map(MapColumn, Option<Ttl>, Widths),
    Operator(Option<Vec<u8>>, Option<usize>),
    Broadcast(BroadcastState, Widths),
}

/// Widths of a map's keys and values, where all have the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Widths {
    key: Option<usize>,
    value: Option<usize>,
}

#[derive(Debug, Default)]
struct Scratch {
    present: Vec<u8>,
    offsets: Vec<i32>,
    data: Vec<u8>,
    lists: Lists,
}

impl KeyedStates {
    /// Empty states.
    pub fn new(states: &[State]) -> Self {
        Self {
            states: states.to_vec(),
            columns: states.iter().map(Column::new).collect(),
            entries: states.iter().map(|_| MapEntries::new()).collect(),
            sweeps: vec![0; states.len()],
            scratch: Scratch::default(),
            is_new: true,
        }
    }

    /// The instance that is called next knows nothing yet of what instances keep a copy of.
    pub fn set_new(&mut self, is_new: bool) {
        self.is_new = is_new;
    }

    /// The call has succeeded: what rode with it is known.
    pub fn heard(&mut self) {
        for column in &mut self.columns {
            if let Column::Broadcast(state, _) = column {
                state.heard();
            }
        }
    }

    /// The entries that the batch's rows name of a map state bound to a column: to be collected
    /// before [`KeyedStates::encode`], and cleared for states that are not bound.
    pub fn entries_mut(&mut self, state: usize) -> &mut MapEntries {
        &mut self.entries[state]
    }

    /// No rows name any map entries: keys are woken without rows.
    pub fn forget_entries(&mut self) {
        for entries in &mut self.entries {
            entries.collect(&BatchKeys::default(), |_, _| {});
        }
    }

    /// Writes every state's section for the keys of a batch.
    pub fn encode(&mut self, keys: &BatchKeys, clocks: Clocks<'_>, out: &mut Encoder) {
        let scratch = &mut self.scratch;
        for (state, column) in self.columns.iter_mut().enumerate() {
            let ordinal = state as u16;
            let rows = keys.ids.len() as u32;
            match column {
                Column::Fixed(column, _) => {
                    out.begin(Group::State, ordinal, rows);
                    scratch.clear_present(keys.ids.len());
                    let values = out.reserve(0, Kind::Values, keys.ids.len() * column.width());
                    let count = column.gather(&keys.ids, clocks, values, &mut scratch.present);
                    scratch.put_present(0, count, keys.ids.len(), out);
                }
                Column::Var(column, _) => {
                    out.begin(Group::State, ordinal, rows);
                    encode_var(column, keys, clocks, scratch, out);
                }
                Column::List(column, _) => {
                    out.begin(Group::State, ordinal, rows);
                    let lists = &mut scratch.lists;
                    column.gather(&keys.ids, clocks, lists);
                    out.copy(0, Kind::Offsets, &lists.lists);
                    if column.width().is_some() {
                        out.copy(1, Kind::Values, &lists.data);
                    } else {
                        out.copy(1, Kind::Offsets, &lists.items);
                        out.copy(1, Kind::Data, &lists.data);
                    }
                }
                Column::Map(column, _, widths) => {
                    let entries = &self.entries[state];
                    if !entries.is_empty() {
                        let asked =
                            (0..entries.len()).map(|at| (entries.keys[at], entries.entry(at)));
                        let source = (&*column, *widths, ordinal);
                        scratch.encode_entries(source, keys, clocks, asked, out);
                    }
                }
                Column::Operator(value, width) => {
                    out.begin(Group::State, ordinal, 1);
                    scratch.encode_one(value.as_deref(), *width, out);
                }
                Column::Broadcast(state, widths) => {
                    let told = state.told(self.is_new);
                    if !told.is_empty() {
                        out.begin(Group::State, ordinal, told.len() as u32);
                        let keys = told.iter().map(|(key, _)| Some(*key));
                        scratch.put_values(1, widths.key, keys, out);
                        let values = told.iter().map(|(_, value)| *value);
                        scratch.put_values(2, widths.value, values, out);
                    }
                }
            }
        }
    }

    /// Answers `state.get-many`: the entries that `asked` names, as (key index, map key).
    ///
    /// # Panics
    /// If the state is no map state; the boundary's decoder has refused that.
    pub fn encode_entries<'a>(
        &mut self,
        state: usize,
        (keys, clocks): (&BatchKeys, Clocks<'_>),
        asked: impl Iterator<Item = (u32, &'a [u8])> + Clone,
        out: &mut Encoder,
    ) {
        let Column::Map(column, _, widths) = &self.columns[state] else {
            panic!("the decoder knows which states are maps");
        };
        let source = (column, *widths, state as u16);
        self.scratch
            .encode_entries(source, keys, clocks, asked, out);
    }

    /// The map keys of all entries of the keys that `asked` names by their position in the batch,
    /// each key's in the order of their bytes: what `state.get-all` is about.
    ///
    /// # Panics
    /// If the state is no map state; the boundary's decoder has refused that.
    pub fn map_keys(
        &self,
        state: usize,
        (keys, clocks): (&BatchKeys, Clocks<'_>),
        asked: &[u32],
    ) -> Vec<(u32, Vec<u8>)> {
        let Column::Map(column, ttl, _) = &self.columns[state] else {
            panic!("the decoder knows which states are maps");
        };
        let of_key = |key: &u32| {
            let (key, at) = (*key, *key as usize);
            let entries = column.entries(keys.ids[at], clocks.of(*ttl, at));
            entries.map(move |(entry, _)| (key, entry.to_vec()))
        };
        asked.iter().flat_map(of_key).collect()
    }

    /// Applies what a call returned for the states that have no key.
    pub fn apply_unkeyed(&mut self, changes: &[StateChanges<'_>]) {
        for change in changes {
            match (change, &mut self.columns[state_of(change)]) {
                (StateChanges::Operator { value, .. }, Column::Operator(known, _)) => {
                    *known = value.map(<[u8]>::to_vec);
                }
                (
                    StateChanges::Broadcast {
                        count,
                        entries,
                        values,
                        ..
                    },
                    Column::Broadcast(known, _),
                ) => {
                    for at in 0..*count {
                        // The decoder refuses keys that are absent.
                        known.change(entries.get(at).unwrap_or_default(), values.get(at));
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether [`KeyedStates::sweep`] has anything to look for.
    pub fn expires(&self) -> bool {
        self.columns.iter().any(|column| column.ttl().is_some())
    }

    /// Applies what a call returned; the decoder has checked it. Counts the holds of each key.
    pub fn apply(
        &mut self,
        changes: &[StateChanges<'_>],
        clocks: Clocks<'_>,
        keys: &BatchKeys,
        index: &mut KeyIndex,
    ) {
        for change in changes {
            self.apply_one(change, clocks, keys, index);
            let (changed, cleared): (&[u32], &[u32]) = match *change {
                StateChanges::Value { keys, .. } | StateChanges::List { keys, .. } => (keys, &[]),
                StateChanges::Map { keys, cleared, .. } => (keys, cleared),
                StateChanges::Operator { .. } | StateChanges::Broadcast { .. } => (&[], &[]),
            };
            let changed = changed.iter().chain(cleared);
            index.touch_all(changed.map(|key| keys.ids[*key as usize]));
        }
    }

    fn apply_one(
        &mut self,
        change: &StateChanges<'_>,
        clocks: Clocks<'_>,
        keys: &BatchKeys,
        index: &mut KeyIndex,
    ) {
        match *change {
            StateChanges::Value {
                state,
                keys: at,
                values,
            } => match &mut self.columns[state] {
                Column::Fixed(column, _) => {
                    column.scatter(at, values, clocks, (keys, index));
                }
                Column::Var(column, _) => {
                    column.scatter(at, |i| values.get(i), clocks, (keys, index));
                }
                _ => unreachable!("the decoder knows the states' kinds"),
            },
            StateChanges::List {
                state,
                keys: at,
                drops,
                offsets,
                items,
            } => {
                if let Column::List(column, _) = &mut self.columns[state] {
                    let of_key = |i: usize| {
                        let range = offsets[i] as usize..offsets[i + 1] as usize;
                        range.filter_map(move |item| items.get(item))
                    };
                    column.scatter((at, drops), of_key, clocks, (keys, index));
                }
            }
            StateChanges::Map { state, .. } => {
                if let Column::Map(column, ..) = &mut self.columns[state] {
                    apply_map(column, change, clocks, keys, index);
                }
            }
            StateChanges::Operator { .. } | StateChanges::Broadcast { .. } => {
                self.apply_unkeyed(std::slice::from_ref(change));
            }
        }
    }

    /// Removes some of what has expired: looks at `count` ids of each state that has a TTL.
    /// Called between batches, it goes round all ids in slices.
    pub fn sweep(&mut self, count: u32, event: i64, processing: i64, index: &mut KeyIndex) {
        for (column, from) in self.columns.iter_mut().zip(&mut self.sweeps) {
            let clock = |ttl: &Option<Ttl>| {
                let is_event = |ttl: Ttl| ttl.time == wasmill_core::timer::TimeDomain::Event;
                ttl.map(|ttl| if is_event(ttl) { event } else { processing })
            };
            *from = match column {
                Column::Fixed(column, ttl) => {
                    clock(ttl).map_or(0, |clock| column.sweep(*from, count, clock, index))
                }
                Column::Var(column, ttl) => {
                    clock(ttl).map_or(0, |clock| column.sweep(*from, count, clock, index))
                }
                Column::List(column, ttl) => {
                    clock(ttl).map_or(0, |clock| column.sweep(*from, count, clock, index))
                }
                Column::Map(column, ttl, _) => {
                    clock(ttl).map_or(0, |clock| column.sweep(*from, count, clock, index))
                }
                Column::Operator(..) | Column::Broadcast(..) => 0,
            };
        }
    }

    /// Memory held by the values, in bytes, without the key index.
    pub fn bytes(&self) -> usize {
        let of = |column: &Column| match column {
            Column::Fixed(column, _) => column.bytes(),
            Column::Var(column, _) => column.bytes(),
            Column::List(column, _) => column.bytes(),
            Column::Map(column, ..) => column.bytes(),
            Column::Operator(value, _) => value.as_ref().map_or(0, Vec::capacity),
            Column::Broadcast(state, _) => state.bytes(),
        };
        self.columns.iter().map(of).sum()
    }
}

impl Column {
    fn new(state: &State) -> Self {
        let value = &state.value;
        let width = data_type::fixed_width(value.data_type(), value.is_nullable());
        match (state.kind, width) {
            (descriptor::Kind::List, _) => {
                let items_max = state.items_max.map_or(usize::MAX, |items| items as usize);
                Self::List(ListColumn::new(width, items_max, state.ttl), state.ttl)
            }
            (descriptor::Kind::Map, value) => {
                let key = state.key.as_ref();
                let key =
                    key.and_then(|key| data_type::fixed_width(key.data_type(), key.is_nullable()));
                Self::Map(MapColumn::new(state.ttl), state.ttl, Widths { key, value })
            }
            (descriptor::Kind::Operator, _) => Self::Operator(None, width),
            (descriptor::Kind::Broadcast, value) => {
                let key = state.key.as_ref();
                let key =
                    key.and_then(|key| data_type::fixed_width(key.data_type(), key.is_nullable()));
                Self::Broadcast(BroadcastState::default(), Widths { key, value })
            }
            (_, Some(width)) => Self::Fixed(FixedColumn::new(width, state.ttl), state.ttl),
            (_, None) => Self::Var(VarColumn::new(state.ttl), state.ttl),
        }
    }
}

fn encode_var(
    column: &VarColumn,
    keys: &BatchKeys,
    clocks: Clocks<'_>,
    scratch: &mut Scratch,
    out: &mut Encoder,
) {
    scratch.clear_present(keys.ids.len());
    scratch.offsets.clear();
    let (offsets, present) = (&mut scratch.offsets, &mut scratch.present);
    let (bytes, count) = column.measure(&keys.ids, clocks, offsets, present);
    out.copy(0, Kind::Offsets, &scratch.offsets);
    let data = out.reserve(0, Kind::Data, bytes);
    // The encoder has noticed a batch that is too large, and gives less room then.
    if data.len() == bytes {
        column.gather(&keys.ids, clocks, data);
    }
    scratch.put_present(0, count, keys.ids.len(), out);
}

fn apply_map(
    column: &mut MapColumn,
    change: &StateChanges<'_>,
    clocks: Clocks<'_>,
    batch: &BatchKeys,
    index: &mut KeyIndex,
) {
    let StateChanges::Map {
        cleared,
        keys,
        entries,
        values,
        ..
    } = change
    else {
        return;
    };
    for key in *cleared {
        column.clear(batch.ids[*key as usize], index);
    }
    for (i, key) in keys.iter().enumerate() {
        let id = batch.ids[*key as usize];
        // The decoder refuses map keys that are absent.
        let Some(entry) = entries.get(i) else {
            continue;
        };
        match values.get(i) {
            Some(value) => {
                if column.set(id, (entry, value), clocks, *key as usize) {
                    index.hold(id);
                }
            }
            None => column.remove(id, entry, index),
        }
    }
}

impl Scratch {
    fn clear_present(&mut self, len: usize) {
        self.present.clear();
        self.present.resize(len.div_ceil(8), 0);
    }

    /// Writes the presence bitmap of a column, unless all its values are present.
    fn put_present(&self, column: u32, count: usize, len: usize, out: &mut Encoder) {
        if count < len {
            out.copy(column, Kind::Validity, &self.present);
        }
    }

    /// One map section: key indexes, map keys, values.
    fn encode_entries<'a>(
        &mut self,
        (column, widths, ordinal): (&MapColumn, Widths, u16),
        keys: &BatchKeys,
        clocks: Clocks<'_>,
        asked: impl Iterator<Item = (u32, &'a [u8])> + Clone,
        out: &mut Encoder,
    ) {
        let indexes: Vec<u32> = asked.clone().map(|(key, _)| key).collect();
        out.begin(Group::State, ordinal, indexes.len() as u32);
        out.copy(0, Kind::Values, &indexes);
        self.put_values(
            1,
            widths.key,
            asked.clone().map(|(_, entry)| Some(entry)),
            out,
        );
        let values = asked
            .map(|(key, entry)| column.get(keys.ids[key as usize], entry, clocks, key as usize));
        self.put_values(2, widths.value, values, out);
    }

    fn encode_one(&mut self, value: Option<&[u8]>, width: Option<usize>, out: &mut Encoder) {
        self.put_values(0, width, std::iter::once(value), out);
    }

    /// A column of encoded values, each of which may be absent.
    fn put_values<'a>(
        &mut self,
        column: u32,
        width: Option<usize>,
        values: impl Iterator<Item = Option<&'a [u8]>>,
        out: &mut Encoder,
    ) {
        self.data.clear();
        self.offsets.clear();
        self.offsets.push(0);
        self.present.clear();
        let (mut count, mut len) = (0, 0);
        for value in values {
            if len % 8 == 0 {
                self.present.push(0);
            }
            super::put_bit(&mut self.present, len, value.is_some());
            len += 1;
            count += usize::from(value.is_some());
            match (value, width) {
                (Some(value), _) => self.data.extend_from_slice(value),
                (None, Some(width)) => self.data.resize(self.data.len() + width, 0),
                (None, None) => {}
            }
            let end = i32::try_from(self.data.len()).unwrap_or(i32::MAX);
            self.offsets.push(end);
        }
        match width {
            Some(_) => out.copy(column, Kind::Values, &self.data),
            None => {
                out.copy(column, Kind::Offsets, &self.offsets);
                out.copy(column, Kind::Data, &self.data);
            }
        }
        self.put_present(column, count, len, out);
    }
}

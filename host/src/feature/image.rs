//! What features remember, as of a barrier and back (`docs/formats/segment.md`).
//!
//! A key's memory is written by its parts, each under its definition and not under a feature's
//! name: the rows by time, the last rows, each feature's tiles, each weighted mean. So a feature
//! may be renamed, another one may join those that share its rows, and operators that share a
//! feature share what is stored. Rows and their columns are matched one by one; tiles and means
//! only where the whole definition is the same.

use arrow_schema::{DataType, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use wasmill_core::checkpoint::Segment;
use wasmill_core::data_type;
use wasmill_core::encoding;
use wasmill_core::feature::{Feature, Window};
use wasmill_core::key::KeyGroupRange;

use super::bytes::{Input, put};
use super::compute::KeyFeatures;
use super::reader::Slot;
use super::{FeatureSet, Plan, Source};
use crate::segment::{Address, Kind, Put, Reader, Row, SegmentError};
use crate::state::{self, CellsImage, KeyIndex, KeyRows, KeyedImage, KeysImage, RestoreError};

/// A part of a key's memory: its definition is the name that its rows have in a segment, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) enum Part {
    /// Rows by time, with these columns.
    RowsByTime(Vec<Column>),
    /// The last rows, with these columns.
    LastRows(Vec<Column>),
    /// A feature's tiles.
    Tiles(Definition),
    /// A weighted mean.
    Mean(Definition),
}

/// A column as rows keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Column {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) data_type: String,
    /// Each value as its encoding, and not as a number.
    pub(super) encoded: bool,
    /// Whether a number has 16 bytes instead of 8.
    pub(super) wide: bool,
}

/// What a feature computes over what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Definition {
    pub(super) aggregate: String,
    pub(super) column: Option<Column>,
    over_us: Option<i64>,
    rows: Option<u32>,
    pub(super) granularity_us: Option<i64>,
}

/// What is known of a plan's memory beside the plan itself: its parts, in the order in which they
/// are written.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts(Vec<(Part, Memory)>);

/// Where a part is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Timed,
    Arrived,
    /// The position among the tiles, and of the feature.
    Tiles(usize, usize),
    Mean(usize),
}

/// What the features of a task remember as of a barrier. It was taken on the slot and is encoded
/// elsewhere, while they go on.
#[derive(Debug)]
pub struct FeatureImage {
    plan: Plan,
    keys: KeysImage,
    cells: CellsImage<KeyFeatures>,
}

impl Parts {
    pub(super) fn new(plan: &Plan, schema: &Schema) -> Self {
        let columns = |slots: &[Slot]| {
            slots
                .iter()
                .map(|slot| Column::new(*slot, schema))
                .collect()
        };
        let mut parts = Vec::new();
        if plan.kept_us > 0 {
            parts.push((Part::RowsByTime(columns(&plan.timed)), Memory::Timed));
        }
        if plan.kept_rows > 0 {
            parts.push((Part::LastRows(columns(&plan.arrived)), Memory::Arrived));
        }
        for (at, (feature, source)) in plan.features.iter().zip(&plan.sources).enumerate() {
            match *source {
                Source::Tiles(tiles, slot) => {
                    let definition = Definition::new(feature, slot, schema);
                    parts.push((Part::Tiles(definition), Memory::Tiles(tiles, at)));
                }
                Source::Ewma(mean, slot) => {
                    let definition = Definition::new(feature, Some(slot), schema);
                    parts.push((Part::Mean(definition), Memory::Mean(mean)));
                }
                Source::Timed(_) | Source::Arrived(_) => {}
            }
        }
        Self(parts)
    }
}

impl Column {
    fn new(slot: Slot, schema: &Schema) -> Self {
        let field = schema.field(slot.column);
        Self {
            name: field.name().clone(),
            data_type: data_type::print(field.data_type(), field.is_nullable()),
            encoded: slot.is_encoded(),
            wide: slot.width() == 2,
        }
    }

    /// None if the type is none that there is.
    fn form(&self) -> Option<Form> {
        let (data_type, _) = data_type::parse(&self.data_type).ok()?;
        Some(Form {
            encoded: self.encoded.then_some(data_type),
            wide: self.wide,
        })
    }
}

/// How a column's values are written.
#[derive(Debug, Clone)]
pub(super) struct Form {
    /// Each value as its encoding, of this type.
    encoded: Option<DataType>,
    /// Two words a value instead of one.
    wide: bool,
}

/// A stored value.
pub(super) enum Stored<'a> {
    Words([u64; 2]),
    Encoded(&'a [u8]),
}

impl Form {
    /// The next value of the input.
    pub(super) fn read<'a>(&self, input: &mut Input<'a>) -> Option<Stored<'a>> {
        if let Some(data_type) = &self.encoded {
            let bytes = input.bytes()?;
            encoding::validate(data_type, false, bytes).ok()?;
            return Some(Stored::Encoded(bytes));
        }
        let low = input.word()?;
        let high = if self.wide { input.word()? } else { 0 };
        Some(Stored::Words([low, high]))
    }
}

impl Definition {
    fn new(feature: &Feature, slot: Option<Slot>, schema: &Schema) -> Self {
        let (over_us, rows) = match feature.window {
            Window::Over { us } => (Some(us), None),
            Window::Rows(rows) => (None, Some(rows)),
        };
        Self {
            aggregate: feature.aggregate.name().into(),
            column: slot.map(|slot| Column::new(slot, schema)),
            over_us,
            rows,
            granularity_us: feature.granularity_us,
        }
    }
}

impl FeatureSet {
    /// What is remembered now. Nothing is copied before it changes; `keys` is [`KeyIndex::image`]
    /// of the task's keys, taken at the same barrier.
    pub fn image(&mut self, keys: KeysImage) -> FeatureImage {
        FeatureImage {
            plan: self.plan.clone(),
            keys,
            cells: self.keys.image(),
        }
    }

    /// Takes up what a checkpoint remembers for the keys of some of the index's groups, before the
    /// first row. Features that it does not know begin empty; what nobody asks for any more is left
    /// out.
    ///
    /// # Errors
    /// If a segment is not what the format says.
    pub fn restore(
        &mut self,
        (segments, range): (&[Reader], KeyGroupRange),
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        let named = |of: &Address| Some((self.plan.place(of)?, of.name.clone()));
        let places = state::places(segments, named);
        state::restore(
            (segments, range),
            index,
            &places,
            |index, id, ((place, name), row)| {
                let not_whole = || RestoreError::Row {
                    kind: Kind::Feature.name(),
                    state: name.clone(),
                };
                self.restore_row(place, (id, row), index)
                    .ok_or_else(not_whole)
            },
        )
    }

    pub(super) fn restore_row(
        &mut self,
        place: &Place,
        (id, row): (u32, &Row<'_>),
        index: &mut KeyIndex,
    ) -> Option<()> {
        let mut input = Input::new(row.value?);
        let cell = self.keys.get_mut(id);
        if cell.prepare(&self.plan) {
            index.hold(id);
        }
        let plan = &self.plan;
        let done = match place {
            Place::Timed(columns) => cell.timed.restore(&plan.timed, columns, &mut input),
            Place::Arrived(columns) => cell.arrived.restore(&plan.arrived, columns, &mut input),
            Place::Tiles(tiles, feature, form) => {
                let feature = (&plan.features[*feature], plan.slot_of(*tiles));
                cell.tiles[*tiles].restore(feature, form.as_ref(), &mut input)
            }
            Place::Mean(mean) => cell.ewmas[*mean].restore(&mut input),
        };
        self.bytes = self.bytes.wrapping_add_signed(cell.growth());
        done.filter(|()| input.is_empty())
    }
}

/// Where the rows of an address belong: for rings each stored column's form, and its slot if there
/// is one.
#[derive(Debug)]
pub(super) enum Place {
    Timed(Vec<(Form, Option<usize>)>),
    Arrived(Vec<(Form, Option<usize>)>),
    Tiles(usize, usize, Option<Form>),
    Mean(usize),
}

impl Plan {
    pub(super) fn place(&self, of: &Address) -> Option<Place> {
        if of.kind != Kind::Feature {
            return None;
        }
        let stored: Part = serde_json::from_str(&of.name).ok()?;
        let columns = |stored: &[Column], own: &[Column]| {
            let slot = |column: &Column| own.iter().position(|known| known == column);
            let form = |column: &Column| Some((column.form()?, slot(column)));
            stored.iter().map(form).collect::<Option<_>>()
        };
        self.parts
            .0
            .iter()
            .find_map(|(own, memory)| match (own, &stored, memory) {
                (Part::RowsByTime(own), Part::RowsByTime(stored), _) => {
                    columns(stored, own).map(Place::Timed)
                }
                (Part::LastRows(own), Part::LastRows(stored), _) => {
                    columns(stored, own).map(Place::Arrived)
                }
                (Part::Tiles(own), Part::Tiles(stored), Memory::Tiles(tiles, feature))
                    if own == stored =>
                {
                    let form = stored.column.as_ref().and_then(Column::form);
                    Some(Place::Tiles(*tiles, *feature, form))
                }
                (own, stored, Memory::Mean(mean)) if own == stored => Some(Place::Mean(*mean)),
                _ => None,
            })
    }

    /// How tiles keep their values; none if they count rows.
    fn slot_of(&self, tiles: usize) -> Option<Slot> {
        self.sources.iter().find_map(|source| match source {
            Source::Tiles(at, slot) if *at == tiles => *slot,
            _ => None,
        })
    }
}

impl FeatureImage {
    /// Writes it down, as changes of `earlier` if it can, and gives those that still count: not on
    /// a slot.
    ///
    /// # Errors
    /// If what is remembered of one key is too large, or a segment is not taken.
    pub fn encode(self, earlier: &[Segment], put: Put<'_>) -> Result<Vec<Segment>, SegmentError> {
        state::encode(&self.keys, &[&self], earlier, put)
    }
}

impl KeyedImage for FeatureImage {
    fn addresses(&self) -> Vec<Address> {
        self.plan.addresses()
    }

    fn ids(&self, tell: &mut dyn FnMut(u32)) {
        let ids = 0..self.cells.capacity() as u32;
        let is_used = |id: &u32| self.cells.get(*id).is_some_and(KeyFeatures::is_used);
        ids.filter(is_used).for_each(tell);
    }

    fn write(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError> {
        match self.cells.get(id).filter(|cell| cell.is_used()) {
            Some(cell) => self.plan.write(cell, rows),
            None => Ok(()),
        }
    }
}

impl Plan {
    /// What the rows of [`Plan::write`] are about.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let parts = self.parts.0.iter();
        let address = |(part, _): &(Part, Memory)| Address {
            kind: Kind::Feature,
            name: serde_json::to_value(part).map_or_else(|_| String::new(), |json| text(&json)),
        };
        parts.map(address).collect()
    }

    /// Writes all that is remembered of a key.
    pub(super) fn write(
        &self,
        cell: &KeyFeatures,
        rows: &mut KeyRows<'_>,
    ) -> Result<(), SegmentError> {
        let mut out = Vec::with_capacity(cell.counted());
        let until = cell.until(self);
        for (address, (_, memory)) in self.parts.0.iter().enumerate() {
            out.clear();
            match *memory {
                Memory::Timed => cell.timed.write(&self.timed, &mut out),
                Memory::Arrived => cell.arrived.write(&self.arrived, &mut out),
                Memory::Tiles(tiles, _) => {
                    cell.tiles[tiles].write(self.slot_of(tiles), &mut out);
                }
                Memory::Mean(mean) => {
                    let mean = &cell.ewmas[mean];
                    put(&mut out, mean.weighted.to_bits());
                    put(&mut out, mean.weight.to_bits());
                    put(&mut out, mean.time as u64);
                }
            }
            until.into_iter().for_each(|clock| rows.until(clock));
            rows.push(address, None, Some(&out), None)?;
        }
        Ok(())
    }
}

/// JSON as one line.
fn text(json: &Json) -> String {
    json.to_string()
}

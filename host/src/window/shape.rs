//! Which accumulators an operator keeps, and how rows get into them.

use arrow_schema::DataType;
use wasmill_core::window::{Aggregate, Function};

use super::accumulator::{Accumulator, Kind, Overflow, Place};
use super::folded::Merges;
use super::value::Column;

/// The accumulators of a pane: the first counts its rows, and further aggregates that count rows
/// share it.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) slots: Vec<Slot>,
    /// The slot of each aggregate.
    pub(super) of: Vec<usize>,
    is_plain: bool,
}

/// One accumulator.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) kind: Kind,
    /// The column that it reads, by its position among those that the operator reads.
    pub(super) column: Option<usize>,
    /// Whether values of it may be null.
    pub(super) is_nullable: bool,
    /// That column's type.
    pub(super) data_type: Option<DataType>,
    /// What the values of a decimal column are divided by.
    pub(super) divisor: f64,
    /// The aggregate's name.
    pub(super) name: String,
    /// Where merges wait, if a plugin has to do them.
    pub(super) merges: Option<Merges>,
}

/// A sum that has left 128 bits, by its slot.
pub(super) type Overflown = usize;

impl Shape {
    pub(super) fn new(aggregates: &[Aggregate]) -> Self {
        let rows = Slot {
            kind: Kind {
                function: Function::Count,
                is_float: false,
            },
            column: None,
            is_nullable: false,
            data_type: None,
            divisor: 1.0,
            name: String::new(),
            merges: None,
        };
        let mut this = Self {
            slots: vec![rows],
            of: Vec::new(),
            is_plain: true,
        };
        // What plugins make of rows stands behind the columns that are read.
        let columns = aggregates.iter().flat_map(|aggregate| {
            let plugin = aggregate.plugin.iter().flat_map(|it| &it.columns);
            plugin.copied().flatten().chain(aggregate.column)
        });
        let mut next = columns.max().map_or(0, |last| last + 1);
        for aggregate in aggregates {
            if aggregate.function == Function::Plugin {
                // A merge is a call, which what a slide remembers saves.
                this.is_plain = false;
                this.of.push(this.slots.len());
                this.slots.push(Slot {
                    kind: Kind {
                        function: Function::Plugin,
                        is_float: false,
                    },
                    column: Some(next),
                    is_nullable: false,
                    data_type: None,
                    divisor: 1.0,
                    name: aggregate.name.clone(),
                    merges: Some(Merges::default()),
                });
                next += 1;
                continue;
            }
            if aggregate.column.is_none() {
                this.of.push(0);
                continue;
            }
            let data_type = aggregate.input.as_ref().map(|input| input.data_type());
            this.is_plain &= is_plain(aggregate.function, data_type);
            this.of.push(this.slots.len());
            this.slots.push(Slot {
                kind: Kind {
                    function: aggregate.function,
                    is_float: data_type.is_some_and(DataType::is_floating),
                },
                column: aggregate.column,
                is_nullable: aggregate.nullable,
                divisor: match data_type {
                    Some(DataType::Decimal128(_, scale)) => 10_f64.powi(i32::from(*scale)),
                    _ => 1.0,
                },
                data_type: data_type.cloned(),
                name: aggregate.name.clone(),
                merges: None,
            });
        }
        this
    }

    /// How many accumulators a pane has.
    pub(super) fn width(&self) -> usize {
        self.slots.len()
    }

    /// The accumulators of no rows.
    pub(super) fn empty(&self) -> impl Iterator<Item = Accumulator> {
        self.slots.iter().map(|slot| slot.kind.empty())
    }

    /// Whether all accumulators are a few words, which are merged in a moment.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether plugins compute some of them.
    pub(super) fn has_plugins(&self) -> bool {
        self.slots.iter().any(|slot| slot.merges.is_some())
    }

    /// Whether the place of each row matters.
    pub(super) fn needs_places(&self) -> bool {
        self.slots.iter().any(|slot| slot.kind.needs_place())
    }

    /// Adds a row.
    #[inline]
    pub(super) fn add(
        &self,
        accumulators: &mut [Accumulator],
        columns: &[Column<'_>],
        row: usize,
        place: impl Fn() -> Place,
    ) -> Result<(), Overflown> {
        for (at, (slot, accumulator)) in self.slots.iter().zip(accumulators).enumerate() {
            let Some(column) = slot.column.map(|column| &columns[column]) else {
                if let Accumulator::Count(count) = accumulator {
                    *count += 1;
                }
                continue;
            };
            if column.is_valid(row) {
                let added = accumulator.add(slot.kind, column, row, &place);
                added.map_err(|Overflow| at)?;
            }
        }
        Ok(())
    }

    /// Merges the accumulators of some panes, one pane behind the other, into what `out` gets: of
    /// one aggregate after the other, so that its total need not leave the processor.
    pub(super) fn merge_all(
        &self,
        panes: &[Accumulator],
        out: &mut Vec<Accumulator>,
    ) -> Result<(), Overflown> {
        let (first, rest) = panes.split_at(self.width());
        for (at, (slot, first)) in self.slots.iter().zip(first).enumerate() {
            let mut total = first.clone();
            for pane in rest.chunks_exact(self.width()) {
                let merged = total.merge(slot.kind, &pane[at]);
                merged.map_err(|Overflow| at)?;
            }
            out.push(total);
        }
        Ok(())
    }

    /// Adds what others hold.
    pub(super) fn merge(
        &self,
        into: &mut [Accumulator],
        from: &[Accumulator],
    ) -> Result<(), Overflown> {
        let both = into.iter_mut().zip(from).zip(&self.slots);
        for (at, ((into, from), slot)) in both.enumerate() {
            match (&slot.merges, &mut *into, from) {
                (Some(merges), Accumulator::Plugin(into), Accumulator::Plugin(from)) => {
                    merges.merge(into, from.as_ref());
                }
                _ => into.merge(slot.kind, from).map_err(|Overflow| at)?,
            }
        }
        Ok(())
    }
}

/// The number of rows that accumulators were made of.
#[inline]
pub(super) fn rows(accumulators: &[Accumulator]) -> u64 {
    match accumulators.first() {
        Some(Accumulator::Count(count)) => *count,
        _ => 0,
    }
}

fn is_plain(function: Function, of: Option<&DataType>) -> bool {
    match function {
        Function::Count | Function::Sum | Function::Mean => true,
        Function::Min | Function::Max => of.is_some_and(DataType::is_primitive),
        _ => false,
    }
}

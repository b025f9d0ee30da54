//! The rows that come of rows that meet.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use arrow_select::interleave::interleave;

use super::{JoinSpec, Match, RowAt, Rows, Side};
use crate::batch::Batch;
use crate::lineage::{Ancestor, Cause, Derived, JoinCause, Lineage};

/// A column of the rows that come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedColumn {
    /// Its name and type.
    pub field: Field,
    /// Where its values are.
    pub from: ColumnFrom,
}

/// Where a column's values are: a column of the rows of a side, as they reach the join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnFrom {
    /// In the row of this side; null where there is none.
    Side(Side, usize),
    /// In the left row, or else in the right one: they have the same value where both are there.
    Either(usize, usize),
}

/// Builds rows.
#[derive(Debug)]
pub(super) struct Output {
    operator: Arc<str>,
    schema: SchemaRef,
    columns: Vec<ColumnFrom>,
    is_timed: bool,
}

/// The batches of a side that some matches name, and which of them each row is in.
struct Used<'a> {
    batches: Vec<&'a Batch>,
    /// For each match, (batch, row).
    picks: Vec<Option<(usize, usize)>>,
}

impl Output {
    /// Rows of a join, which is an operator of this name.
    pub(super) fn new(operator: &str, spec: &JoinSpec) -> Self {
        let columns = spec.columns.iter();
        let fields: Vec<Field> = columns.map(|column| column.field.clone()).collect();
        Self {
            operator: operator.into(),
            schema: Arc::new(Schema::new(fields)),
            columns: spec.columns.iter().map(|column| column.from).collect(),
            is_timed: spec.kind.is_timed(),
        }
    }

    /// A row for each match.
    pub(super) fn build(&self, matches: &[Match], rows: &[Rows; 2]) -> Result<Batch, ArrowError> {
        let used = Side::BOTH.map(|side| Used::of(matches, &rows[side.index()], side));
        let columns = self.columns.iter().map(|from| column(*from, &used));
        let mut columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        for (column, field) in columns.iter_mut().zip(self.schema.fields()) {
            if column.is_empty() && !matches.is_empty() {
                // A side of which no row has come has no column to take nulls from.
                *column = new_null_array(field.data_type(), matches.len());
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(matches.len()));
        let built = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        let (times, clocks) = times(matches, &used, self.is_timed);
        Ok(Batch {
            times,
            clocks,
            ..Batch::new(built, self.lineage(matches, &used))
        })
    }

    /// Each row goes back to those that met.
    fn lineage(&self, matches: &[Match], used: &[Used<'_>; 2]) -> Lineage {
        let [left, right] = used;
        let lineages: Vec<&Lineage> = left
            .batches
            .iter()
            .chain(&right.batches)
            .map(|batch| &batch.lineage)
            .collect();
        let (mut picks, mut causes) = (Vec::new(), Vec::with_capacity(matches.len()));
        for (at, found) in matches.iter().enumerate() {
            let mut parent = |side: &Used<'_>, base: usize| {
                side.picks[at].map(|(batch, row)| {
                    picks.push((base + batch, row));
                    picks.len() as u32 - 1
                })
            };
            causes.push(Cause::Join(JoinCause {
                left: parent(left, 0),
                right: parent(right, left.batches.len()),
                ordinal: found.ordinal,
            }));
        }
        let derived = Derived {
            operator: self.operator.clone(),
            plugin: "".into(),
            parent: Lineage::gather(&lineages, &picks),
            causes,
        };
        Lineage::whole(Ancestor::Derived(Arc::new(derived)), matches.len())
    }
}

impl<'a> Used<'a> {
    fn of(matches: &[Match], rows: &'a Rows, side: Side) -> Self {
        let mut numbers = vec![usize::MAX; rows.places()];
        let mut batches = Vec::new();
        let mut pick = |row: RowAt| {
            let number = &mut numbers[rows.place(row)];
            if *number == usize::MAX {
                *number = batches.len();
                batches.push(rows.batch(row));
            }
            (*number, row.row as usize)
        };
        let picks = matches.iter();
        let picks = picks.map(|found| found.rows[side.index()].map(&mut pick));
        let picks = picks.collect();
        Self { batches, picks }
    }

    fn column(&self, at: usize) -> impl Iterator<Item = &'a dyn Array> {
        let batches = self.batches.iter();
        batches.map(move |batch| batch.rows.column(at).as_ref())
    }
}

/// For each match the batch and the row.
type Picks = Vec<Option<(usize, usize)>>;

/// The values of a column for each match; no values where no row has the column.
fn column(from: ColumnFrom, [left, right]: &[Used<'_>; 2]) -> Result<ArrayRef, ArrowError> {
    let (parts, picks): (Vec<&dyn Array>, Picks) = match from {
        ColumnFrom::Side(Side::Left, at) => (left.column(at).collect(), left.picks.clone()),
        ColumnFrom::Side(Side::Right, at) => (right.column(at).collect(), right.picks.clone()),
        ColumnFrom::Either(of_left, of_right) => {
            let base = left.batches.len();
            let both = left.picks.iter().zip(&right.picks);
            let either = both.map(|(left, right)| {
                left.or_else(|| right.map(|(batch, row)| (base + batch, row)))
            });
            let parts = left.column(of_left).chain(right.column(of_right));
            (parts.collect(), either.collect())
        }
    };
    let Some(first) = parts.first() else {
        return Ok(new_null_array(&arrow_schema::DataType::Null, 0));
    };
    let absent = new_null_array(first.data_type(), 1);
    let nowhere = (parts.len(), 0);
    let picks: Vec<_> = picks.iter().map(|pick| pick.unwrap_or(nowhere)).collect();
    let parts: Vec<&dyn Array> = parts.into_iter().chain([absent.as_ref()]).collect();
    interleave(&parts, &picks)
}

type Column = Option<ScalarBuffer<i64>>;

/// When each row happened: when it was certain, and nothing before that is to come. A lookup's rows
/// have the clocks of the left side, and no time where that has none.
fn times(matches: &[Match], [left, _]: &[Used<'_>; 2], is_timed: bool) -> (Column, Column) {
    if !is_timed && left.batches.iter().any(|batch| batch.times.is_none()) {
        return (None, None);
    }
    let times: ScalarBuffer<i64> = matches.iter().map(|found| found.time).collect();
    if is_timed {
        return (Some(times.clone()), Some(times));
    }
    let clock = |pick: &Option<(usize, usize)>| {
        let (batch, row) = (*pick)?;
        let clocks = left.batches[batch].clocks.as_ref()?;
        Some(clocks[row])
    };
    let clocks: Option<Vec<i64>> = left.picks.iter().map(clock).collect();
    (Some(times), clocks.map(Into::into))
}

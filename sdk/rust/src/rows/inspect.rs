//! Looking into rows under construction: tests key and group the rows they send.

use super::{Rows, Shape};
use crate::buffer::bit;

impl Rows {
    /// The columns of the first level.
    pub(crate) fn top_level(&self) -> Vec<usize> {
        let mut columns = Vec::new();
        let mut next = 0;
        while next < self.columns.len() {
            columns.push(next);
            next = self.behind(next);
        }
        columns
    }

    /// The shape of a column.
    pub(crate) fn shape(&self, column: usize) -> Shape {
        self.columns[column].shape
    }

    /// The bytes of one value of a column of plain values; none where it is null.
    pub(crate) fn value(&self, column: usize, row: usize) -> Option<&[u8]> {
        let column = &self.columns[column];
        if column.nulls > 0 && !bit(&column.validity, row) {
            return None;
        }
        match column.shape {
            Shape::Fixed(width) => Some(&column.values[row * width..(row + 1) * width]),
            Shape::Bits => Some(&[[0], [1]][usize::from(bit(&column.values, row))]),
            Shape::Bytes => Some(&column.values[column.end(row)..column.end(row + 1)]),
            Shape::List | Shape::Struct(_) => None,
        }
    }

    /// Adds a value of plain bytes, or null.
    pub(crate) fn push_value(&mut self, column: usize, value: Option<&[u8]>, nullable: bool) {
        match (self.columns[column].shape, value) {
            (_, None) => self.push_default(column),
            (Shape::Bits, Some(value)) => self.push_bool(column, value == [1]),
            (Shape::Bytes, Some(value)) => self.push_bytes(column, value),
            (_, Some(value)) => self.push_fixed(column, value),
        }
        if nullable {
            self.mark(column, value.is_some());
        }
    }

    /// The event times that the rows brought.
    pub(crate) fn times(&self) -> &[i64] {
        &self.times
    }
}

//! Building rows: columns that grow by a value a row and can be cut back.
//!
//! Columns are numbered depth first, as docs/formats/buffers.md has them: a list is followed by its
//! items' column, a struct by those of its fields. Values lie as they will cross the boundary, so
//! that laying them out is copying. A row that is refused after it has emitted is cut off again.

#[cfg(not(target_arch = "wasm32"))]
mod inspect;

use crate::arena::Put;
use crate::buffer::{bit, engine, kind};

/// How the values of a column lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many bytes each.
    Fixed(usize),
    /// One bit each.
    Bits,
    /// Bytes between offsets.
    Bytes,
    /// Items of the next column between offsets.
    List,
    /// The fields are the next columns, this many (with their own children).
    Struct(usize),
}

/// One column under construction.
#[derive(Debug)]
pub(crate) struct Column {
    shape: Shape,
    /// Values so far; those of a list's items are more than the rows of the list.
    rows: usize,
    /// How many of them are null; a bitmap crosses only if there is one.
    nulls: usize,
    /// A bit for each value of a nullable column, 1 = present.
    validity: Vec<u8>,
    /// The values, or the bytes or bits of them.
    values: Vec<u8>,
    /// Where each value ends; the zero in front is written when the column is laid out.
    offsets: Vec<u32>,
}

impl Column {
    fn new(shape: Shape) -> Self {
        Self {
            shape,
            rows: 0,
            nulls: 0,
            validity: Vec::new(),
            values: Vec::new(),
            offsets: Vec::new(),
        }
    }

    /// Lays the column's buffers out.
    fn put(&self, column: u32, put: &mut impl Put) {
        if self.nulls > 0 {
            put.copy(column, kind::VALIDITY, &self.validity);
        }
        match self.shape {
            Shape::Fixed(_) | Shape::Bits => put.copy(column, kind::VALUES, &self.values),
            Shape::Bytes => {
                self.put_offsets(column, put);
                put.copy(column, kind::DATA, &self.values);
            }
            Shape::List => self.put_offsets(column, put),
            Shape::Struct(_) => {}
        }
    }

    fn put_offsets(&self, column: u32, put: &mut impl Put) {
        put.buffer(column, kind::OFFSETS, (self.rows + 1) * 4, |out| {
            // The first offset, zero, is there already.
            out[4..].copy_from_slice(bytemuck::cast_slice(&self.offsets));
        });
    }

    /// Where the values (or items) of the first `rows` rows end.
    fn end(&self, rows: usize) -> usize {
        match rows {
            0 => 0,
            _ => self.offsets[rows - 1] as usize,
        }
    }
}

/// Sets or clears the bit of the last of `rows` rows.
#[inline]
fn push_bit(bits: &mut Vec<u8>, row: usize, value: bool) {
    if row.is_multiple_of(8) {
        bits.push(0);
    }
    bits[row / 8] |= u8::from(value) << (row % 8);
}

/// Cuts a bitmap back to `rows` bits.
fn cut_bits(bits: &mut Vec<u8>, rows: usize) {
    bits.truncate(rows.div_ceil(8));
    if !rows.is_multiple_of(8) {
        bits[rows / 8] &= (1 << (rows % 8)) - 1;
    }
}

/// Rows of one output (or, in tests, of one input) under construction.
#[derive(Debug, Default)]
pub struct Rows {
    columns: Vec<Column>,
    /// Rows that were ended.
    rows: usize,
    /// For each row the row or the timer change that caused it.
    causes: Vec<u32>,
    /// For each row its event time, if the row type says it; else empty.
    times: Vec<i64>,
    /// For each row what kind of change it is, if the row type says it; else empty.
    ops: Vec<u8>,
}

impl Rows {
    pub(crate) fn new(shapes: &[Shape]) -> Self {
        Self {
            columns: shapes.iter().copied().map(Column::new).collect(),
            ..Self::default()
        }
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Ends a row; every column has got its value.
    #[inline]
    pub(crate) fn end_row(&mut self, cause: u32) {
        self.causes.push(cause);
        self.rows += 1;
    }

    /// The cause of a row.
    pub(crate) fn cause(&self, row: usize) -> u32 {
        self.causes[row]
    }

    /// Adds the value of a fixed-width column.
    #[inline]
    pub fn push_fixed(&mut self, column: usize, value: &[u8]) {
        let column = &mut self.columns[column];
        column.values.extend_from_slice(value);
        column.rows += 1;
    }

    /// Adds a truth value.
    #[inline]
    pub fn push_bool(&mut self, column: usize, value: bool) {
        let column = &mut self.columns[column];
        push_bit(&mut column.values, column.rows, value);
        column.rows += 1;
    }

    /// Adds text or bytes.
    #[inline]
    pub fn push_bytes(&mut self, column: usize, value: &[u8]) {
        let column = &mut self.columns[column];
        column.values.extend_from_slice(value);
        column.offsets.push(column.values.len() as u32);
        column.rows += 1;
    }

    /// Ends a list: its items have been added to the next column.
    pub fn end_list(&mut self, column: usize) {
        let end = self.columns[column + 1].rows;
        let column = &mut self.columns[column];
        column.offsets.push(end as u32);
        column.rows += 1;
    }

    /// Ends a struct: its fields have been added.
    pub fn end_struct(&mut self, column: usize) {
        self.columns[column].rows += 1;
    }

    /// Says whether the value just added to a nullable column is there.
    #[inline]
    pub fn mark(&mut self, column: usize, present: bool) {
        let column = &mut self.columns[column];
        push_bit(&mut column.validity, column.rows - 1, present);
        column.nulls += usize::from(!present);
    }

    /// Adds a value that stands for null, to a column and its children.
    pub fn push_default(&mut self, column: usize) {
        match self.columns[column].shape {
            Shape::Fixed(width) => {
                let column = &mut self.columns[column];
                column.values.resize(column.values.len() + width, 0);
                column.rows += 1;
            }
            Shape::Bits => self.push_bool(column, false),
            Shape::Bytes => self.push_bytes(column, &[]),
            Shape::List => self.end_list(column),
            Shape::Struct(_) => {
                for child in self.children(column) {
                    self.push_default(child);
                }
                self.end_struct(column);
            }
        }
    }

    /// The fields of a struct column.
    fn children(&self, column: usize) -> Vec<usize> {
        let Shape::Struct(count) = self.columns[column].shape else {
            return Vec::new();
        };
        let mut children = Vec::with_capacity(count);
        let mut next = column + 1;
        for _ in 0..count {
            children.push(next);
            next = self.behind(next);
        }
        children
    }

    /// The column behind this one and its children.
    fn behind(&self, column: usize) -> usize {
        match self.columns[column].shape {
            Shape::Struct(_) => match self.children(column).last() {
                Some(last) => self.behind(*last),
                None => column + 1,
            },
            Shape::List => self.behind(column + 1),
            _ => column + 1,
        }
    }

    /// Sets the row's own event time.
    #[inline]
    pub fn push_time(&mut self, micros: i64) {
        self.times.push(micros);
    }

    /// Sets the kind of change that the row is.
    #[inline]
    pub fn push_op(&mut self, op: u8) {
        self.ops.push(op);
    }

    /// Cuts back to the first `rows` rows.
    pub(crate) fn truncate(&mut self, rows: usize) {
        let mut column = 0;
        while column < self.columns.len() {
            self.truncate_column(column, rows);
            column = self.behind(column);
        }
        self.rows = rows;
        self.causes.truncate(rows);
        self.times.truncate(rows);
        self.ops.truncate(rows);
    }

    fn truncate_column(&mut self, index: usize, rows: usize) {
        let column = &mut self.columns[index];
        if !column.validity.is_empty() {
            let kept = (0..rows).filter(|row| !bit(&column.validity, *row));
            column.nulls = kept.count();
            cut_bits(&mut column.validity, rows);
        }
        column.rows = rows;
        match column.shape {
            Shape::Fixed(width) => column.values.truncate(rows * width),
            Shape::Bits => cut_bits(&mut column.values, rows),
            Shape::Bytes => {
                let end = column.end(rows);
                column.values.truncate(end);
                column.offsets.truncate(rows);
            }
            Shape::List => {
                let end = column.end(rows);
                column.offsets.truncate(rows);
                self.truncate_column(index + 1, end);
            }
            Shape::Struct(_) => {
                for child in self.children(index) {
                    self.truncate_column(child, rows);
                }
            }
        }
    }

    /// Lays the rows out as one section; `caused` says whether causes cross, too.
    pub(crate) fn put(&self, group: u32, ordinal: u32, caused: bool, put: &mut impl Put) {
        if self.rows == 0 {
            return;
        }
        put.section(group, ordinal, self.rows);
        self.put_columns(put);
        if caused {
            put.copy(
                engine::CAUSE,
                kind::VALUES,
                bytemuck::cast_slice(&self.causes),
            );
        }
        if !self.times.is_empty() {
            put.copy(
                engine::TIME,
                kind::VALUES,
                bytemuck::cast_slice(&self.times),
            );
        }
        if !self.ops.is_empty() {
            put.copy(engine::OP, kind::VALUES, &self.ops);
        }
    }

    /// Lays out the columns alone.
    pub(crate) fn put_columns(&self, put: &mut impl Put) {
        for (number, column) in self.columns.iter().enumerate() {
            column.put(number as u32, put);
        }
    }
}

//! Lists in rows.

use super::Field;
use crate::Malformed;
use crate::buffer::{Binder, Offsets};
use crate::rows::{Rows, Shape};
use std::fmt;
use std::marker::PhantomData;

/// A list in a row: its items are read one by one, where they lie.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Row)]
/// struct Order<'a> {
///     prices: Items<'a, f64>,
/// }
/// let order = Order { prices: Items::from_slice(&[1.5, 2.0]) };
/// assert_eq!(order.prices.iter().sum::<f64>(), 3.5);
/// assert_eq!(order.prices.len(), 2);
/// ```
pub struct Items<'a, T: Field<'a>> {
    source: Source<'a, T>,
    first: usize,
    end: usize,
    items: PhantomData<fn() -> T>,
}

enum Source<'a, T: Field<'a>> {
    Column(T::Column),
    Slice(&'a [T]),
}

impl<'a, T: Field<'a> + Clone> Items<'a, T> {
    /// A list to emit.
    /// ```
    /// assert!(wasmill_sdk::Items::<u8>::from_slice(&[]).is_empty());
    /// ```
    pub fn from_slice(items: &'a [T]) -> Self {
        Self {
            source: Source::Slice(items),
            first: 0,
            end: items.len(),
            items: PhantomData,
        }
    }

    /// The number of items.
    /// ```
    /// assert_eq!(wasmill_sdk::Items::from_slice(&["a", "b"]).len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        self.end - self.first
    }

    /// Whether there is no item.
    /// ```
    /// assert!(!wasmill_sdk::Items::from_slice(&[true]).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at that position, if there is one.
    /// ```
    /// assert_eq!(wasmill_sdk::Items::from_slice(&[3u32]).get(1), None);
    /// ```
    pub fn get(&self, index: usize) -> Option<T> {
        let at = self.first + index;
        if at >= self.end {
            return None;
        }
        Some(match &self.source {
            Source::Column(column) => T::read(column, at),
            Source::Slice(items) => items[at].clone(),
        })
    }

    /// The items in their order.
    /// ```
    /// assert_eq!(wasmill_sdk::Items::from_slice(&[3i64, 4]).iter().max(), Some(4));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = T> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'a, T: Field<'a>> Clone for Items<'a, T> {
    fn clone(&self) -> Self {
        Self {
            source: match &self.source {
                Source::Column(column) => Source::Column(column.clone()),
                Source::Slice(items) => Source::Slice(items),
            },
            ..*self
        }
    }
}

impl<'a, T: Field<'a> + Clone + fmt::Debug> fmt::Debug for Items<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Field<'a> + Clone + PartialEq> PartialEq for Items<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// The column of a list.
#[doc(hidden)]
#[derive(Clone)]
pub struct ListColumn<'a, C> {
    offsets: Offsets<'a>,
    items: C,
}

impl<'a, T: Field<'a> + Clone> Field<'a> for Items<'a, T> {
    type Column = ListColumn<'a, T::Column>;
    const COLUMNS: usize = 1 + T::COLUMNS;

    fn type_text(text: &mut String) {
        text.push_str("list<");
        T::type_text(text);
        text.push('>');
    }

    fn shapes(shapes: &mut Vec<Shape>) {
        shapes.push(Shape::List);
        T::shapes(shapes);
    }

    fn bind(binder: &mut Binder<'a>) -> Result<Self::Column, Malformed> {
        let (column, rows) = (binder.take(), binder.rows());
        let offsets = binder.section().offsets(column, rows, None)?;
        let items = binder.nested(offsets.at(offsets.rows()), T::bind)?;
        Ok(ListColumn { offsets, items })
    }

    #[inline]
    fn read(column: &Self::Column, row: usize) -> Self {
        Self {
            first: column.offsets.at(row),
            end: column.offsets.at(row + 1),
            source: Source::Column(column.items.clone()),
            items: PhantomData,
        }
    }

    fn append(&self, rows: &mut Rows, column: usize) {
        for item in self.iter() {
            item.append(rows, column + 1);
        }
        rows.end_list(column);
    }
}

//! What can stand in a row, and how it lies in a column.

mod items;

pub use items::Items;

use crate::buffer::{Binder, Offsets, bit, engine, kind};
use crate::rows::{Rows, Shape};
use crate::{Date, Decimal, EventTime, Malformed, Timestamp};

/// A type that can be a field of a [`Row`](crate::Row): `bool`, integers, floats, [`Decimal`],
/// [`Date`], [`Timestamp`], `&str`, `&[u8]`, `[u8; N]`, `Option` of these (a nullable column),
/// [`Items`] (a list), a struct that derives `Row` (a struct column), and [`EventTime`].
///
/// Text and bytes are borrowed from the batch: reading a field copies nothing.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Row)]
/// struct Place<'a> {
///     country: &'a str,
///     city: Option<&'a str>,
/// }
///
/// #[derive(Row)]
/// struct Payment<'a> {
///     amount: Decimal<12, 2>,
///     card: [u8; 8],
///     place: Place<'a>,
///     tags: Items<'a, &'a str>,
///     at: EventTime,
/// }
/// # fn main() {}
/// ```
pub trait Field<'a>: Sized {
    #[doc(hidden)]
    type Column: Clone;

    /// How many column numbers it takes.
    #[doc(hidden)]
    const COLUMNS: usize;

    /// False for a field that the engine supplies beside the columns.
    #[doc(hidden)]
    const DECLARED: bool = true;

    #[doc(hidden)]
    fn type_text(text: &mut String);

    #[doc(hidden)]
    fn shapes(shapes: &mut Vec<Shape>);

    #[doc(hidden)]
    fn bind(binder: &mut Binder<'a>) -> Result<Self::Column, Malformed>;

    #[doc(hidden)]
    fn read(column: &Self::Column, row: usize) -> Self;

    #[doc(hidden)]
    fn append(&self, rows: &mut Rows, column: usize);

    #[doc(hidden)]
    fn wants_time() -> bool {
        false
    }
}

macro_rules! plain {
    ($($type:ty, $width:literal, $text:literal;)*) => { $(
        impl<'a> Field<'a> for $type {
            type Column = &'a [[u8; $width]];
            const COLUMNS: usize = 1;

            fn type_text(text: &mut String) {
                text.push_str($text);
            }

            fn shapes(shapes: &mut Vec<Shape>) {
                shapes.push(Shape::Fixed($width));
            }

            fn bind(binder: &mut Binder<'a>) -> Result<Self::Column, Malformed> {
                let column = binder.take();
                binder.section().fixed(column, binder.rows())
            }

            #[inline]
            fn read(column: &Self::Column, row: usize) -> Self {
                Self::from_le_bytes(column[row])
            }

            #[inline]
            fn append(&self, rows: &mut Rows, column: usize) {
                rows.push_fixed(column, &self.to_le_bytes());
            }
        }
    )* };
}

plain! {
    i8, 1, "i8"; i16, 2, "i16"; i32, 4, "i32"; i64, 8, "i64";
    u8, 1, "u8"; u16, 2, "u16"; u32, 4, "u32"; u64, 8, "u64";
    f32, 4, "f32"; f64, 8, "f64";
}

/// A type whose column is that of another one.
macro_rules! through {
    ($type:ty, $inner:ty, $text:literal, $to:expr, $from:expr) => {
        impl<'a> Field<'a> for $type {
            type Column = <$inner as Field<'a>>::Column;
            const COLUMNS: usize = 1;

            fn type_text(text: &mut String) {
                text.push_str($text);
            }

            fn shapes(shapes: &mut Vec<Shape>) {
                <$inner as Field<'a>>::shapes(shapes);
            }

            fn bind(binder: &mut Binder<'a>) -> Result<Self::Column, Malformed> {
                <$inner as Field<'a>>::bind(binder)
            }

            #[inline]
            fn read(column: &Self::Column, row: usize) -> Self {
                $from(<$inner as Field<'a>>::read(column, row))
            }

            #[inline]
            fn append(&self, rows: &mut Rows, column: usize) {
                Field::append(&$to(*self), rows, column);
            }
        }
    };
}

through!(Date, i32, "date", Date::as_days, Date::from_days);
through!(
    Timestamp,
    i64,
    "timestamp",
    Timestamp::as_micros,
    Timestamp::from_micros
);

impl<'a, const P: u8, const S: u8> Field<'a> for Decimal<P, S> {
    type Column = &'a [[u8; 16]];
    const COLUMNS: usize = 1;

    fn type_text(text: &mut String) {
        text.push_str(&format!("decimal({P},{S})"));
    }

    fn shapes(shapes: &mut Vec<Shape>) {
        shapes.push(Shape::Fixed(16));
    }

    fn bind(binder: &mut Binder<'a>) -> Result<Self::Column, Malformed> {
        let column = binder.take();
        binder.section().fixed(column, binder.rows())
    }

    #[inline]
    fn read(column: &Self::Column, row: usize) -> Self {
        let unscaled = i128::from_le_bytes(column[row]);
        Self::from_unscaled(unscaled).expect("the engine sends no decimal beyond its precision")
    }

    #[inline]
    fn append(&self, rows: &mut Rows, column: usize) {
        rows.push_fixed(column, &self.unscaled().to_le_bytes());
    }
}

impl<'a, const N: usize> Field<'a> for [u8; N] {
    type Column = &'a [[u8; N]];
    const COLUMNS: usize = 1;

    fn type_text(text: &mut String) {
        text.push_str(&format!("bytes({N})"));
    }

    fn shapes(shapes: &mut Vec<Shape>) {
        shapes.push(Shape::Fixed(N));
    }

    fn bind(binder: &mut Binder<'a>) -> Result<Self::Column, Malformed> {
        let column = binder.take();
        binder.section().fixed(column, binder.rows())
    }

    #[inline]
    fn read(column: &Self::Column, row: usize) -> Self {
        column[row]
    }

    #[inline]
    fn append(&self, rows: &mut Rows, column: usize) {
        rows.push_fixed(column, self);
    }
}

impl<'a> Field<'a> for bool {
    type Column = &'a [u8];
    const COLUMNS: usize = 1;

    fn type_text(text: &mut String) {
        text.push_str("bool");
    }

    fn shapes(shapes: &mut Vec<Shape>) {
        shapes.push(Shape::Bits);
    }

    fn bind(binder: &mut Binder<'a>) -> Result<Self::Column, Malformed> {
        let (column, rows) = (binder.take(), binder.rows());
        let bits = binder.section().bitmap(column, kind::VALUES, rows)?;
        match bits {
            None if rows > 0 => Err(binder.section().malformed(column, "no values")),
            bits => Ok(bits.unwrap_or_default()),
        }
    }

    #[inline]
    fn read(column: &Self::Column, row: usize) -> Self {
        bit(column, row)
    }

    #[inline]
    fn append(&self, rows: &mut Rows, column: usize) {
        rows.push_bool(column, *self);
    }
}

/// A column of text or bytes: `T` is `str` or `[u8]`.
#[doc(hidden)]
pub struct Ranges<'a, T: ?Sized> {
    offsets: Offsets<'a>,
    data: &'a T,
}

impl<T: ?Sized> Clone for Ranges<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Ranges<'_, T> {}

fn bind_bytes<'a>(binder: &mut Binder<'a>) -> Result<Ranges<'a, [u8]>, Malformed> {
    let (column, rows) = (binder.take(), binder.rows());
    let data = binder.section().bytes_of(column, kind::DATA)?;
    let offsets = binder.section().offsets(column, rows, Some(data.len()))?;
    Ok(Ranges { offsets, data })
}

impl<'a> Field<'a> for &'a [u8] {
    type Column = Ranges<'a, [u8]>;
    const COLUMNS: usize = 1;

    fn type_text(text: &mut String) {
        text.push_str("bytes");
    }

    fn shapes(shapes: &mut Vec<Shape>) {
        shapes.push(Shape::Bytes);
    }

    fn bind(binder: &mut Binder<'a>) -> Result<Self::Column, Malformed> {
        bind_bytes(binder)
    }

    #[inline]
    fn read(column: &Self::Column, row: usize) -> Self {
        &column.data[column.offsets.at(row)..column.offsets.at(row + 1)]
    }

    #[inline]
    fn append(&self, rows: &mut Rows, column: usize) {
        rows.push_bytes(column, self);
    }
}

impl<'a> Field<'a> for &'a str {
    type Column = Ranges<'a, str>;
    const COLUMNS: usize = 1;

    fn type_text(text: &mut String) {
        text.push_str("string");
    }

    fn shapes(shapes: &mut Vec<Shape>) {
        shapes.push(Shape::Bytes);
    }

    /// Checks the text of the whole column at once; a row then only checks its two ends.
    fn bind(binder: &mut Binder<'a>) -> Result<Self::Column, Malformed> {
        let column = binder.peek();
        let Ranges { offsets, data } = bind_bytes(binder)?;
        let not_text = || binder.section().malformed(column, "text that is not UTF-8");
        let data = std::str::from_utf8(data).map_err(|_| not_text())?;
        Ok(Ranges { offsets, data })
    }

    #[inline]
    fn read(column: &Self::Column, row: usize) -> Self {
        &column.data[column.offsets.at(row)..column.offsets.at(row + 1)]
    }

    #[inline]
    fn append(&self, rows: &mut Rows, column: usize) {
        rows.push_bytes(column, self.as_bytes());
    }
}

/// A nullable column.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Nullable<'a, C> {
    validity: Option<&'a [u8]>,
    column: C,
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    type Column = Nullable<'a, T::Column>;
    const COLUMNS: usize = T::COLUMNS;

    fn type_text(text: &mut String) {
        T::type_text(text);
        text.push('?');
    }

    fn shapes(shapes: &mut Vec<Shape>) {
        T::shapes(shapes);
    }

    fn bind(binder: &mut Binder<'a>) -> Result<Self::Column, Malformed> {
        let (column, rows) = (binder.peek(), binder.rows());
        let validity = binder.section().bitmap(column, kind::VALIDITY, rows)?;
        let column = T::bind(binder)?;
        Ok(Nullable { validity, column })
    }

    #[inline]
    fn read(column: &Self::Column, row: usize) -> Self {
        match column.validity {
            Some(bits) if !bit(bits, row) => None,
            _ => Some(T::read(&column.column, row)),
        }
    }

    #[inline]
    fn append(&self, rows: &mut Rows, column: usize) {
        match self {
            Some(value) => value.append(rows, column),
            None => rows.push_default(column),
        }
        rows.mark(column, self.is_some());
    }
}

impl<'a> Field<'a> for EventTime {
    type Column = &'a [[u8; 8]];
    const COLUMNS: usize = 0;
    const DECLARED: bool = false;

    fn type_text(_text: &mut String) {}

    fn shapes(_shapes: &mut Vec<Shape>) {}

    fn bind(binder: &mut Binder<'a>) -> Result<Self::Column, Malformed> {
        binder.section().fixed(engine::TIME, binder.rows())
    }

    #[inline]
    fn read(column: &Self::Column, row: usize) -> Self {
        Self(Timestamp::from_micros(i64::from_le_bytes(column[row])))
    }

    #[inline]
    fn append(&self, rows: &mut Rows, _column: usize) {
        rows.push_time(self.0.as_micros());
    }

    fn wants_time() -> bool {
        true
    }
}

//! The state encoding: how a value lies in the bytes that the host keeps.
//! The byte-level format is docs/formats/state.md.

use crate::{Date, Decimal, Malformed, Timestamp};

/// Takes encoded bytes.
pub trait Sink {
    /// Adds bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Writes over a place whose size is known.
pub(crate) struct Place<'a>(pub(crate) &'a mut [u8]);

impl Sink for Place<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let place = std::mem::take(&mut self.0);
        let (here, rest) = place.split_at_mut(bytes.len());
        here.copy_from_slice(bytes);
        self.0 = rest;
    }
}

/// A value that can be encoded. Borrowed forms (`str` for `String`) encode as what they borrow
/// from, so that a map can be asked without an allocation.
/// ```
/// use wasmill_sdk::{Encode, testing};
///
/// fn same<T: Encode + ?Sized>(_: &T) {}
/// same("kiosk");
/// assert_eq!(testing::encode(&"kiosk".to_owned())[..4], [5, 0, 0, 0], "the length comes first");
/// ```
pub trait Encode {
    #[doc(hidden)]
    fn encode(&self, sink: &mut impl Sink);
}

/// A value that wasmill can keep: derive it for structs of such values.
///
/// Numbers, `bool`, [`Decimal`], [`Date`], [`Timestamp`], `[u8; N]` and structs of them are of
/// fixed width: reading and writing one is a few loads and stores. `String`, `Vec<T>` and
/// `Option<T>` vary in width. The encoding is the same in every language, so that state outlives a
/// rewrite.
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(State, Default, Clone, Debug, PartialEq)]
/// struct History {
///     count: u64,
///     sum: f64,
/// }
/// let history = History { count: 2, sum: 1.5 };
/// let bytes = wasmill_sdk::testing::encode(&history);
/// assert_eq!(bytes.len(), 16);
/// assert_eq!(wasmill_sdk::testing::decode::<History>(&bytes), Ok(history));
/// ```
pub trait State: Encode + Sized + 'static {
    #[doc(hidden)]
    const WIDTH: Option<usize>;

    #[doc(hidden)]
    fn type_text(text: &mut String);

    #[doc(hidden)]
    fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed>;
}

/// The bytes of a value.
pub(crate) fn encode<T: Encode + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

/// The value of these bytes, all of them.
#[inline]
pub(crate) fn decode<T: State>(mut bytes: &[u8]) -> Result<T, Malformed> {
    let value = T::decode(&mut bytes)?;
    match bytes {
        [] => Ok(value),
        _ => Err(Malformed::new("bytes left over behind a value")),
    }
}

#[inline]
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
    match bytes.split_first_chunk::<N>() {
        Some((chunk, rest)) => {
            *bytes = rest;
            Ok(*chunk)
        }
        None => Err(Malformed::new("a value that ends too early")),
    }
}

/// A sum of widths that is known only if all are.
#[doc(hidden)]
pub const fn width_sum(widths: &[Option<usize>]) -> Option<usize> {
    let mut sum = 0;
    let mut index = 0;
    while index < widths.len() {
        match widths[index] {
            Some(width) => sum += width,
            None => return None,
        }
        index += 1;
    }
    Some(sum)
}

macro_rules! plain {
    ($($type:ty, $text:literal;)*) => { $(
        impl Encode for $type {
            #[inline]
            fn encode(&self, sink: &mut impl Sink) {
                sink.put(&self.to_le_bytes());
            }
        }

        impl State for $type {
            const WIDTH: Option<usize> = Some(size_of::<$type>());

            fn type_text(text: &mut String) {
                text.push_str($text);
            }

            #[inline]
            fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
                Ok(Self::from_le_bytes(take(bytes)?))
            }
        }
    )* };
}

plain! {
    i8, "i8"; i16, "i16"; i32, "i32"; i64, "i64";
    u8, "u8"; u16, "u16"; u32, "u32"; u64, "u64";
}

macro_rules! float {
    ($type:ty, $text:literal) => {
        impl Encode for $type {
            /// Every NaN is the same one, so that equal states have equal bytes.
            #[inline]
            fn encode(&self, sink: &mut impl Sink) {
                let value = if self.is_nan() { <$type>::NAN } else { *self };
                sink.put(&value.to_le_bytes());
            }
        }

        impl State for $type {
            const WIDTH: Option<usize> = Some(size_of::<$type>());

            fn type_text(text: &mut String) {
                text.push_str($text);
            }

            #[inline]
            fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
                Ok(Self::from_le_bytes(take(bytes)?))
            }
        }
    };
}

float!(f32, "f32");
float!(f64, "f64");

/// A type that is encoded as another one.
macro_rules! through {
    ($type:ty, $inner:ty, $text:literal, $to:expr, $from:expr) => {
        impl Encode for $type {
            #[inline]
            fn encode(&self, sink: &mut impl Sink) {
                let to: fn($type) -> $inner = $to;
                to(*self).encode(sink);
            }
        }

        impl State for $type {
            const WIDTH: Option<usize> = <$inner as State>::WIDTH;

            fn type_text(text: &mut String) {
                text.push_str($text);
            }

            #[inline]
            fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
                let from: fn($inner) -> Result<$type, Malformed> = $from;
                from(<$inner>::decode(bytes)?)
            }
        }
    };
}

through!(bool, u8, "bool", u8::from, |byte| match byte {
    0 => Ok(false),
    1 => Ok(true),
    _ => Err(Malformed::new("a truth value other than 0 and 1")),
});
through!(Date, i32, "date", Date::as_days, |days| Ok(
    Date::from_days(days)
));
through!(
    Timestamp,
    i64,
    "timestamp",
    Timestamp::as_micros,
    |micros| { Ok(Timestamp::from_micros(micros)) }
);

impl<const P: u8, const S: u8> Encode for Decimal<P, S> {
    #[inline]
    fn encode(&self, sink: &mut impl Sink) {
        sink.put(&self.unscaled().to_le_bytes());
    }
}

impl<const P: u8, const S: u8> State for Decimal<P, S> {
    const WIDTH: Option<usize> = Some(16);

    fn type_text(text: &mut String) {
        text.push_str(&format!("decimal({P},{S})"));
    }

    #[inline]
    fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let unscaled = i128::from_le_bytes(take(bytes)?);
        Self::from_unscaled(unscaled)
            .ok_or_else(|| Malformed::new("a decimal beyond its precision"))
    }
}

impl<const N: usize> Encode for [u8; N] {
    #[inline]
    fn encode(&self, sink: &mut impl Sink) {
        sink.put(self);
    }
}

impl<const N: usize> State for [u8; N] {
    const WIDTH: Option<usize> = Some(N);

    fn type_text(text: &mut String) {
        text.push_str(&format!("bytes({N})"));
    }

    #[inline]
    fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        take(bytes)
    }
}

/// The length in front of text, bytes and lists.
fn put_len(len: usize, sink: &mut impl Sink) {
    let len = u32::try_from(len).expect("a value of more than 4 GiB does not fit in this memory");
    sink.put(&len.to_le_bytes());
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = u32::decode(bytes)? as usize;
    match bytes.split_at_checked(len) {
        Some((taken, rest)) => {
            *bytes = rest;
            Ok(taken)
        }
        None => Err(Malformed::new("a length that runs past the end")),
    }
}

impl Encode for str {
    fn encode(&self, sink: &mut impl Sink) {
        put_len(self.len(), sink);
        sink.put(self.as_bytes());
    }
}

impl Encode for String {
    fn encode(&self, sink: &mut impl Sink) {
        self.as_str().encode(sink);
    }
}

impl State for String {
    const WIDTH: Option<usize> = None;

    fn type_text(text: &mut String) {
        text.push_str("string");
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(take_bytes(bytes)?);
        let text = text.map_err(|_| Malformed::new("text that is not UTF-8"))?;
        Ok(text.to_owned())
    }
}

impl Encode for [u8] {
    fn encode(&self, sink: &mut impl Sink) {
        put_len(self.len(), sink);
        sink.put(self);
    }
}

impl Encode for Box<[u8]> {
    fn encode(&self, sink: &mut impl Sink) {
        self.as_ref().encode(sink);
    }
}

impl State for Box<[u8]> {
    const WIDTH: Option<usize> = None;

    fn type_text(text: &mut String) {
        text.push_str("bytes");
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(take_bytes(bytes)?.into())
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, sink: &mut impl Sink) {
        put_len(self.len(), sink);
        for item in self {
            item.encode(sink);
        }
    }
}

impl<T: State> State for Vec<T> {
    const WIDTH: Option<usize> = None;

    fn type_text(text: &mut String) {
        text.push_str("list<");
        T::type_text(text);
        text.push('>');
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let len = u32::decode(bytes)? as usize;
        // The length is not trusted: no more is set aside than the bytes can hold.
        let mut items = Self::with_capacity(len.min(bytes.len()));
        for _ in 0..len {
            items.push(T::decode(bytes)?);
        }
        Ok(items)
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, sink: &mut impl Sink) {
        match self {
            None => sink.put(&[0]),
            Some(value) => {
                sink.put(&[1]);
                value.encode(sink);
            }
        }
    }
}

impl<T: State> State for Option<T> {
    const WIDTH: Option<usize> = None;

    fn type_text(text: &mut String) {
        T::type_text(text);
        text.push('?');
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        match bool::decode(bytes)? {
            false => Ok(None),
            true => Ok(Some(T::decode(bytes)?)),
        }
    }
}

/// Several key columns, one after the other.
macro_rules! tuple {
    ($($name:ident $index:tt),*) => {
        impl<$($name: Encode),*> Encode for ($($name,)*) {
            fn encode(&self, sink: &mut impl Sink) {
                $(self.$index.encode(sink);)*
            }
        }
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);

impl<T: Encode + ?Sized> Encode for &T {
    #[inline]
    fn encode(&self, sink: &mut impl Sink) {
        (**self).encode(sink);
    }
}

/// No key column at all.
impl Encode for () {
    fn encode(&self, _sink: &mut impl Sink) {}
}

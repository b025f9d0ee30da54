//! State of an older version becomes state of this one.
//!
//! A migration is declared at a field of the struct of states, `#[state(migrate(from = …, with =
//! …))]`; what is here runs it, in a component and in tests alike.

use crate::encode::decode;
use crate::row::type_of_state;
use crate::states::Handle;
use crate::{Aggregate, Aggregating, List, Malformed, Map, OperatorState, Reducing};
use crate::{State, States, Value};
use serde_json::{Value as Json, json};

/// Byte strings, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteStrings {
    pub ends: Vec<u32>,
    pub bytes: Vec<u8>,
}

impl ByteStrings {
    fn get(&self, at: usize) -> Option<&[u8]> {
        let end = *self.ends.get(at)? as usize;
        let start = match at {
            0 => 0,
            at => self.ends[at - 1] as usize,
        };
        self.bytes.get(start..end)
    }

    /// Ends the byte string whose bytes have been added.
    fn end(&mut self) {
        let end = u32::try_from(self.bytes.len());
        self.ends
            .push(end.expect("values of more than 4 GiB do not fit in this memory"));
    }
}

/// Values on their way in. The keys that they belong to are the host's business.
#[derive(Clone, Debug, Default)]
pub struct OldValues {
    pub entries: ByteStrings,
    pub values: ByteStrings,
}

/// Values on their way out.
#[derive(Clone, Debug, Default)]
pub struct NewValues {
    pub dropped: Vec<u32>,
    pub entries: ByteStrings,
    pub values: ByteStrings,
}

/// Where the bytes of one migrated value go.
#[derive(Debug)]
pub struct NewValue<'a> {
    entry: &'a mut Vec<u8>,
    value: &'a mut Vec<u8>,
}

/// A kind of state that can be brought from an older type to its own: a value, an accumulator, a
/// list's items, and a map's entries as pairs of key and value.
pub trait Migrates<Old>: Handle {
    /// What a migration makes of an old value.
    type New;

    /// The older type, as the descriptor has it.
    fn older() -> Json;

    /// Whether the value is kept.
    fn migrate(
        with: impl FnOnce(Old) -> Option<Self::New>,
        old: (&[u8], &[u8]),
        new: &mut NewValue<'_>,
    ) -> Result<bool, Malformed>;
}

/// Kinds whose values stand alone.
macro_rules! migrates {
    ($($parameter:ident: $bound:ident, $kind:ty, $new:ty;)*) => { $(
        impl<$parameter: $bound, Old: State> Migrates<Old> for $kind {
            type New = $new;

            fn older() -> Json {
                json!({ "type": type_of_state::<Old>() })
            }

            fn migrate(
                with: impl FnOnce(Old) -> Option<$new>,
                old: (&[u8], &[u8]),
                new: &mut NewValue<'_>,
            ) -> Result<bool, Malformed> {
                value(with, old, new)
            }
        }
    )* };
}

migrates! {
    T: State, Value<T>, T;
    T: State, List<T>, T;
    T: State, Reducing<T>, T;
    T: State, OperatorState<T>, T;
    A: Aggregate, Aggregating<A>, A::Accumulator;
}

fn value<T: State, Old: State>(
    with: impl FnOnce(Old) -> Option<T>,
    (_, old): (&[u8], &[u8]),
    new: &mut NewValue<'_>,
) -> Result<bool, Malformed> {
    let migrated = with(decode(old)?);
    if let Some(value) = &migrated {
        value.encode(new.value);
    }
    Ok(migrated.is_some())
}

impl<K: State, V: State, OldK: State, OldV: State> Migrates<(OldK, OldV)> for Map<K, V> {
    type New = (K, V);

    fn older() -> Json {
        json!({ "key": type_of_state::<OldK>(), "type": type_of_state::<OldV>() })
    }

    fn migrate(
        with: impl FnOnce((OldK, OldV)) -> Option<(K, V)>,
        (entry, value): (&[u8], &[u8]),
        new: &mut NewValue<'_>,
    ) -> Result<bool, Malformed> {
        let migrated = with((decode(entry)?, decode(value)?));
        if let Some((key, value)) = &migrated {
            key.encode(new.entry);
            value.encode(new.value);
        }
        Ok(migrated.is_some())
    }
}

/// The error of a migration that the descriptor does not offer.
pub fn unknown_migration() -> Malformed {
    Malformed::new("there is no such migration")
}

/// Migrates values; `at` is told the position of each before it is.
///
/// # Errors
/// The position of the value that could not be read, and why not.
pub fn migrate_values<S: States>(
    (state, migration): (u32, u32),
    old: &OldValues,
    at: impl Fn(u32),
) -> Result<NewValues, (u32, Malformed)> {
    let mut new = NewValues::default();
    for position in 0..old.values.ends.len() {
        let number = position as u32;
        at(number);
        let missing = || {
            (
                number,
                Malformed::new("byte strings that end beyond their bytes"),
            )
        };
        let has_entries = !old.entries.ends.is_empty();
        let entry = match has_entries {
            true => old.entries.get(position).ok_or_else(missing)?,
            false => &[],
        };
        let value = old.values.get(position).ok_or_else(missing)?;
        let mut into = NewValue {
            entry: &mut new.entries.bytes,
            value: &mut new.values.bytes,
        };
        let kept = S::migrate((state, migration), (entry, value), &mut into);
        if !kept.map_err(|malformed| (number, malformed))? {
            new.dropped.push(number);
        }
        if has_entries {
            new.entries.end();
        }
        new.values.end();
    }
    Ok(new)
}

//! Migrations under test.

use super::{Harness, decode, encode};
use crate::migration::{self, ByteStrings, OldValues};
use crate::row::type_of_state;
use crate::{Malformed, Operator, State, States};
use serde_json::{Value as Json, json};

/// The bytes of a map's key and of a value.
type Bytes = (Vec<u8>, Vec<u8>);

impl<Op: Operator> Harness<Op> {
    /// What becomes of a stored value of an older type: the migration that the state declares for
    /// it, by the very bytes. Of a list it is an item. None: the value is dropped.
    ///
    /// # Errors
    /// If the new value does not decode as what the test takes it for.
    ///
    /// # Panics
    /// If the state declares no migration from that type; and if the migration itself does.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row)] struct Visit { user: u64 }
    /// # struct Visits;
    /// # impl Operator for Visits {
    /// #     const PLUGIN: Plugin = plugin!("visits");
    /// #     type Config = (); type Input<'a> = Visit; type Output<'a> = ();
    /// #     type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, _: Visit, _: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// #[derive(States)]
    /// struct Memory {
    ///     #[state(migrate(from = u32, with = |count: u32| Some(count.into())))]
    ///     visits: Value<u64>,
    /// }
    ///
    /// let visits: Option<u64> = Harness::<Visits>::migrate("visits", &7_u32)?;
    /// assert_eq!(visits, Some(7));
    /// # Ok::<(), wasmill_sdk::Malformed>(())
    /// ```
    #[track_caller]
    pub fn migrate<Old: State, New: State>(
        state: &str,
        old: &Old,
    ) -> Result<Option<New>, Malformed> {
        let older = json!({ "type": type_of_state::<Old>() });
        let migrated = Self::migrate_bytes(state, &older, (&[], &encode(old)))?;
        migrated.map(|(_, value)| decode(&value)).transpose()
    }

    /// As [`Harness::migrate`], for an entry of a map.
    ///
    /// # Errors
    /// If the new entry does not decode as what the test takes it for.
    ///
    /// # Panics
    /// If the state declares no migration from these types; and if the migration itself does.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # #[derive(Row)] struct Visit { user: u64 }
    /// # struct Visits;
    /// # impl Operator for Visits {
    /// #     const PLUGIN: Plugin = plugin!("visits");
    /// #     type Config = (); type Input<'a> = Visit; type Output<'a> = ();
    /// #     type State = Memory;
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, _: Visit, _: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// #[derive(States)]
    /// struct Memory {
    ///     #[state(migrate(from = (u8, u64), with = |(page, visits): (u8, u64)| {
    ///         Some((page.to_string(), visits))
    ///     }))]
    ///     pages: Map<String, u64>,
    /// }
    ///
    /// let entry = Harness::<Visits>::migrate_entry("pages", (&1_u8, &7_u64))?;
    /// assert_eq!(entry, Some(("1".to_owned(), 7_u64)));
    /// # Ok::<(), wasmill_sdk::Malformed>(())
    /// ```
    #[track_caller]
    pub fn migrate_entry<OldK: State, OldV: State, K: State, V: State>(
        state: &str,
        (key, value): (&OldK, &OldV),
    ) -> Result<Option<(K, V)>, Malformed> {
        let older = json!({ "key": type_of_state::<OldK>(), "type": type_of_state::<OldV>() });
        let migrated = Self::migrate_bytes(state, &older, (&encode(key), &encode(value)))?;
        let decoded = migrated.map(|(key, value)| Ok((decode(&key)?, decode(&value)?)));
        decoded.transpose()
    }

    #[track_caller]
    fn migrate_bytes(
        state: &str,
        older: &Json,
        (entry, value): (&[u8], &[u8]),
    ) -> Result<Option<Bytes>, Malformed> {
        let states = Op::State::describe();
        let place = states.iter().enumerate().find_map(|(at, described)| {
            let from = described["migrates-from"].as_array()?;
            let migration = from.iter().position(|from| from == older)?;
            (described["name"] == state).then_some((at as u32, migration as u32))
        });
        let place = place.unwrap_or_else(|| {
            panic!(
                "state `{state}` of `{}` declares no migration from {older}",
                Op::PLUGIN.name
            )
        });
        let strings = |bytes: &[u8]| ByteStrings {
            ends: vec![bytes.len() as u32],
            bytes: bytes.to_vec(),
        };
        let old = OldValues {
            entries: strings(entry),
            values: strings(value),
        };
        let new = migration::migrate_values::<Op::State>(place, &old, |_| ());
        let new = new.map_err(|(_, malformed)| malformed)?;
        Ok(new
            .dropped
            .is_empty()
            .then_some((new.entries.bytes, new.values.bytes)))
    }
}

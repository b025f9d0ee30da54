//! Guests that bring state of an older version to their own types.

use wasmtime::{
    Store,
    component::{InstancePre, TypedFunc},
};

use super::{
    bindings::{ByteStringsIn, ByteStringsOut, Fault, NewValuesOut, OldValuesIn},
    call::drive,
    engine::Engine,
    error::CallError,
    guest::GuestState,
    instance::{InstanceOptions, explain, start},
    log::escape,
    plugin::Exports,
    seeds::Seeds,
};

type Migrate = TypedFunc<(u32, u32, OldValuesIn<'static>), (Result<NewValuesOut, Fault>,)>;

/// An instance of a plugin that migrates state. One whose call ended badly is spent.
pub struct Migrator {
    engine: Engine,
    store: Store<GuestState>,
    migrate: Migrate,
    spent: bool,
}

/// Byte strings, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ByteStrings {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

/// Values under an older schema.
#[derive(Debug, Clone, Default)]
pub struct OldValues {
    /// The key of each.
    pub keys: ByteStrings,
    /// Of a map, the key of each entry.
    pub entries: ByteStrings,
    /// The values.
    pub values: ByteStrings,
}

/// What became of them: as many, in the same order. Not yet known to be of their type.
#[derive(Debug, Clone, Default)]
pub struct NewValues {
    /// Which are dropped, rising.
    pub dropped: Vec<u32>,
    /// Of a map, the key of each entry.
    pub entries: ByteStrings,
    /// The values.
    pub values: ByteStrings,
}

impl ByteStrings {
    /// Adds one. They must stay below 4 GiB together.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let end = u32::try_from(self.bytes.len());
        self.ends.push(end.expect("a batch is far below 4 GiB"));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of all of them.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// One of them.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn get(&self, at: usize) -> &[u8] {
        let start = match at {
            0 => 0,
            at => self.ends[at - 1] as usize,
        };
        &self.bytes[start..self.ends[at] as usize]
    }

    /// None left.
    pub fn clear(&mut self) {
        self.ends.clear();
        self.bytes.clear();
    }

    fn lower(&self) -> ByteStringsIn<'_> {
        ByteStringsIn {
            ends: &self.ends,
            bytes: &self.bytes,
        }
    }

    /// A guest's, if they are as many as they should be and each lies in the bytes.
    fn checked(out: ByteStringsOut, count: usize, what: &str) -> Result<Self, String> {
        let ByteStringsOut { ends, bytes } = out;
        if ends.len() != count {
            return Err(format!("{} {what} came back for {count}", ends.len()));
        }
        let is_rising = ends.windows(2).all(|pair| pair[0] <= pair[1]);
        let last = ends.last().map_or(0, |end| *end as usize);
        match is_rising && last == bytes.len() {
            true => Ok(Self { ends, bytes }),
            false => Err(format!(
                "the ends of its {what} are not those of their bytes"
            )),
        }
    }
}

/// Makes an instance that is not opened.
pub(super) async fn instantiate(
    engine: &Engine,
    pre: &InstancePre<GuestState>,
    exports: &Exports,
    options: &InstanceOptions,
) -> Result<Migrator, CallError> {
    let (mut store, instance) = start(engine, pre, options).await?;
    let Some(migrate) = exports.migrate else {
        return Err(CallError::Fault {
            row: None,
            message: "it exports no `migrate`".into(),
            log: Vec::new(),
        });
    };
    let migrate = instance.get_typed_func(&mut store, migrate);
    Ok(Migrator {
        migrate: migrate.map_err(|error| explain(&mut store, &error))?,
        engine: engine.clone(),
        store,
        spent: false,
    })
}

impl Migrator {
    /// Whether it can still be called.
    pub fn is_usable(&self) -> bool {
        !self.spent
    }

    /// Migrates values: of the state at a position of the descriptor, from the older type at a
    /// position of its `migrates-from`.
    ///
    /// # Errors
    /// If the guest fails, is stopped, or returns what cannot be.
    pub async fn migrate(
        &mut self,
        state: u32,
        migration: u32,
        old: &OldValues,
    ) -> Result<NewValues, CallError> {
        if std::mem::replace(&mut self.spent, true) {
            return Err(CallError::Spent);
        }
        // Nothing of a migration may depend on time or chance.
        self.store.data_mut().begin(0, Seeds::default());
        self.store.set_epoch_deadline(1);
        let values = OldValuesIn {
            keys: old.keys.lower(),
            entries: old.entries.lower(),
            values: old.values.lower(),
        };
        let migrate: TypedFunc<(u32, u32, OldValuesIn<'_>), _> = self.migrate;
        let running = self.engine.running();
        let guest = self.store.data();
        let (meter, mailbox) = (guest.meter.clone(), guest.mailbox.clone());
        let call = migrate.call_async(&mut self.store, (state, migration, values));
        let outcome: wasmtime::Result<(Result<NewValuesOut, Fault>,)> =
            drive(call, &meter, &mailbox, None).await;
        drop(running);
        match outcome {
            Ok((Ok(new),)) => {
                let new = check(new, old).map_err(|message| self.fault(None, &message))?;
                self.store.data_mut().log.take();
                self.store.data_mut().metrics.clear();
                self.spent = false;
                Ok(new)
            }
            Ok((Err(fault),)) => Err(self.fault(fault.row, &fault.message)),
            Err(error) => Err(explain(&mut self.store, &error)),
        }
    }

    fn fault(&mut self, row: Option<u32>, message: &str) -> CallError {
        CallError::Fault {
            row,
            message: escape(message),
            log: self.store.data_mut().log.take_tail(),
        }
    }
}

/// What the types of the contract do not say.
fn check(new: NewValuesOut, old: &OldValues) -> Result<NewValues, String> {
    let count = old.values.len();
    let is_rising = new.dropped.windows(2).all(|pair| pair[0] < pair[1]);
    let is_within = new
        .dropped
        .last()
        .is_none_or(|last| (*last as usize) < count);
    if !is_rising || !is_within {
        return Err("the positions of dropped values are not positions that rise".into());
    }
    Ok(NewValues {
        dropped: new.dropped,
        entries: ByteStrings::checked(new.entries, old.entries.len(), "entries")?,
        values: ByteStrings::checked(new.values, count, "values")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(ends: &[u32], bytes: usize) -> ByteStringsOut {
        ByteStringsOut {
            ends: ends.to_vec(),
            bytes: vec![7; bytes],
        }
    }

    fn checked(dropped: &[u32], entries: ByteStringsOut, values: ByteStringsOut) -> String {
        let mut old = OldValues::default();
        for value in [&b"a"[..], b"bc"] {
            old.keys.push(b"k");
            old.values.push(value);
        }
        let dropped = dropped.to_vec();
        let new = NewValuesOut {
            dropped,
            entries,
            values,
        };
        match check(new, &old) {
            Ok(new) => format!("{:?} {:?}", new.values.get(0), new.values.get(1)),
            Err(reason) => reason,
        }
    }

    #[test]
    fn what_a_guest_returns_is_checked() {
        let none = || out(&[], 0);
        assert_eq!(checked(&[0], none(), out(&[0, 3], 3)), "[] [7, 7, 7]");
        for (dropped, entries, values, words) in [
            (&[][..], none(), out(&[1], 1), "1 values came back for 2"),
            (&[], none(), out(&[2, 1], 1), "the ends of its values"),
            (&[], none(), out(&[1, 9], 2), "the ends of its values"),
            (&[], none(), out(&[1, 2], 3), "the ends of its values"),
            (
                &[],
                out(&[0, 0], 0),
                out(&[1, 2], 2),
                "2 entries came back for 0",
            ),
            (&[2], none(), out(&[1, 2], 2), "positions that rise"),
            (&[1, 1], none(), out(&[1, 2], 2), "positions that rise"),
        ] {
            let reason = checked(dropped, entries, values);
            assert!(reason.contains(words), "{reason}");
        }
    }
}

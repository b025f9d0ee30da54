//! The plugin's side of a migration: values in batches, and who is to blame.

use super::Offer;
use crate::wasm::{CallError, Migrator, NewValues, OldValues};

/// Values of one call, and their bytes.
const VALUES_MAX: usize = 4_096;
const BYTES_MAX: usize = 1 << 20;

/// A value with its key, and of a map its entry's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) key: Vec<u8>,
    pub(super) entry: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
}

/// Why values were not migrated.
pub(super) enum Failed {
    /// The plugin does not start.
    Start(CallError),
    /// It failed at the value of this position.
    At(usize, CallError),
}

/// Instances of a plugin that migrates, one after the other.
pub(super) struct Guest<'a> {
    offer: &'a Offer,
    instance: Option<Migrator>,
}

impl<'a> Guest<'a> {
    pub(super) fn new(offer: &'a Offer) -> Self {
        Self {
            offer,
            instance: None,
        }
    }

    /// Migrates values, in as many calls as they need. None stands for one that is dropped.
    pub(super) async fn migrate(
        &mut self,
        of: (u32, u32),
        is_map: bool,
        old: &[Value],
    ) -> Result<Vec<Option<Value>>, Failed> {
        let mut new = Vec::with_capacity(old.len());
        let mut start = 0;
        while start < old.len() {
            let end = start + batch_len(&old[start..]);
            let batch = &old[start..end];
            match self.call(of, is_map, batch).await? {
                Ok(values) => take(&values, batch, is_map, &mut new),
                // One by one: who is to blame fails alone too, and what only failed in company
                // does not.
                Err(_) => {
                    for (at, value) in batch.iter().enumerate() {
                        let alone = std::slice::from_ref(value);
                        let values = self.call(of, is_map, alone).await?;
                        let values = values.map_err(|error| Failed::At(start + at, error))?;
                        take(&values, alone, is_map, &mut new);
                    }
                }
            }
            start = end;
        }
        Ok(new)
    }

    async fn call(
        &mut self,
        (state, migration): (u32, u32),
        is_map: bool,
        old: &[Value],
    ) -> Result<Result<NewValues, CallError>, Failed> {
        let mut values = OldValues::default();
        for value in old {
            values.keys.push(&value.key);
            values.values.push(&value.value);
            if is_map {
                values
                    .entries
                    .push(value.entry.as_deref().unwrap_or_default());
            }
        }
        let usable = self.instance.take().filter(Migrator::is_usable);
        let mut instance = match usable {
            Some(instance) => instance,
            None => {
                let made = self.offer.plugin.migrator(&self.offer.options).await;
                made.map_err(Failed::Start)?
            }
        };
        let called = instance.migrate(state, migration, &values).await;
        self.instance = Some(instance);
        Ok(called)
    }
}

/// How many values from the start on go into one call; at least one.
fn batch_len(values: &[Value]) -> usize {
    let mut bytes = 0;
    let fits = |value: &&Value| {
        let entry = value.entry.as_ref().map_or(0, Vec::len);
        bytes += value.key.len() + entry + value.value.len();
        bytes <= BYTES_MAX
    };
    let count = values.iter().take(VALUES_MAX).take_while(fits).count();
    count.max(1)
}

fn take(new: &NewValues, old: &[Value], is_map: bool, out: &mut Vec<Option<Value>>) {
    let mut dropped = new.dropped.iter().peekable();
    for (at, value) in old.iter().enumerate() {
        if dropped
            .next_if(|position| **position as usize == at)
            .is_some()
        {
            out.push(None);
            continue;
        }
        out.push(Some(Value {
            key: value.key.clone(),
            entry: match is_map {
                true => Some(new.entries.get(at).to_vec()),
                false => value.entry.clone(),
            },
            value: new.values.get(at).to_vec(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: usize) -> Value {
        Value {
            key: Vec::new(),
            entry: None,
            value: vec![0; bytes],
        }
    }

    #[test]
    fn a_call_is_bounded_by_number_and_bytes() {
        assert_eq!(batch_len(&vec![value(1); 5_000]), VALUES_MAX);
        assert_eq!(batch_len(&[value(BYTES_MAX), value(1)]), 1);
        assert_eq!(
            batch_len(&[value(2 * BYTES_MAX), value(1)]),
            1,
            "one at least"
        );
        assert_eq!(batch_len(&[value(1), value(2)]), 2);
    }
}

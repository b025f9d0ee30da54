//! An operator as a component: the glue between the generated bindings and the engine.
//!
//! [`export!`](crate::export) implements the generated trait by these functions, and keeps the
//! engine in a static: an instance is one operator, made by `open` and called by one thread.

pub use crate::bindings::aggregate::exports::wasmill::operator::aggregate::Guest as AggregateGuest;
pub use crate::bindings::exports::wasmill::operator::operator::Guest;
pub use crate::bindings::migration::exports::wasmill::operator::migrate::{
    ByteStrings as WitByteStrings, Guest as MigrationGuest, NewValues as WitNewValues,
    OldValues as WitOldValues,
};
pub use crate::bindings::wasmill::operator::types::{Buffers, Fault as WitFault};

use crate::aggregating::AggregateEngine;
use crate::bindings::wasmill::operator::report;
use crate::engine::{self, Engine};
use crate::migration::{self, ByteStrings, OldValues};
use crate::{Aggregate, Fault, Operator, descriptor};
use std::panic::PanicHookInfo;

impl From<Fault> for WitFault {
    fn from(fault: Fault) -> Self {
        Self {
            row: fault.row,
            message: fault.message,
        }
    }
}

/// What the component says about itself.
pub fn describe<Op: Operator>() -> String {
    descriptor::descriptor::<Op>().to_string()
}

/// Makes the operator. From here on a panic tells the host its row and place before it traps.
pub fn open<Op: Operator>(slot: &mut Option<Engine<Op>>, context: &str) -> Result<(), WitFault> {
    std::panic::set_hook(Box::new(last_words));
    *slot = Some(Engine::open(context)?);
    Ok(())
}

/// Processes a batch.
pub fn process<Op: Operator>(
    slot: &mut Option<Engine<Op>>,
    batch: &Buffers,
) -> Result<Buffers, WitFault> {
    let engine = slot
        .as_mut()
        .ok_or_else(|| Fault::new("process was called before open"))?;
    let (directory, arena) = engine.process(batch.rows, &batch.directory, &batch.arena)?;
    Ok(Buffers {
        rows: 0,
        directory,
        arena,
    })
}

/// What the component of an aggregate says about itself.
pub fn describe_aggregate<A: Aggregate>() -> String {
    descriptor::aggregate::<A>().to_string()
}

/// Makes the aggregate. From here on a panic tells the host its row and place before it traps.
pub fn open_aggregate<A: Aggregate>(
    slot: &mut Option<AggregateEngine<A>>,
    context: &str,
) -> Result<(), WitFault> {
    std::panic::set_hook(Box::new(last_words));
    *slot = Some(AggregateEngine::open(context)?);
    Ok(())
}

/// Calls the aggregate, which has been opened.
pub fn call_aggregate<A: Aggregate>(
    slot: &Option<AggregateEngine<A>>,
    call: impl FnOnce(&AggregateEngine<A>) -> Result<(Vec<u32>, Vec<u64>), Fault>,
) -> Result<Buffers, WitFault> {
    let engine = slot
        .as_ref()
        .ok_or_else(|| Fault::new("the aggregate was called before open"))?;
    let (directory, arena) = call(engine)?;
    Ok(Buffers {
        rows: 0,
        directory,
        arena,
    })
}

/// Brings values of an older type to the operator's own. The instance is not opened for that.
pub fn migrate<Op: Operator>(
    state: u32,
    migration: u32,
    old: WitOldValues,
) -> Result<WitNewValues, WitFault> {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(last_words)));
    let strings = |it: WitByteStrings| ByteStrings {
        ends: it.ends,
        bytes: it.bytes,
    };
    let old = OldValues {
        entries: strings(old.entries),
        values: strings(old.values),
    };
    let at = |row| engine::set_current_row(Some(row));
    let migrated = migration::migrate_values::<Op::State>((state, migration), &old, at);
    engine::set_current_row(None);
    let strings = |it: ByteStrings| WitByteStrings {
        ends: it.ends,
        bytes: it.bytes,
    };
    match migrated {
        Ok(new) => Ok(WitNewValues {
            dropped: new.dropped,
            entries: strings(new.entries),
            values: strings(new.values),
        }),
        Err((row, malformed)) => Err(WitFault {
            row: Some(row),
            message: malformed.to_string(),
        }),
    }
}

/// Tells the host which row is about to trap, why and where.
fn last_words(info: &PanicHookInfo<'_>) {
    let message = match info.payload_as_str() {
        Some(message) => message,
        None => "a panic without a message",
    };
    let message = match info.location() {
        Some(place) => format!("{message} ({}:{})", place.file(), place.line()),
        None => message.to_owned(),
    };
    let row = engine::current_row();
    report::failing(&WitFault { row, message });
}

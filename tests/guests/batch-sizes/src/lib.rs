//! An operator that tells of each row how many rows its call had.

use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Numbered {
    id: u64,
}

/// What is read, and the rows of the call.
#[derive(Row)]
pub struct Counted {
    id: u64,
    rows: u64,
}

/// The operator.
pub struct BatchSizes {
    rows: u64,
}

impl Operator for BatchSizes {
    const PLUGIN: Plugin = plugin!();
    type Config = ();
    type Input<'a> = Numbered;
    type Output<'a> = Counted;
    type State = ();

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self { rows: 0 })
    }

    fn begin_batch(&mut self, rows: BatchRows<'_, '_, Self>) -> Result<(), Fault> {
        self.rows = rows.len() as u64;
        Ok(())
    }

    fn process(&mut self, row: Numbered, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let (id, rows) = (row.id, self.rows);
        cx.emit(Counted { id, rows });
        Ok(())
    }
}

wasmill_sdk::export!(BatchSizes);

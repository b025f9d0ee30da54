//! Native operators that note when records pass: behind the source, and before the sink.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use wasmill_host::clock;
use wasmill_sdk::prelude::*;

type Notes = Mutex<Vec<(u64, Instant)>>;

/// Of each piece that the source gave, its last record's number and the time.
static BIRTHS: Notes = Mutex::new(Vec::new());
/// The number and the time of each record before the sink.
static ARRIVALS: Notes = Mutex::new(Vec::new());

/// Takes what was noted behind the source.
pub(crate) fn births() -> Vec<(u64, Instant)> {
    take(&BIRTHS)
}

/// Takes what was noted before the sink.
pub(crate) fn arrivals() -> Vec<(u64, Instant)> {
    take(&ARRIVALS)
}

fn take(notes: &Notes) -> Vec<(u64, Instant)> {
    std::mem::take(&mut *notes.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Notes on one page of a notebook.
const PAGE_NOTES: usize = 1_024;

/// What an instance notes; its thread's end hands it over.
struct Notebook {
    /// Full pages, and the one that is written. One vector that grows would copy megabytes at a
    /// record now and then, and the figure would tell of the notebook.
    pages: Vec<Vec<(u64, Instant)>>,
    now: Instant,
    to: &'static Notes,
}

impl Notebook {
    fn new(to: &'static Notes) -> Self {
        Self {
            pages: Vec::new(),
            now: clock::monotonic(),
            to,
        }
    }

    fn note(&mut self, number: i64) {
        let note = (number.unsigned_abs(), self.now);
        match self.pages.last_mut() {
            Some(page) if page.len() < PAGE_NOTES => page.push(note),
            _ => {
                let mut page = Vec::with_capacity(PAGE_NOTES);
                page.push(note);
                self.pages.push(page);
            }
        }
    }
}

impl Drop for Notebook {
    fn drop(&mut self) {
        let mut all = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(self.pages.drain(..).flatten());
    }
}

/// A record; its time is its number.
#[derive(Row, Clone, Copy)]
pub(crate) struct Payment {
    account: u64,
    amount: f64,
    ts: i64,
}

/// Passes every record, and notes the last of each batch.
pub(crate) struct Birth {
    notebook: Notebook,
    last: Option<i64>,
}

impl Operator for Birth {
    const PLUGIN: Plugin = plugin!("birth");
    type Config = ();
    type Input<'a> = Payment;
    type Output<'a> = Payment;
    type State = ();

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self {
            notebook: Notebook::new(&BIRTHS),
            last: None,
        })
    }

    fn begin_batch(&mut self, _rows: BatchRows<'_, '_, Self>) -> Result<(), Fault> {
        if let Some(last) = self.last.take() {
            self.notebook.note(last);
        }
        self.notebook.now = clock::monotonic();
        Ok(())
    }

    fn process(&mut self, row: Payment, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        self.last = Some(row.ts);
        cx.emit(row);
        Ok(())
    }
}

/// What arrives.
#[derive(Row)]
pub(crate) struct Alert {
    ts: i64,
}

/// Notes every record and emits nothing.
pub(crate) struct Probe {
    notebook: Notebook,
}

impl Operator for Probe {
    const PLUGIN: Plugin = plugin!("probe");
    type Config = ();
    type Input<'a> = Alert;
    type Output<'a> = Alert;
    type State = ();

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self {
            notebook: Notebook::new(&ARRIVALS),
        })
    }

    fn begin_batch(&mut self, _rows: BatchRows<'_, '_, Self>) -> Result<(), Fault> {
        self.notebook.now = clock::monotonic();
        Ok(())
    }

    fn process(&mut self, row: Alert, _cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        self.notebook.note(row.ts);
        Ok(())
    }
}

/// A decision of the fraud job.
#[derive(Row)]
pub(crate) struct Raised<'a> {
    /// `tx-` and the transaction's number, from 1.
    transaction: &'a str,
}

/// Notes the transaction of every alert and emits nothing.
pub(crate) struct Decision {
    notebook: Notebook,
}

impl Operator for Decision {
    const PLUGIN: Plugin = plugin!("probe");
    type Config = ();
    type Input<'a> = Raised<'a>;
    type Output<'a> = Alert;
    type State = ();

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self {
            notebook: Notebook::new(&ARRIVALS),
        })
    }

    fn begin_batch(&mut self, _rows: BatchRows<'_, '_, Self>) -> Result<(), Fault> {
        self.notebook.now = clock::monotonic();
        Ok(())
    }

    fn process(&mut self, row: Raised<'_>, _cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        let number: i64 = row.transaction.trim_start_matches("tx-").parse()?;
        self.notebook.note(number - 1);
        Ok(())
    }
}

//! What a store holds: everything that the imports of one instance may touch.

use std::sync::Arc;

use super::{
    bindings::{Fault, Level},
    call::{Mailbox, Meter},
    limits::{Exceeded, Limit, Limiter, Limits},
    log::{GuestLog, Overflow},
    seeds::Seeds,
};

/// The host's side of an instance.
#[derive(Debug)]
pub(super) struct GuestState {
    pub(super) limiter: Limiter,
    pub(super) limits: Limits,
    pub(super) log: GuestLog,
    /// Counters of this call.
    pub(super) metrics: Vec<(String, u64)>,
    /// The event time of the record, or of the batch's first row, in microseconds.
    pub(super) time_us: i64,
    /// What random numbers derive from.
    pub(super) seeds: Seeds,
    /// The record of the call, where it is of one record.
    record: Option<u32>,
    /// State of the generator behind WASI's random functions, once one was called.
    random: Option<u64>,
    /// The guest's last words.
    pub(super) reported: Option<Fault>,
    pub(super) meter: Arc<Meter>,
    pub(super) mailbox: Arc<Mailbox>,
}

impl GuestState {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limiter: Limiter::new(limits),
            limits: limits.clone(),
            log: GuestLog::default(),
            metrics: Vec::new(),
            time_us: 0,
            seeds: Seeds::default(),
            record: None,
            random: None,
            reported: None,
            meter: Arc::default(),
            mailbox: Arc::default(),
        }
    }

    /// Forgets the last call.
    pub(super) fn begin(&mut self, time_us: i64, seeds: Seeds) {
        self.time_us = time_us;
        self.seeds = seeds;
        self.record = None;
        self.random = None;
        self.reported = None;
        self.limiter.refused = None;
        self.meter.begin();
    }

    /// The next call is for this record of the batch alone, which has that event time.
    pub(super) fn begin_record(&mut self, row: u32, time_us: i64) {
        self.record = Some(row);
        self.time_us = time_us;
        self.random = None;
    }

    /// The seed of the call.
    pub(super) fn seed(&mut self) -> u64 {
        let of_record = self.record.and_then(|row| self.seeds.of_row(row));
        of_record.unwrap_or_else(|| self.seeds.of_call())
    }

    pub(super) fn log_line(&mut self, level: Level, text: &str) -> wasmtime::Result<()> {
        let limits = (self.limits.log_lines_max, self.limits.log_bytes_max);
        let written = self.log.line(level, text, limits);
        self.within(written)
    }

    pub(super) fn log_bytes(&mut self, stream: usize, bytes: &[u8]) -> wasmtime::Result<()> {
        let limits = (self.limits.log_lines_max, self.limits.log_bytes_max);
        let written = self.log.write(stream, bytes, limits);
        self.within(written)
    }

    fn within(&self, written: Result<(), Overflow>) -> wasmtime::Result<()> {
        let (limit, used, budget) = match written {
            Ok(()) => return Ok(()),
            Err(Overflow::Lines(used)) => (Limit::LogLines, used, self.limits.log_lines_max),
            Err(Overflow::Bytes(used)) => (Limit::LogBytes, used, self.limits.log_bytes_max),
        };
        Err(wasmtime::Error::new(Exceeded {
            limit,
            used,
            budget,
        }))
    }

    /// The next number of a SplitMix64 generator (Steele, Lea and Flood, 2014) that began at
    /// the seed.
    pub(super) fn random(&mut self) -> u64 {
        let state = match self.random {
            Some(state) => state,
            None => self.seed(),
        };
        let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random = Some(z);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn count(&mut self, name: &str, delta: u64) -> wasmtime::Result<()> {
        if let Some((_, total)) = self.metrics.iter_mut().find(|(known, _)| known == name) {
            *total = total.saturating_add(delta);
            return Ok(());
        }
        if self.metrics.len() >= self.limits.metrics_max || name.len() > NAME_BYTES_MAX {
            return Err(wasmtime::Error::new(Exceeded {
                limit: Limit::Metrics,
                used: self.metrics.len() as u64 + 1,
                budget: self.limits.metrics_max as u64,
            }));
        }
        self.metrics.push((name.to_owned(), delta));
        Ok(())
    }
}

/// The longest name of a counter.
const NAME_BYTES_MAX: usize = 63;

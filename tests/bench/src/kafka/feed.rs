//! Records at a steady rate, and when each was sent.

use std::{
    fs,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result};

use super::topics;
use crate::data;

/// What is sent while latency is measured.
pub(super) enum Feed {
    /// Payments whose `ts` is the time of their sending; it comes back with what is told of them.
    Payments,
    /// The flagship's transactions. An alert names its transaction, by a number that counts from 1;
    /// so does the transaction itself, which a program that only passes it on gives back.
    Transactions(Transactions),
}

pub(super) struct Transactions {
    text: Vec<u8>,
    lines: Vec<Range<usize>>,
    /// When each was sent, in nanoseconds since the start.
    sent: Vec<AtomicU64>,
}

impl Feed {
    pub(super) fn transactions(records: u64) -> Result<Self> {
        let text = fs::read(data::transactions(records)?)?;
        let mut lines = Vec::new();
        for line in topics::lines(&text) {
            let start = line.as_ptr() as usize - text.as_ptr() as usize;
            lines.push(start..start + line.len());
        }
        let sent = lines.iter().map(|_| AtomicU64::new(u64::MAX)).collect();
        Ok(Self::Transactions(Transactions { text, lines, sent }))
    }

    /// Key and value of a record that is sent now.
    pub(super) fn write(
        &self,
        number: u64,
        now: u64,
        (key, value): (&mut Vec<u8>, &mut Vec<u8>),
    ) -> Result<()> {
        match self {
            Self::Payments => topics::payment(number, now, key, value),
            Self::Transactions(all) => {
                let number = usize::try_from(number)?;
                let line = all
                    .lines
                    .get(number)
                    .context("the transactions are used up")?;
                let line = &all.text[line.clone()];
                all.sent[number].store(now, Ordering::Release);
                key.clear();
                key.extend_from_slice(topics::account_of(line)?);
                value.clear();
                value.extend_from_slice(line);
                Ok(())
            }
        }
    }

    /// When that was sent of which a record that came out tells.
    pub(super) fn sent(&self, value: &[u8]) -> Result<u64> {
        let number = |marks: &[&[u8]]| -> Result<u64> {
            let mut found = marks.iter().map(|mark| topics::digits_behind(value, mark));
            let digits = found
                .find_map(|digits| digits)
                .context("what came out is odd")?;
            Ok(std::str::from_utf8(digits)?.parse()?)
        };
        match self {
            Self::Payments => number(&[b"\"ts\":"]),
            Self::Transactions(all) => {
                let named = number(&[b"\"transaction\":\"tx-", b"{\"id\":\"tx-"])?;
                let at = usize::try_from(named)? - 1;
                let sent = all.sent.get(at).context("nobody sent such a transaction")?;
                Ok(sent.load(Ordering::Acquire))
            }
        }
    }

    /// Whether every record that is sent comes out.
    pub(super) fn tells_all(&self) -> bool {
        matches!(self, Self::Payments)
    }
}

//! Topics that are read: filled once, and kept as long as the broker keeps them.

use std::fs;

use anyhow::{Context, Result, ensure};
use wasmill_host::clock;

use super::client::{self, Sender, WRITE_FAST};
use crate::data;

/// Accounts of the payments.
const KEYS: u64 = 10_000;

/// Account and JSON of payment `i`, of about 90 bytes; `ts` is its time.
pub(super) fn payment(i: u64, ts: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Result<()> {
    use std::io::Write;
    let account = account(i);
    key.clear();
    write!(key, "{account}")?;
    value.clear();
    write!(
        value,
        r#"{{"account":{account},"amount":{}.25,"ts":{ts},"country":{},"merchant":"m{}","channel":"card"}}"#,
        i % 1000,
        i % 7,
        i % 5000,
    )?;
    Ok(())
}

fn account(i: u64) -> u64 {
    i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS
}

/// A topic of so many payments.
pub(super) fn payments(brokers: &str, records: u64) -> Result<String> {
    let name = format!("wasmill-bench-payments-{records}");
    once(brokers, &name, records, |sender| {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for i in 0..records {
            payment(i, i, &mut key, &mut value)?;
            sender.send((&name, None), &key, &value)?;
        }
        Ok(())
    })?;
    Ok(name)
}

/// How many of so many payments are told if each so-manieth of an account is.
pub(super) fn told(records: u64, every: u64) -> u64 {
    let mut counts = vec![0_u64; KEYS as usize];
    for i in 0..records {
        counts[account(i) as usize] += 1;
    }
    counts.iter().map(|count| count / every).sum()
}

/// A topic of the flagship's transactions, keyed by account.
pub(super) fn transactions(brokers: &str, records: u64) -> Result<String> {
    let name = format!("wasmill-bench-transactions-{records}");
    once(brokers, &name, records, |sender| {
        let text = fs::read(data::transactions(records)?)?;
        for line in lines(&text) {
            sender.send((&name, None), account_of(line)?, line)?;
        }
        Ok(())
    })?;
    Ok(name)
}

/// The lines of a text, without their ends.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.is_empty())
}

/// The digits behind `"account":`.
pub(super) fn account_of(line: &[u8]) -> Result<&[u8]> {
    digits_behind(line, b"\"account\":").context("a transaction without account")
}

/// The digits that stand behind a mark.
pub(super) fn digits_behind<'a>(line: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    let at = line.windows(mark.len()).position(|window| window == mark)?;
    let rest = &line[at + mark.len()..];
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (length > 0).then_some(&rest[..length])
}

/// Fills a topic unless it is full; one that was left half filled is made anew.
fn once(
    brokers: &str,
    name: &str,
    records: u64,
    fill: impl FnOnce(&Sender) -> Result<()>,
) -> Result<()> {
    match client::offsets(brokers, name)? {
        Some(count) if count == records => return Ok(()),
        Some(_) => client::remove(brokers, name)?,
        None => {}
    }
    let since = clock::monotonic();
    client::make(brokers, name)?;
    let sender = Sender::new(brokers, None, WRITE_FAST)?;
    fill(&sender)?;
    sender.finish()?;
    let count = client::offsets(brokers, name)?;
    ensure!(
        count == Some(records),
        "{name} holds {count:?} of {records}"
    );
    let seconds = (clock::monotonic() - since).as_secs_f64();
    eprintln!("{name} was filled in {seconds:.1} s");
    Ok(())
}

//! Input files of the scenarios that read some: made once, below the target folder.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use card_fraud_data::{Generator, Options, Writer, oracle::Oracle, row::Row};

use crate::job;

/// Bytes gathered before a write.
const CHUNK_BYTES: usize = 1 << 20;
/// The flagship's least score that is an alert.
const SCORE_MIN: f64 = 0.7;

/// The folder for files that outlast a run.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = job::root().join("target/bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Payments of `keys` accounts as JSON lines of six fields, at least so many bytes of them.
pub(crate) fn payments(keys: u64, bytes: u64) -> Result<PathBuf> {
    let path = folder()?.join(format!("payments-{keys}-{bytes}.jsonl"));
    once(&path, |out| {
        let (mut text, mut written) = (Vec::with_capacity(CHUNK_BYTES + 1_024), 0);
        for i in 0_u64.. {
            let account = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % keys;
            writeln!(
                text,
                r#"{{"account":{account},"amount":{}.25,"ts":{i},"country":{},"merchant":"m{}","channel":"card"}}"#,
                i % 1000,
                i % 7,
                i % 5000,
            )?;
            if text.len() >= CHUNK_BYTES {
                out.write_all(&text)?;
                written += text.len() as u64;
                text.clear();
            }
            if written >= bytes {
                break;
            }
        }
        Ok(())
    })?;
    Ok(path)
}

/// The flagship's transactions, as the demo's generator writes them with the demo's seed.
pub(crate) fn transactions(records: u64) -> Result<PathBuf> {
    let path = folder()?.join(format!("transactions-{records}.jsonl"));
    once(&path, |out| {
        let mut text = Vec::with_capacity(CHUNK_BYTES + 1_024);
        let mut calendar = Writer::default();
        for row in Generator::new(Options {
            records,
            seed: 7,
            accounts: Options::accounts_for(records),
        }) {
            row.transaction.write(&mut calendar, &mut text);
            if text.len() >= CHUNK_BYTES {
                out.write_all(&text)?;
                text.clear();
            }
        }
        Ok(out.write_all(&text)?)
    })?;
    Ok(path)
}

/// What the flagship must tell of as many of its transactions, as plain Rust finds it.
pub(crate) fn alerts(records: u64) -> Result<PathBuf> {
    let path = folder()?.join(format!("alerts-{records}.jsonl"));
    // The rules are part of this program: what an older one found may be another's.
    let written = |path: &Path| fs::metadata(path)?.modified();
    if path.exists() && written(&path)? < written(&std::env::current_exe()?)? {
        fs::remove_file(&path)?;
    }
    once(&path, |out| {
        let text = fs::read_to_string(transactions(records)?)?;
        let mut oracle = Oracle::new("{}", SCORE_MIN)?;
        for line in text.lines() {
            oracle.push(Row::parse(line)?)?;
        }
        let (alerts, nearest) = oracle.finish()?;
        for alert in &alerts {
            serde_json::to_writer(&mut *out, alert)?;
            out.write_all(b"\n")?;
        }
        eprintln!("the score nearest to the threshold is {nearest:.6} away");
        Ok(())
    })?;
    Ok(path)
}

/// Writes a file unless it is there. One that was cut off never gets its name.
fn once(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    let file = File::create(&fresh).with_context(|| format!("cannot make {}", fresh.display()))?;
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    out.flush()?;
    Ok(fs::rename(&fresh, path)?)
}

//! The commit log beside a file: which checkpoints are in it, and where. It is the file's marker.
//!
//! Lines of JSON. The first says whose the file is, each further one that a checkpoint is applied:
//!
//! ```text
//! {"commits":1,"job":"card-fraud","sink":"alerts","header":"","check":"8c1f00d2a07e5b44"}
//! {"checkpoint":7,"offset":0,"bytes":5210,"digest":"e3b0...b855","check":"02d97a4c91be6f03"}
//! ```
//!
//! `check` is the XXH3-64 of the line's bytes before it. A last line that is torn does not count,
//! and the next one takes its place; a line before that which does not fit is damage. When there
//! are many, all but the first and the last are dropped.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wasmill_core::checkpoint::{CheckpointId, Digest};
use xxhash_rust::xxh3::xxh3_64;

use super::disk::Disk;
use crate::connector::{ConnectorError, FollowError};

/// The version of what is written here.
const VERSION: u32 = 1;
/// A log that is longer is written anew, with its last entry.
const LOG_BYTES_MAX: u64 = 64 << 10;
/// Looks for a log that another process replaces at this moment.
const LOOKS_MAX: usize = 8;
const CHECK: &str = ",\"check\":\"";

/// Whose a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Owner {
    commits: u32,
    pub(super) job: String,
    pub(super) sink: String,
    /// What stands in the file before its first row.
    pub(super) header: String,
}

/// A checkpoint whose rows stand in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Commit {
    pub(super) checkpoint: CheckpointId,
    /// Where its rows begin.
    pub(super) offset: u64,
    /// How long they are; with the header, if they are the first.
    pub(super) bytes: u64,
    /// Digest of these bytes.
    pub(super) digest: Digest,
}

/// A commit log, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct CommitLog {
    path: PathBuf,
    file: File,
    pub(super) owner: Owner,
    pub(super) last: Option<Commit>,
    /// Where the next line goes, and where the last whole one begins.
    end: u64,
    last_start: u64,
}

impl Owner {
    pub(super) fn new(job: &str, sink: &str, header: String) -> Self {
        Self {
            commits: VERSION,
            job: job.into(),
            sink: sink.into(),
            header,
        }
    }
}

impl Commit {
    /// Where its rows end.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

impl CommitLog {
    /// Writes a log without a commit in the place of any other.
    pub(super) fn create(
        disk: &mut dyn Disk,
        path: &Path,
        owner: &Owner,
    ) -> Result<(), ConnectorError> {
        replace(disk, path, &line(owner)).map_err(|source| error(path, source))
    }

    /// Opens and locks the log at a path; none if there is none.
    pub(super) fn hold(path: &Path) -> Result<Option<Self>, ConnectorError> {
        let Some(mut file) = lock(path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = file.read_to_end(&mut bytes);
        read.map_err(|source| error(path, source))?;
        Self::parse(path, file, &bytes).map(Some)
    }

    fn parse(path: &Path, file: File, bytes: &[u8]) -> Result<Self, ConnectorError> {
        let damage = |line| FollowError::Log {
            path: path.into(),
            line,
        };
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let owner = parse_line::<Owner>(first).filter(|owner| owner.commits == VERSION);
        let mut log = Self {
            path: path.into(),
            file,
            owner: owner.ok_or(damage(1))?,
            last: None,
            end: first.len() as u64,
            last_start: 0,
        };
        let mut lines = lines.zip(2..).peekable();
        while let Some((line, number)) = lines.next() {
            let Some(commit) = parse_line::<Commit>(line) else {
                // Where a line end was hit, two lines look like one.
                let is_one = !line.iter().skip(1).any(|byte| *byte == b'{');
                if is_one && lines.peek().is_none() {
                    break;
                }
                return Err(damage(number).into());
            };
            if !log.fits(&commit) {
                return Err(damage(number).into());
            }
            log.push(commit, line.len());
        }
        Ok(log)
    }

    /// Whether a commit can follow the last one.
    fn fits(&self, commit: &Commit) -> bool {
        let last = self.last.as_ref();
        last.is_none_or(|last| commit.checkpoint > last.checkpoint && commit.offset == last.end())
    }

    fn push(&mut self, commit: Commit, line_len: usize) {
        self.last = Some(commit);
        self.last_start = self.end;
        self.end += line_len as u64;
    }

    /// Makes sure that what was read would outlive a power cut: its writer may have been killed
    /// before it was synced. It is written again, because after a sync that failed the system may
    /// count bytes as synced that are not.
    pub(super) fn settle(&mut self, disk: &mut dyn Disk) -> Result<(), ConnectorError> {
        let Some(last) = &self.last else {
            return Ok(());
        };
        let settled = disk
            .write(&self.file, &line(last), self.last_start)
            .and_then(|()| disk.sync(&self.file));
        settled.map_err(|source| error(&self.path, source))
    }

    /// Adds a commit, durably.
    pub(super) fn append(
        &mut self,
        disk: &mut dyn Disk,
        commit: Commit,
    ) -> Result<(), ConnectorError> {
        let line = line(&commit);
        let appended = if self.end + line.len() as u64 > LOG_BYTES_MAX {
            let lines = [self::line(&self.owner), line].concat();
            replace(disk, &self.path, &lines)
        } else {
            // What a torn line has left is longer, perhaps.
            disk.cut(&self.file, self.end)
                .and_then(|()| disk.write(&self.file, &line, self.end))
                .and_then(|()| disk.sync(&self.file))
        };
        appended.map_err(|source| error(&self.path, source))
    }
}

/// Locks the log that stands at a path.
fn lock(path: &Path) -> Result<Option<File>, ConnectorError> {
    let failed = |source| error(path, source);
    for _ in 0..LOOKS_MAX {
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => break,
            Err(error) => return Err(failed(error.into())),
        }
        // Another may have been put in its place before it was locked.
        let held = file.metadata().map_err(failed)?;
        let stands = std::fs::metadata(path);
        if stands.is_ok_and(|it| (it.dev(), it.ino()) == (held.dev(), held.ino())) {
            return Ok(Some(file));
        }
    }
    Err(FollowError::Busy { path: path.into() }.into())
}

/// Puts a file with these bytes in the place of any other.
fn replace(disk: &mut dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = super::beside(path, ".new");
    let file = disk.open(&new)?;
    disk.cut(&file, 0)?;
    disk.write(&file, bytes, 0)?;
    disk.sync(&file)?;
    disk.rename(&new, path)
}

fn line(of: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_string(of).expect("numbers and texts are JSON");
    line.pop();
    let check = xxh3_64(line.as_bytes());
    format!("{line}{CHECK}{check:016x}\"}}\n").into_bytes()
}

/// What a line says; none if it is not as it was written.
fn parse_line<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\"}\n")?;
    let (said, check) = line.rsplit_once(CHECK)?;
    let is_whole = check == format!("{:016x}", xxh3_64(said.as_bytes()));
    is_whole.then(|| serde_json::from_str(&format!("{said}}}")).ok())?
}

fn error(path: &Path, source: io::Error) -> ConnectorError {
    ConnectorError::Write {
        path: path.into(),
        source,
    }
}

#[cfg(test)]
mod tests;

//! A file that follows checkpoints: at every moment it holds the rows of decided checkpoints, each
//! once, up to some point.
//!
//! The [commit log](commits) beside it tells how far it is committed. A share is written behind
//! that and synced, then its line goes into the log: after a crash between the two the same share
//! is written to the same place. The first one goes to a new file that then takes the old one's
//! name.

mod commits;
mod disk;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use wasmill_core::{batch::Batch, checkpoint::CheckpointId, pipeline::EncodeSpec};

use super::{
    FollowError, Opening,
    share::{self, Share, ShareState},
    spool::Spool,
};
use crate::{
    clock,
    connector::{ConnectorError, Follower},
    crash_point::{CrashPoint, is_armed, reach},
    format::{
        FormatError,
        encode::{Encoder, Metadata},
    },
    spawn,
};
use commits::{Commit, CommitLog, Owner};
use disk::{Disk, LocalDisk};

/// Bytes of one write. Each ends with a line, if it can, so that readers seldom see half of one.
const WRITE_BYTES: usize = 1 << 20;
/// How long another process may hold an output that is opened.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// From one look to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a file sink is told by its pipeline.
#[derive(Debug)]
pub struct FileSpec<'a> {
    /// Its name.
    pub sink: &'a str,
    /// The file.
    pub path: &'a Path,
    /// How rows become text.
    pub format: &'a EncodeSpec,
}

/// Writes rows as text into a file, those of decided checkpoints only.
pub struct FileFollower<D = LocalDisk> {
    path: PathBuf,
    commits_path: PathBuf,
    owner: Owner,
    /// What the commit log says.
    last: Option<Commit>,
    encoder: Encoder,
    metadata: Metadata,
    spool: Spool,
    disk: D,
}

/// What a file's share says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    /// What stands before the first row of the file that these rows are for.
    header: String,
}

impl FileFollower {
    /// Opens the file's commit log, or begins one if there is no file, or it is empty, or the run
    /// begins anew.
    ///
    /// # Errors
    /// If the file is not as its commit log says, or belongs to another sink.
    pub fn open(
        spec: &FileSpec<'_>,
        metadata: Metadata,
        opening: &Opening<'_>,
    ) -> Result<Self, ConnectorError> {
        Self::open_on(LocalDisk, spec, metadata, opening)
    }
}

impl<D: Disk> FileFollower<D> {
    fn open_on(
        disk: D,
        spec: &FileSpec<'_>,
        metadata: Metadata,
        opening: &Opening<'_>,
    ) -> Result<Self, ConnectorError> {
        let path = resolve(spec.path)?;
        let encoder = Encoder::new(metadata.schema(), spec.format);
        let mut header = Vec::new();
        encoder.start(&mut header);
        let header = String::from_utf8_lossy(&header).into_owned();
        let mut follower = Self {
            commits_path: beside(&path, ".commits"),
            path,
            owner: Owner::new(opening.job, spec.sink, header),
            last: None,
            encoder,
            metadata,
            spool: Spool::new(opening.spool, opening.since),
            disk,
        };
        follower.begin(opening.is_fresh)?;
        Ok(follower)
    }

    /// Finds out what is committed.
    fn begin(&mut self, is_fresh: bool) -> Result<(), ConnectorError> {
        let held = self.hold_patiently();
        let log = if is_fresh {
            // Whatever it says; but nobody must be writing.
            if let Err(error @ ConnectorError::Follow(FollowError::Busy { .. })) = held {
                return Err(error);
            }
            None
        } else {
            held?
        };
        let Some(mut log) = log else {
            let has_rows = std::fs::metadata(&self.path).is_ok_and(|file| file.len() > 0);
            if has_rows && !is_fresh {
                let (path, commits) = (self.path.clone(), self.commits_path.clone());
                return Err(FollowError::NotOurs { path, commits }.into());
            }
            return CommitLog::create(&mut self.disk, &self.commits_path, &self.owner);
        };
        let owner = log.owner.clone();
        if (&owner.job, &owner.sink) != (&self.owner.job, &self.owner.sink) {
            let (path, Owner { job, sink, .. }) = (self.path.clone(), owner);
            return Err(FollowError::Owner { path, job, sink }.into());
        }
        let Some(last) = log.last.clone() else {
            // Nothing is written yet: other columns are as good.
            return CommitLog::create(&mut self.disk, &self.commits_path, &self.owner);
        };
        self.same_header(&owner.header)?;
        self.verify(&last)?;
        log.settle(&mut self.disk)?;
        self.last = Some(last);
        Ok(())
    }

    /// The commit log, once nobody else holds it: an attempt that this one comes after may be in
    /// the middle of a share.
    fn hold_patiently(&self) -> Result<Option<CommitLog>, ConnectorError> {
        let began = clock::monotonic();
        loop {
            match CommitLog::hold(&self.commits_path) {
                Err(ConnectorError::Follow(FollowError::Busy { .. }))
                    if began.elapsed() < BUSY_MAX =>
                {
                    spawn::pause(LOOK_AGAIN);
                }
                held => return held,
            }
        }
    }

    /// Rows of other columns cannot follow a header.
    fn same_header(&self, header: &str) -> Result<(), FollowError> {
        if header == self.owner.header {
            return Ok(());
        }
        Err(FollowError::Header {
            path: self.path.clone(),
            found: header.into(),
            wanted: self.owner.header.clone(),
        })
    }

    /// Whether the file has all that is committed.
    fn long_enough(&self, last: &Commit) -> Result<(), ConnectorError> {
        let found = match std::fs::metadata(&self.path) {
            Ok(file) => file.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(self.error(source)),
        };
        if found >= last.end() {
            return Ok(());
        }
        let (path, committed) = (self.path.clone(), last.end());
        let error = FollowError::Shorter {
            path,
            found,
            committed,
        };
        Err(error.into())
    }

    /// Whether the file's last committed rows are what the log says.
    fn verify(&self, last: &Commit) -> Result<(), ConnectorError> {
        self.long_enough(last)?;
        let digest = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(last.offset))?;
            share::digest(file.take(last.bytes))
        };
        if digest().map_err(|source| self.error(source))? == last.digest {
            return Ok(());
        }
        let error = FollowError::Changed {
            path: self.path.clone(),
            checkpoint: last.checkpoint,
            offset: last.offset,
        };
        Err(error.into())
    }

    /// The log, locked, and as this run knows it, or with `checkpoint` on top: then an attempt that
    /// has been overtaken, or has overtaken this one, did the same.
    fn hold(
        &mut self,
        checkpoint: CheckpointId,
        share: &Share,
    ) -> Result<CommitLog, ConnectorError> {
        let overtaken = |marker| FollowError::Overtaken {
            place: format!("`{}`", self.path.display()),
            marker,
        };
        let Some(mut log) = CommitLog::hold(&self.commits_path)? else {
            return Err(overtaken(None).into());
        };
        if log.last == self.last && log.owner == self.owner {
            return Ok(log);
        }
        let marker = log.last.as_ref().map(|last| last.checkpoint);
        let Some(last) = log
            .last
            .as_ref()
            .filter(|last| last.checkpoint == checkpoint)
        else {
            return Err(overtaken(marker).into());
        };
        let header = Some(self.owner.header.as_bytes()).filter(|_| last.offset == 0);
        let digest = share.digest(header.unwrap_or_default());
        if log.owner != self.owner || digest.map_err(|it| self.error(it))? != last.digest {
            return Err(overtaken(marker).into());
        }
        log.settle(&mut self.disk)?;
        self.last = log.last.clone();
        Ok(log)
    }

    /// Writes a share, and returns what is to be noted of it.
    fn append(
        &mut self,
        checkpoint: CheckpointId,
        share: &Share,
    ) -> Result<Commit, ConnectorError> {
        let header = match &self.last {
            Some(_) => "",
            None => &self.owner.header,
        };
        let committed = self.last.as_ref().map_or(0, Commit::end);
        let commit = Commit {
            checkpoint,
            offset: committed,
            bytes: header.len() as u64 + share.bytes_len(),
            digest: share
                .digest(header.as_bytes())
                .map_err(|source| self.error(source))?,
        };
        let rows = || header.as_bytes().chain(share.reader());
        let is_first = self.last.is_none();
        if let Some(last) = &self.last {
            self.long_enough(last)?;
        }
        if !is_first && !is_tail_ours(&self.path, &commit, rows()).map_err(|it| self.error(it))? {
            let path = self.path.clone();
            return Err(FollowError::Tail { path, committed }.into());
        }
        let written = if is_first {
            write_new(&mut self.disk, &self.path, rows())
        } else {
            write_behind(&mut self.disk, &self.path, rows(), committed)
        };
        written.map_err(|source| self.error(source))?;
        Ok(commit)
    }

    fn error(&self, source: io::Error) -> ConnectorError {
        ConnectorError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

impl<D: Disk> Follower for FileFollower<D> {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let rows = self.metadata.extend(batch).map_err(FormatError::from)?;
        self.encoder.encode(&rows, self.spool.buffer())?;
        self.spool.settle()
    }

    fn share(&mut self, checkpoint: CheckpointId) -> Result<Share, ConnectorError> {
        let objects = self.spool.seal(checkpoint)?;
        let state = ShareState {
            since: self.spool.since(),
            rows: Text {
                header: self.owner.header.clone(),
            },
        };
        Ok(Share::new(&state, objects))
    }

    fn decided(&mut self, checkpoint: CheckpointId) {
        self.spool.decided(checkpoint);
    }

    fn apply(&mut self, checkpoint: CheckpointId, share: &Share) -> Result<(), ConnectorError> {
        let state = share.state::<Text>(&self.owner.sink)?;
        let mut log = self.hold(checkpoint, share)?;
        let marker = self.last.as_ref().map(|last| last.checkpoint);
        if marker >= Some(checkpoint) {
            return Ok(());
        }
        let place = format!("`{}`", self.path.display());
        super::chained(&place, checkpoint, state.since, marker)?;
        self.same_header(&state.rows.header)?;
        let commit = self.append(checkpoint, share)?;
        reach(CrashPoint::FileWritten);
        log.append(&mut self.disk, commit.clone())?;
        reach(CrashPoint::FileCommitted);
        self.last = Some(commit);
        Ok(())
    }

    fn marker(&mut self) -> Result<Option<CheckpointId>, ConnectorError> {
        Ok(self.last.as_ref().map(|last| last.checkpoint))
    }

    fn commit_point(&self) -> Option<CrashPoint> {
        Some(CrashPoint::FileCommitted)
    }
}

/// The file that a path leads to, so that a link to it keeps leading there when the file is
/// replaced; folders on the way are made.
fn resolve(path: &Path) -> Result<PathBuf, ConnectorError> {
    let error = |source| ConnectorError::Write {
        path: path.into(),
        source,
    };
    let not_a_file = || FollowError::NotAFile { path: path.into() };
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => return path.canonicalize().map_err(error),
        Ok(_) => return Err(not_a_file().into()),
        Err(none) if none.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(error(source)),
    }
    let name = path.file_name().ok_or_else(not_a_file)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(error)?;
    Ok(folder.canonicalize().map_err(error)?.join(name))
}

/// The path of a file beside another.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether what stands behind the committed rows is what a crash can have left of this commit: its
/// first bytes, or zeros where the disk had not got them.
fn is_tail_ours(path: &Path, commit: &Commit, mut rows: impl Read) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    if len > commit.end() {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(commit.offset))?;
    let (mut found, mut wanted) = (vec![0; WRITE_BYTES], vec![0; WRITE_BYTES]);
    loop {
        let count = fill(&mut file, &mut found)?;
        let wanted = &mut wanted[..count];
        rows.read_exact(wanted)?;
        let mut bytes = found[..count].iter().zip(&*wanted);
        if !bytes.all(|(found, wanted)| found == wanted || *found == 0) {
            return Ok(false);
        }
        if count < WRITE_BYTES {
            return Ok(true);
        }
    }
}

/// Writes a file that takes the place of any other at once.
fn write_new(disk: &mut dyn Disk, path: &Path, rows: impl Read) -> io::Result<()> {
    let new = beside(path, ".new");
    let file = disk.open(&new)?;
    disk.cut(&file, 0)?;
    write(disk, &file, rows, 0)?;
    disk.sync(&file)?;
    disk.rename(&new, path)
}

/// Writes behind what is committed.
fn write_behind(disk: &mut dyn Disk, path: &Path, rows: impl Read, offset: u64) -> io::Result<()> {
    let file = disk.open(path)?;
    write(disk, &file, rows, offset)?;
    disk.sync(&file)
}

/// Writes rows from the first to the last, so that at every moment the file holds the first so
/// many.
fn write(disk: &mut dyn Disk, file: &File, mut rows: impl Read, mut offset: u64) -> io::Result<()> {
    let (mut buffer, mut kept) = (vec![0; WRITE_BYTES], 0);
    loop {
        let len = kept + fill(&mut rows, &mut buffer[kept..])?;
        let is_end = len < WRITE_BYTES;
        let line_end = memchr::memrchr(b'\n', &buffer[..len]).map(|at| at + 1);
        let whole = line_end.filter(|_| !is_end).unwrap_or(len);
        if whole > 0 {
            if is_armed(CrashPoint::FileTorn) {
                disk.write(file, &buffer[..whole / 2], offset)?;
                reach(CrashPoint::FileTorn);
            }
            disk.write(file, &buffer[..whole], offset)?;
            offset += whole as u64;
        }
        if is_end {
            return Ok(());
        }
        buffer.copy_within(whole..len, 0);
        kept = len - whole;
    }
}

/// Reads until the buffer is full or there is no more.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match from.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests;

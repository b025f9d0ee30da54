//! Rows that wait for their checkpoint to be decided.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use wasmill_core::checkpoint::CheckpointId;

use super::share::Spooled;
use crate::connector::ConnectorError;

/// Bytes that wait in memory; more go to an unnamed file.
const MEMORY_BYTES_MAX: usize = 4 << 20;

/// Encoded rows since the newest decided checkpoint: a piece for each barrier that has passed, and
/// what came behind the last.
#[derive(Debug)]
pub(in crate::connector) struct Spool {
    folder: PathBuf,
    memory_bytes_max: usize,
    /// What came behind the last barrier, or its end.
    buffer: Vec<u8>,
    /// What came before that, and its length.
    file: Option<(File, u64)>,
    /// Sealed pieces, oldest first, each with the checkpoint that it was handed in for first.
    pieces: VecDeque<(CheckpointId, Spooled)>,
    /// The newest decided checkpoint.
    since: Option<CheckpointId>,
}

impl Spool {
    /// An empty spool behind a decided checkpoint.
    pub(in crate::connector) fn new(folder: &Path, since: Option<CheckpointId>) -> Self {
        Self {
            folder: folder.into(),
            memory_bytes_max: MEMORY_BYTES_MAX,
            buffer: Vec::new(),
            file: None,
            pieces: VecDeque::new(),
            since,
        }
    }

    /// Behind which decided checkpoint the pieces begin.
    pub(in crate::connector) fn since(&self) -> Option<CheckpointId> {
        self.since
    }

    /// Where bytes are appended; [`Spool::settle`] follows.
    pub(in crate::connector) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Keeps memory bounded.
    pub(in crate::connector) fn settle(&mut self) -> Result<(), ConnectorError> {
        if self.buffer.len() < self.memory_bytes_max {
            return Ok(());
        }
        self.drain().map_err(|source| self.error(source))
    }

    /// Bytes that wait in memory and in files.
    pub(in crate::connector) fn waiting_bytes(&self) -> u64 {
        let pieces = self.pieces.iter().map(|(_, piece)| piece.bytes_len());
        let file = self.file.as_ref().map_or(0, |(_, len)| *len);
        pieces.sum::<u64>() + file + self.buffer.len() as u64
    }

    /// Ends a piece, and gives all that are not decided.
    pub(in crate::connector) fn seal(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<Vec<Spooled>, ConnectorError> {
        if self.file.is_some() {
            self.drain().map_err(|source| self.error(source))?;
        }
        if let Some((file, len)) = self.file.take() {
            let piece = Spooled::File(Arc::new(file), len);
            self.pieces.push_back((checkpoint, piece));
        } else if !self.buffer.is_empty() {
            let bytes = std::mem::take(&mut self.buffer);
            self.pieces
                .push_back((checkpoint, Spooled::Memory(bytes.into())));
        }
        Ok(self.pieces.iter().map(|(_, piece)| piece.clone()).collect())
    }

    /// Forgets what was handed in for this checkpoint or before.
    pub(in crate::connector) fn decided(&mut self, checkpoint: CheckpointId) {
        while self
            .pieces
            .pop_front_if(|(first, _)| *first <= checkpoint)
            .is_some()
        {}
        self.since = self.since.max(Some(checkpoint));
    }

    fn drain(&mut self) -> io::Result<()> {
        let (file, len) = match &mut self.file {
            Some(file) => file,
            none => none.insert((tempfile::tempfile_in(&self.folder)?, 0)),
        };
        file.write_all(&self.buffer)?;
        *len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn error(&self, source: io::Error) -> ConnectorError {
        ConnectorError::Spool {
            folder: self.folder.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn text(pieces: &[Spooled]) -> String {
        let mut text = String::new();
        for piece in pieces {
            let read = piece.reader().read_to_string(&mut text);
            assert_eq!(read.expect("readable") as u64, piece.bytes_len());
        }
        text
    }

    #[test]
    fn what_was_aborted_is_handed_in_again_and_what_was_decided_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for memory_bytes_max in [1, 3, 1000] {
            let mut spool = Spool::new(folder.path(), None);
            spool.memory_bytes_max = memory_bytes_max;
            let write = |spool: &mut Spool, bytes: &str| {
                spool.buffer().extend_from_slice(bytes.as_bytes());
                spool.settle().expect("there is room");
            };
            let seal = |spool: &mut Spool, checkpoint| {
                text(&spool.seal(CheckpointId(checkpoint)).expect("there is room"))
            };
            write(&mut spool, "ab");
            write(&mut spool, "cd");
            assert_eq!(seal(&mut spool, 1), "abcd");
            write(&mut spool, "ef");
            assert_eq!(seal(&mut spool, 2), "abcdef");
            write(&mut spool, "g");
            spool.decided(CheckpointId(2));
            assert_eq!(spool.since(), Some(CheckpointId(2)));
            assert_eq!(seal(&mut spool, 3), "g");
            assert_eq!(seal(&mut spool, 4), "g");
            spool.decided(CheckpointId(4));
            assert_eq!(seal(&mut spool, 5), "");
        }
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 0, "files of a spool have no names");
    }
}

//! What a sink hands in for a checkpoint.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use wasmill_core::checkpoint::{CheckpointId, Digest};

use super::FollowError;

/// A sink's share of a checkpoint: as it was handed in, or read back from the store. In a manifest
/// it is a part: `state` as it is, and an object for each of `objects`, in this order.
#[derive(Debug, Clone)]
pub struct Share {
    /// What is small; the sink's own, to be kept as it is.
    pub state: Json,
    /// What is large.
    pub objects: Vec<Spooled>,
}

/// Complete bytes, in memory or in a file. A clone shares them.
#[derive(Debug, Clone)]
pub enum Spooled {
    /// In memory.
    Memory(Bytes),
    /// The first so many bytes of a file; one without a name is gone with its last handle.
    File(Arc<File>, u64),
}

/// Reads spooled bytes from their start.
#[derive(Debug)]
pub struct SpooledReader {
    spooled: Spooled,
    at: u64,
}

/// What every share's state says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(in crate::connector) struct ShareState<T> {
    /// Behind which decided checkpoint its rows begin.
    pub(in crate::connector) since: Option<CheckpointId>,
    /// The rest, by kind of sink.
    pub(in crate::connector) rows: T,
}

impl Share {
    pub(in crate::connector) fn new<T: Serialize>(
        state: &ShareState<T>,
        objects: Vec<Spooled>,
    ) -> Self {
        let state = serde_json::to_value(state).expect("numbers and texts are JSON");
        Self { state, objects }
    }

    /// The state as its sink knows it.
    pub(in crate::connector) fn state<T: DeserializeOwned>(
        &self,
        sink: &str,
    ) -> Result<ShareState<T>, FollowError> {
        ShareState::deserialize(&self.state).map_err(|error| FollowError::Share {
            sink: sink.into(),
            reason: error.to_string(),
        })
    }

    /// All bytes, one object after the other.
    pub(in crate::connector) fn reader(&self) -> impl Read {
        let empty: Box<dyn Read> = Box::new(io::empty());
        let objects = self.objects.iter().map(Spooled::reader);
        objects.fold(empty, |before, object| Box::new(before.chain(object)))
    }

    /// Number of bytes of all objects.
    pub(in crate::connector) fn bytes_len(&self) -> u64 {
        self.objects.iter().map(Spooled::bytes_len).sum()
    }

    /// Digest of `prefix` and all bytes behind it.
    pub(in crate::connector) fn digest(&self, prefix: &[u8]) -> io::Result<Digest> {
        digest(prefix.chain(self.reader()))
    }
}

impl Spooled {
    /// Number of bytes.
    pub fn bytes_len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, len) => *len,
        }
    }

    /// Reads them from the start; several readers do not disturb each other.
    pub fn reader(&self) -> SpooledReader {
        SpooledReader {
            spooled: self.clone(),
            at: 0,
        }
    }
}

impl From<Bytes> for Spooled {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}

impl Read for SpooledReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let rest = self.spooled.bytes_len().saturating_sub(self.at);
        let len = out.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        let out = &mut out[..len];
        let read = match &self.spooled {
            Spooled::Memory(bytes) => {
                let at = bytes.len() - rest as usize;
                out.copy_from_slice(&bytes[at..at + len]);
                len
            }
            Spooled::File(file, _) => file.read_at(out, self.at)?,
        };
        if read == 0 && len > 0 {
            // The file became shorter.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

/// Digest of all that a reader gives.
pub(in crate::connector) fn digest(mut reader: impl Read) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    io::copy(&mut reader, &mut hash)?;
    Ok(Digest::from_bytes(hash.finalize().into()))
}

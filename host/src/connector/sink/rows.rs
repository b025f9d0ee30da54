//! Rows that wait for their checkpoint as columns: for databases, whatever their protocol.

use std::{io::BufReader, path::Path};

use arrow_array::RecordBatch;
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{ArrowError, SchemaRef};
use serde::{Deserialize, Serialize};
use wasmill_core::{batch::Batch, checkpoint::CheckpointId};

use super::{
    FollowError,
    share::{Share, ShareState},
    spool::Spool,
};
use crate::{
    connector::ConnectorError,
    format::{FormatError, encode::Metadata},
};

/// Gathers rows with the columns of the engine, each piece an Arrow IPC stream.
pub(super) struct RowSpool {
    metadata: Metadata,
    spool: Spool,
    /// Of the piece that is being written.
    writer: Option<StreamWriter<Vec<u8>>>,
}

/// What the state of a share of rows says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    format: Format,
}

/// How the objects are written.
#[derive(Debug, Serialize, Deserialize)]
enum Format {
    /// Each object is an Arrow IPC stream.
    #[serde(rename = "arrow-ipc-stream")]
    ArrowIpcStream,
}

impl RowSpool {
    /// An empty spool behind a decided checkpoint.
    pub(super) fn new(metadata: Metadata, folder: &Path, since: Option<CheckpointId>) -> Self {
        Self {
            metadata,
            spool: Spool::new(folder, since),
            writer: None,
        }
    }

    /// The columns, those of the engine last.
    pub(super) fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Gathers the rows of a batch.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let rows = self.metadata.extend(batch).map_err(FormatError::from)?;
        self.write_rows(&rows)
    }

    /// Gathers rows that have the columns of the engine already.
    pub(super) fn write_rows(&mut self, rows: &RecordBatch) -> Result<(), ConnectorError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let writer = StreamWriter::try_new(Vec::new(), self.metadata.schema());
                none.insert(writer.map_err(FormatError::from)?)
            }
        };
        writer.write(rows).map_err(FormatError::from)?;
        self.drain()
    }

    /// All rows that are not decided.
    pub(super) fn share(&mut self, checkpoint: CheckpointId) -> Result<Share, ConnectorError> {
        if let Some(writer) = &mut self.writer {
            writer.finish().map_err(FormatError::from)?;
        }
        self.drain()?;
        self.writer = None;
        let format = Format::ArrowIpcStream;
        let state = ShareState {
            since: self.spool.since(),
            rows: Rows { format },
        };
        Ok(Share::new(&state, self.spool.seal(checkpoint)?))
    }

    /// Forgets what was handed in for this checkpoint or before.
    pub(super) fn decided(&mut self, checkpoint: CheckpointId) {
        self.spool.decided(checkpoint);
    }

    /// Bytes that wait for their checkpoint.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.spool.waiting_bytes()
    }

    /// Hands the bytes of the writer over to the spool.
    fn drain(&mut self) -> Result<(), ConnectorError> {
        if let Some(writer) = &mut self.writer {
            self.spool.buffer().append(writer.get_mut());
        }
        self.spool.settle()
    }
}

/// Behind which decided checkpoint a share of rows begins.
pub(super) fn since(share: &Share, sink: &str) -> Result<Option<CheckpointId>, FollowError> {
    let ShareState { since, rows } = share.state::<Rows>(sink)?;
    let Rows {
        format: Format::ArrowIpcStream,
    } = rows;
    Ok(since)
}

/// Hands on every batch of a share.
pub(super) fn for_each(
    share: &Share,
    sink: &str,
    mut take: impl FnMut(&RecordBatch) -> Result<(), ConnectorError>,
) -> Result<(), ConnectorError> {
    batches(share, sink).try_for_each(|rows| take(&rows?))
}

/// Every batch of a share.
pub(super) fn batches(
    share: &Share,
    sink: &str,
) -> impl Iterator<Item = Result<RecordBatch, ConnectorError>> {
    let unread = move |reason: ArrowError| -> ConnectorError {
        let (sink, reason) = (sink.into(), reason.to_string());
        FollowError::Share { sink, reason }.into()
    };
    share.objects.iter().flat_map(move |object| {
        let stream = StreamReader::try_new(BufReader::new(object.reader()), None);
        let (stream, failed) = match stream {
            Ok(stream) => (Some(stream), None),
            Err(error) => (None, Some(Err(unread(error)))),
        };
        let rows = stream.into_iter().flatten();
        failed
            .into_iter()
            .chain(rows.map(move |rows| rows.map_err(unread)))
    })
}

//! Sinks: files, standard output, SQLite, nothing.

mod sqlite;

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use arrow_schema::SchemaRef;
use wasmill_core::{
    batch::Batch,
    pipeline::{self, EncodeSpec, SinkKind},
};

use super::{ConnectorError, Sink};
use crate::format::{
    FormatError,
    encode::{Encoder, Metadata},
};

pub use sqlite::SqliteSink;

/// A sink that writes text hands it on when so much has gathered.
const BUFFER_BYTES: usize = 256 << 10;

/// Takes rows and forgets them.
#[derive(Debug, Default)]
pub struct Discard;

impl Sink for Discard {
    fn write(&mut self, _batch: &Batch) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }
}

/// Opens the sink of a pipeline for streams of `schema`.
pub fn open(
    sink: &pipeline::Sink,
    schema: &SchemaRef,
    job: &str,
) -> Result<Box<dyn Sink>, ConnectorError> {
    let metadata = Metadata::new(schema, &sink.include, job);
    Ok(match &sink.kind {
        SinkKind::File(file, format) => {
            Box::new(TextSink::file(Path::new(&file.path), format, metadata)?)
        }
        SinkKind::Stdout(format) => Box::new(TextSink::stdout(format, metadata)),
        SinkKind::Sqlite(table) => Box::new(SqliteSink::open(
            Path::new(&table.path),
            &table.table,
            metadata,
        )?),
        SinkKind::Discard => Box::new(Discard),
    })
}

/// Writes rows as text into a file or to standard output.
pub struct TextSink {
    path: PathBuf,
    out: Box<dyn Write + Send>,
    encoder: Encoder,
    metadata: Metadata,
    buffer: Vec<u8>,
}

impl TextSink {
    /// Writes to a file, which is made or emptied; so are the folders on the way.
    pub fn file(
        path: &Path,
        format: &EncodeSpec,
        metadata: Metadata,
    ) -> Result<Self, ConnectorError> {
        let out = Box::new(create(path)?);
        Ok(Self::new(path, out, format, metadata))
    }

    /// Writes to standard output.
    pub fn stdout(format: &EncodeSpec, metadata: Metadata) -> Self {
        Self::new(
            Path::new("stdout"),
            Box::new(io::stdout()),
            format,
            metadata,
        )
    }

    fn new(
        path: &Path,
        out: Box<dyn Write + Send>,
        format: &EncodeSpec,
        metadata: Metadata,
    ) -> Self {
        let encoder = Encoder::new(metadata.schema(), format);
        let mut buffer = Vec::new();
        encoder.start(&mut buffer);
        Self {
            path: path.into(),
            out,
            encoder,
            metadata,
            buffer,
        }
    }

    fn drain(&mut self) -> Result<(), ConnectorError> {
        let written = self.out.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> ConnectorError {
        ConnectorError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

impl Sink for TextSink {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let rows = self.metadata.extend(batch).map_err(FormatError::from)?;
        self.encoder.encode(&rows, &mut self.buffer)?;
        if self.buffer.len() >= BUFFER_BYTES {
            self.drain()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.drain()?;
        self.out.flush().map_err(|source| self.error(source))
    }
}

/// Makes or empties a file, and the folders on the way to it.
fn create(path: &Path) -> Result<File, ConnectorError> {
    let error = |source| ConnectorError::Write {
        path: path.into(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(error)?;
    }
    File::create(path).map_err(error)
}

#[cfg(test)]
mod tests;

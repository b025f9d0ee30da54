//! Sinks: files, standard output, databases, nothing. Files and databases can follow checkpoints.

mod error;
mod file;
#[cfg(test)]
pub(super) mod model;
pub mod patience;
mod postgres;
mod rows;
pub mod share;
pub(in crate::connector) mod spool;
pub(crate) mod sqlite;

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use arrow_schema::SchemaRef;
use wasmill_core::{
    batch::Batch,
    checkpoint::{AttemptId, CheckpointId, Notes},
    pipeline::{self, EncodeSpec, SinkKind, document::Delivery},
};

use super::{
    ConnectorError, Follower, Sink,
    kafka::{self, KafkaDecider, KafkaFollower, KafkaPlain},
};
use crate::format::{
    FormatError,
    encode::{Encoder, Metadata},
};

pub use error::FollowError;
pub use file::FileFollower;
pub use postgres::{PostgresError, PostgresFollower, PostgresPlain};
pub use sqlite::{SqliteFollower, SqliteSink};

/// A sink that writes text hands it on when so much has gathered.
const BUFFER_BYTES: usize = 256 << 10;

/// A sink as its pipeline wants it.
pub enum Output {
    /// Its output holds rows of decided checkpoints, each once.
    Follower(Box<dyn Follower>),
    /// Rows go out as they come; after a failure some come again.
    Plain(Box<dyn Sink>),
}

/// Which of several attempts a sink belongs to: where an output knows it, an earlier one cannot
/// write there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The attempt, later ones have higher numbers.
    pub attempt: AttemptId,
    /// When it began, in microseconds since 1970.
    pub begun_us: i64,
}

/// The sink whose transactions decide a job's checkpoints.
#[derive(Debug, Clone)]
pub struct DecidingSink {
    /// The sink.
    pub sink: pipeline::Sink,
    /// The job.
    pub job: String,
}

/// Gives where a deciding sink's notes are, in words, and what they say. Blocks.
///
/// With `ends`, what earlier attempts have open is ended first, so that none of them decides
/// anything any more. Without, their newest verdict may still be on its way.
///
/// # Errors
/// If they cannot be read.
pub fn verdict(of: &DecidingSink, ends: bool) -> Result<(String, Notes), ConnectorError> {
    match &of.sink.kind {
        SinkKind::Kafka(topics, _) => kafka::verdict(of, topics, ends),
        _ => unreachable!("only Kafka's transactions decide"),
    }
}

/// What a follower must know about the run that it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The job.
    pub job: &'a str,
    /// The attempt.
    pub fence: Fence,
    /// Whether the job begins anew, and its output with it. A follower is opened when the attempt
    /// stands in the log, so that an old output is not given up for a run that never was.
    pub is_fresh: bool,
    /// The decided checkpoint of this job's own log that it goes on from: the `since` of the first
    /// manifest of this attempt.
    pub since: Option<CheckpointId>,
    /// Whether the job goes back, or comes from elsewhere: its rows come behind what is there.
    pub is_detour: bool,
    /// The folder for rows that wait; best on a disk, in some systems `/tmp` is memory. Nothing in
    /// it outlives the process.
    pub spool: &'a Path,
}

/// Opens the sink of a pipeline with the delivery that the pipeline asks for.
pub fn open_for(
    sink: &pipeline::Sink,
    schema: &SchemaRef,
    opening: &Opening<'_>,
) -> Result<Output, ConnectorError> {
    let goes_on = opening.since.is_some();
    if sink.delivery != Delivery::ExactlyOnce {
        return open(sink, schema, (opening.job, goes_on)).map(Output::Plain);
    }
    let metadata = Metadata::new(schema, &sink.include, opening.job);
    Ok(match &sink.kind {
        SinkKind::File(file, format) => {
            let spec = file::FileSpec {
                sink: &sink.name,
                path: Path::new(&file.path),
                format,
            };
            Output::Follower(Box::new(FileFollower::open(&spec, metadata, opening)?))
        }
        SinkKind::Sqlite(table) => {
            let follower = SqliteFollower::open(&sink.name, table, metadata, opening)?;
            Output::Follower(Box::new(follower))
        }
        SinkKind::Postgres(table) => {
            let follower = PostgresFollower::open(sink, table, metadata, opening)?;
            Output::Follower(Box::new(follower))
        }
        SinkKind::Kafka(topics, format) => {
            let topics = (&**topics, format);
            Output::Follower(match sink.decides() {
                true => Box::new(KafkaDecider::open(sink, topics, metadata, opening)?),
                false => Box::new(KafkaFollower::open(sink, topics, metadata, opening)?),
            })
        }
        SinkKind::Stdout(_) | SinkKind::Discard => {
            Output::Plain(open(sink, schema, (opening.job, goes_on))?)
        }
    })
}

/// Tells of an output that a job which begins anew only adds to.
pub(super) fn adds_to(sink: &str, place: &str) {
    tracing::warn!(
        sink,
        "{place} keeps what earlier runs wrote, and gets all rows besides"
    );
}

/// Whether a share begins where an output ends.
pub(super) fn chained(
    place: &str,
    checkpoint: CheckpointId,
    since: Option<CheckpointId>,
    marker: Option<CheckpointId>,
) -> Result<(), FollowError> {
    if since == marker {
        return Ok(());
    }
    Err(FollowError::Unchained {
        place: place.into(),
        checkpoint,
        since,
        marker,
    })
}

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

/// Opens the sink of a pipeline for streams of `schema`; rows go out as they come. Those of a job
/// that goes on from a checkpoint come behind those that are there.
pub fn open(
    sink: &pipeline::Sink,
    schema: &SchemaRef,
    (job, goes_on): (&str, bool),
) -> Result<Box<dyn Sink>, ConnectorError> {
    let metadata = Metadata::new(schema, &sink.include, job);
    Ok(match &sink.kind {
        SinkKind::File(file, format) => {
            let path = Path::new(&file.path);
            Box::new(TextSink::file(path, (format, goes_on), metadata)?)
        }
        SinkKind::Kafka(topics, format) => {
            let plain = KafkaPlain::open(sink, (topics, format), metadata, job)?;
            Box::new(plain)
        }
        SinkKind::Stdout(format) => Box::new(TextSink::stdout(format, metadata)),
        SinkKind::Sqlite(table) => Box::new(SqliteSink::open(
            Path::new(&table.path),
            &table.table,
            metadata,
        )?),
        SinkKind::Postgres(table) => Box::new(PostgresPlain::open(sink, table, metadata, job)?),
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
    /// Whether what stands before the first row is written.
    is_started: bool,
}

impl TextSink {
    /// Writes to a file, which is made if need be; so are the folders on the way. What is in it is
    /// replaced when the first rows come or the sink is closed: a run that fails before leaves it
    /// alone. From then on the rows so far stand in it, as in any log that is written as it goes; a
    /// job that never ends could not show them by renaming a file at its end. Where the job
    /// `goes_on` from a checkpoint, nothing is replaced: its rows come behind the last whole line.
    pub fn file(
        path: &Path,
        (format, goes_on): (&EncodeSpec, bool),
        metadata: Metadata,
    ) -> Result<Self, ConnectorError> {
        let (out, bytes) = match goes_on {
            true => Replaced::behind(path)?,
            false => (Replaced::open(path)?, 0),
        };
        let mut sink = Self::new(path, Box::new(out), format, metadata);
        sink.is_started = bytes > 0;
        Ok(sink)
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
        Self {
            path: path.into(),
            out,
            encoder: Encoder::new(metadata.schema(), format),
            metadata,
            buffer: Vec::new(),
            is_started: false,
        }
    }

    fn start(&mut self) {
        if !self.is_started {
            self.encoder.start(&mut self.buffer);
            self.is_started = true;
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
        self.start();
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

    fn close(&mut self) -> Result<(), ConnectorError> {
        self.start();
        self.flush()?;
        // A file for which no byte has come is emptied by this.
        let emptied = self.out.write(&[]).map(drop);
        emptied.map_err(|source| self.error(source))
    }
}

/// A file whose old bytes go when the first new ones come.
struct Replaced {
    file: File,
    /// Whether the old bytes, if any, are still there.
    is_old: bool,
}

impl Replaced {
    /// Opens a file, and makes it and the folders on the way to it if they are not there.
    fn open(path: &Path) -> Result<Self, ConnectorError> {
        let error = |source| ConnectorError::Write {
            path: path.into(),
            source,
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(error)?;
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(path);
        let file = file.map_err(error)?;
        // Pipes and devices have no old bytes.
        let is_old = file.metadata().map_err(error)?.is_file();
        Ok(Self { file, is_old })
    }

    /// Opens a file to write behind its last whole line; gives how long that is. A half line was
    /// left by a run that was killed, whose rows come again.
    fn behind(path: &Path) -> Result<(Self, u64), ConnectorError> {
        let mut replaced = Self::open(path)?;
        if !std::mem::take(&mut replaced.is_old) {
            return Ok((replaced, 0));
        }
        let whole = whole_lines(path).and_then(|bytes| {
            replaced.file.set_len(bytes)?;
            replaced.file.seek(SeekFrom::Start(bytes))
        });
        let bytes = whole.map_err(|source| ConnectorError::Write {
            path: path.into(),
            source,
        })?;
        Ok((replaced, bytes))
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.is_old {
            self.file.set_len(0)?;
            self.is_old = false;
        }
        Ok(())
    }
}

/// How many bytes of a file its whole lines are.
fn whole_lines(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut piece = vec![0; BUFFER_BYTES];
    while end > 0 {
        let begin = end.saturating_sub(BUFFER_BYTES as u64);
        let piece = &mut piece[..(end - begin) as usize];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(piece)?;
        if let Some(at) = memchr::memrchr(b'\n', piece) {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

impl Write for Replaced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests;

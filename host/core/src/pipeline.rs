//! The pipeline: what the user asks for, from the text to a logical graph that is known to be
//! sound.
//!
//! [`parse`] reads a document (docs/pipeline.md), [`Written::validate`] binds it to its plugins and
//! tells every mistake there is.
//! Nothing after that knows the text: other fronts make the same [`Pipeline`].

pub mod document;

mod bind;
mod build;
mod error;
mod kafka;
mod operator;
mod recovery;
mod salvage;
mod sink;
mod source;
mod storage;
mod topic_pattern;

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::SchemaRef;

pub use error::{PipelineError, PipelineErrors};
pub use kafka::{MARKERS_PREFIX, is_broker, is_topic};
pub use operator::{
    Batching, ColumnBinding, ColumnOrigin, InputBinding, Limits, Operator, OperatorKind,
    OperatorPolicy, PluginUse,
};
pub use sink::{EncodeSpec, Host, MARKER_TABLE, PostgresUrl, Sink, SinkKind, Tls, UrlError};
pub use source::{
    ColumnSpec, Counter, EventTime, Format, FormatKind, Generator, GeneratorColumn, GeneratorValue,
    KafkaInput, SchemaPlace, Source, SourceKind, TextPart,
};

pub use storage::{NoStorage, S3Storage, Storage};
pub use topic_pattern::TopicPattern;

use crate::descriptor::Descriptor;
use crate::json_schema::Schema;
use crate::restart::RestartPolicy;
use crate::tree::{self, Node, Path};
use document::Document;

/// A source's position in [`Pipeline::sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub usize);

/// An operator's position in [`Pipeline::operators`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorId(pub usize);

/// A sink's position in [`Pipeline::sinks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SinkId(pub usize);

/// A stream's position in [`Pipeline::streams`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub usize);

/// A document that was read, and the mistakes that were found so far.
#[derive(Debug, Clone)]
pub struct Written {
    tree: Node,
    document: Document,
    /// The sources, operators and sinks of which the document lacks something.
    marred: HashSet<String>,
    mistakes: Vec<PipelineError>,
}

/// A sound logical graph.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The pipeline's name.
    pub name: String,
    /// The parallelism that the document asks for.
    pub parallelism: Option<usize>,
    /// How checkpoints are taken, if they are.
    pub checkpoint: Option<Checkpointing>,
    /// Where state on disk is kept, if not all of it is in memory.
    pub spilling: Option<Spilling>,
    /// What becomes of the job when it fails.
    pub restart: RestartPolicy,
    /// Where rows come from.
    pub sources: Vec<Source>,
    /// What is done with them; each after those whose streams it reads.
    pub operators: Vec<Operator>,
    /// Where they go.
    pub sinks: Vec<Sink>,
    /// What flows between them.
    pub streams: Vec<Stream>,
    /// What is allowed and most likely not meant.
    pub warnings: Vec<PipelineError>,
}

/// How checkpoints are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpointing {
    /// From the start of one to that of the next.
    pub interval_us: i64,
    /// One that takes longer is given up.
    pub timeout_us: i64,
    /// Where they are kept, if the document says it.
    pub storage: Option<Storage>,
}

impl Default for Checkpointing {
    fn default() -> Self {
        Self::from(&document::Checkpoint::default())
    }
}

impl From<&document::Checkpoint> for Checkpointing {
    fn from(written: &document::Checkpoint) -> Self {
        let interval = written.interval.map_or(10_000_000, |it| it.as_us());
        Self {
            interval_us: interval.max(1_000),
            timeout_us: written.timeout.map_or(600_000_000, |it| it.as_us()),
            // Known once it is checked.
            storage: None,
        }
    }
}

/// How state leaves memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spilling {
    /// Bytes of memory that state takes, over all operators.
    pub cache_bytes: u64,
    /// The folder for the rest, if the document names one.
    pub directory: Option<String>,
}

impl Spilling {
    /// None if all state is in memory.
    fn of(written: &document::StateDocument) -> Option<Self> {
        let is_memory = written.backend == document::Backend::Memory;
        (!is_memory).then(|| Self {
            cache_bytes: written.cache.map_or(512 << 20, |cache| cache.0),
            directory: written.directory.clone(),
        })
    }
}

/// Rows of one schema from one producer.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The name by which the document knows it.
    pub name: String,
    /// The columns.
    pub schema: SchemaRef,
    /// Whether rows have an event time.
    pub has_time: bool,
    /// Whether rows change or take back earlier ones.
    pub is_changelog: bool,
    /// Who produces it.
    pub producer: Producer,
}

/// Who produces a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Producer {
    /// A source's rows.
    Source(SourceId),
    /// Those of them that came behind the watermark; they stand in the source's stream too.
    SourceLate(SourceId),
    /// An output of an operator.
    Output(OperatorId, usize),
    /// Rows that an operator left out because they came behind the watermark.
    OperatorLate(OperatorId),
    /// Rows that failed and go to this sink.
    DeadLetters(SinkId),
}

/// What happens to a row that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The job fails.
    Fail,
    /// The row is left out and counted.
    Skip,
    /// The row goes to a dead-letter sink, whose stream this is.
    DeadLetter(StreamId),
}

/// Finds the plugin that a document names; the message says what is wrong and what would be right.
pub type FindPlugin<'a> = &'a dyn Fn(&str) -> Result<Arc<Descriptor>, String>;

/// Reads a document: YAML, or JSON, which is YAML. Mistakes in its fields are kept for
/// [`Written::validate`], which tells them with all others.
///
/// # Errors
/// If the text is no document at all: then nothing else can be said of it.
///
/// ```
/// let text = "\
/// name: copy
/// sources: { lines: { stdin: {} } }
/// sinks: { out: { input: lines, stdout: {} } }
/// ";
/// let no_plugins = |_: &str| Err("there are no plugins".into());
/// let pipeline = wasmill_core::pipeline::parse(text)
///     .and_then(|written| written.validate(&no_plugins))
///     .expect("it is sound");
/// assert_eq!(pipeline.sinks[0].name, "out");
///
/// let text = text.replace("stdin", "stdn").replace("input: lines", "input: lins");
/// let written = wasmill_core::pipeline::parse(&text).expect("a document with mistakes");
/// let errors = written.validate(&no_plugins).unwrap_err();
/// let lines: Vec<u32> = errors.0.iter().map(|mistake| mistake.position.line).collect();
/// assert_eq!(lines, [2, 3]);
/// ```
pub fn parse(text: &str) -> Result<Written, PipelineErrors> {
    let tree = tree::parse(text).map_err(|error| {
        PipelineErrors(vec![PipelineError {
            position: error.position,
            path: Path::default(),
            message: error.message,
            remedy: error.remedy,
        }])
    })?;
    let schema = Schema::compile(&schema()).expect("our own schema is sound");
    let found = schema.check(&tree);
    let salvaged = salvage::salvage(&tree, &schema, &found);
    let errors = found.into_iter().map(|mistake| PipelineError {
        position: mistake.position,
        path: mistake.path,
        message: mistake.message,
        remedy: mistake.remedy,
    });
    let mistakes: Vec<PipelineError> = errors.collect();
    match salvaged {
        Some(salvaged) => Ok(Written {
            tree,
            document: salvaged.document,
            marred: salvaged.marred,
            mistakes,
        }),
        None => Err(PipelineErrors(mistakes)),
    }
}

/// The JSON Schema of documents, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}

impl Written {
    /// The document as it was written, without the fields that are wrong.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Notes a mistake that only its surroundings show, such as a file that is not there.
    pub fn wrong(&mut self, path: &Path, message: String, remedy: Option<String>) {
        self.mistakes.push(PipelineError {
            position: self.tree.locate(path),
            path: path.clone(),
            message,
            remedy,
        });
    }

    /// Binds the document to its plugins, and reports everything that is wrong at once.
    ///
    /// # Errors
    /// Every mistake in the document's order, those noted before included.
    pub fn validate(&self, plugins: FindPlugin<'_>) -> Result<Pipeline, PipelineErrors> {
        build::build(self, plugins)
    }
}

impl Pipeline {
    /// A source.
    pub fn source(&self, id: SourceId) -> &Source {
        &self.sources[id.0]
    }

    /// An operator.
    pub fn operator(&self, id: OperatorId) -> &Operator {
        &self.operators[id.0]
    }

    /// A sink.
    pub fn sink(&self, id: SinkId) -> &Sink {
        &self.sinks[id.0]
    }

    /// The sink whose transactions decide the job's checkpoints, if there is one.
    pub fn decider(&self) -> Option<&Sink> {
        self.sinks.iter().find(|sink| sink.decides())
    }

    /// A stream.
    pub fn stream(&self, id: StreamId) -> &Stream {
        &self.streams[id.0]
    }
}

#[cfg(test)]
pub(crate) mod tests;

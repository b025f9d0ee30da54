//! The pipeline document as it is written; `wasmill schema` prints its JSON Schema from these
//! types, and the same schema checks every document, so the two cannot differ.

mod format;
mod generator;
mod kafka;
mod postgres;
mod restart;
mod secrets;
mod storage;

use std::collections::BTreeMap;
use std::ops::Deref;

use arrow_schema::DataType;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::byte_size::ByteSize;
use crate::data_type;
use crate::duration::DurationText;
use crate::feature::FeatureSpec;
use crate::join::JoinDocument;
use crate::window::{AggregateSpec, Corrections, TriggerDocument, WindowDocument};

pub use format::{
    ColumnDocument, ColumnText, Csv, DecodeFormat, DuplicateFields, EncodeCsv, EncodeFormat,
    EncodeJson, EncodeOptions, EncodeRaw, EncodeRegistered, Envelope, FieldPath, FormatWord,
    NumberStyle, RegistryDocument, SchemaFile, TimestampStyle, UnknownFields,
};
pub use generator::{
    GeneratorColumnDocument, GeneratorColumnText, GeneratorDocument, GeneratorTime, GeneratorWord,
};
pub use kafka::{
    Brokers, ClientOptions, KafkaSink, KafkaSource, KafkaStart, KafkaStop, MessagePart,
    MessageParts, TopicColumn, TopicOfRow,
};
pub use postgres::PostgresSink;
pub use restart::{ExponentialRestart, FailureRateRestart, FixedRestart, RestartDocument};
pub use storage::S3Document;

/// A pipeline: sources, operators and sinks, joined by the names of streams.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Document {
    /// The pipeline's name: `[a-z][a-z0-9_-]{0,62}`.
    #[schemars(extend("format" = "wasmill-name"))]
    pub name: String,
    /// How many subtasks a task has; the number of processor cores if not given.
    #[schemars(range(min = 1, max = 128))]
    pub parallelism: Option<u32>,
    /// How checkpoints are taken, from which the job goes on after a failure or another start, or
    /// `off`. If not given, they are taken where the input can be read again and the output lasts.
    pub checkpoint: Option<CheckpointDocument>,
    /// What becomes of the job when it fails; `exponential` if not given and it takes checkpoints.
    pub restart: Option<RestartDocument>,
    /// Where state by key is kept while the job runs; in memory if not given.
    pub state: Option<StateDocument>,
    /// Where rows come from. A source's name is the name of its stream.
    pub sources: IndexMap<String, SourceDocument>,
    /// What is done with rows. An operator's name is the name of its first output's stream.
    #[serde(default)]
    pub operators: IndexMap<String, OperatorDocument>,
    /// Where rows go.
    #[serde(default)]
    pub sinks: IndexMap<String, SinkDocument>,
}

/// Checkpoints, or none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CheckpointDocument {
    /// None are taken.
    Off(CheckpointWord),
    /// They are taken.
    On(Checkpoint),
}

impl CheckpointDocument {
    /// How they are taken, if they are.
    pub fn on(&self) -> Option<&Checkpoint> {
        match self {
            Self::Off(_) => None,
            Self::On(checkpoint) => Some(checkpoint),
        }
    }
}

/// Instead of saying how checkpoints are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckpointWord {
    /// None are taken.
    Off,
}

/// How often a consistent snapshot is taken.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Checkpoint {
    /// Time from one checkpoint to the next; 10s if not given.
    pub interval: Option<DurationText>,
    /// The folder where they are kept, relative to the folder in which wasmill runs, or
    /// `s3://BUCKET/PREFIX`; the user's data folder if not given.
    pub storage: Option<String>,
    /// How the store of an `s3://` place is reached.
    pub s3: Option<S3Document>,
    /// A checkpoint that takes longer is given up; 10m if not given.
    pub timeout: Option<DurationText>,
}

/// Where state by key is kept while the job runs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StateDocument {
    /// `memory` keeps all of it there; `rocksdb` keeps there what was used lately, and the rest on
    /// disk.
    #[serde(default)]
    pub backend: Backend,
    /// How much memory the state of `rocksdb` takes, over all operators of the job; 512MiB if not
    /// given.
    pub cache: Option<ByteSize>,
    /// The folder for what `rocksdb` has on disk, relative to the folder in which wasmill runs; the
    /// user's cache folder if not given. It is scratch: checkpoints do not need it.
    pub directory: Option<String>,
}

/// Where state by key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// All of it in memory.
    #[default]
    Memory,
    /// What was used lately in memory, the rest on disk.
    Rocksdb,
}

/// A source: one of `file`, `stdin`, `kafka` and `generator`; or `file` and `kafka`, first the
/// files, then the topic.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourceDocument {
    /// Reads files, each a split.
    pub file: Option<FileSource>,
    /// Reads standard input, one split.
    pub stdin: Option<StdinSource>,
    /// Reads topics of Apache Kafka, each partition a split.
    pub kafka: Option<KafkaSource>,
    /// Computes rows, for benchmarks and tests.
    pub generator: Option<GeneratorDocument>,
    /// How bytes become rows. Without it each line is a row of one column, `value: bytes`.
    pub format: Option<DecodeFormat>,
    /// Which column is the event time, and how far out of order it may be.
    pub event_time: Option<EventTimeDocument>,
    /// What happens to a row that does not fit the columns; `fail` if not given.
    pub on_error: Option<OnError>,
}

/// Files to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSource {
    /// A path or a pattern such as `in/*.jsonl`, or a list of them, relative to the document's
    /// folder.
    pub path: OneOrMore,
    /// How the files are compressed; `auto` judges by the name's end.
    #[serde(default)]
    pub compression: Compression,
    /// Waits for more rows at the end of a file, and for more files, until the job is stopped.
    #[serde(default)]
    pub follow: bool,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// By the name's end: `.gz` is gzip, `.zst` and `.zstd` are Zstandard.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Standard input has no options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdinSource {}

/// One text or a list of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Several, in this order.
    More(Vec<String>),
}

impl OneOrMore {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (one, more) = match self {
            Self::One(one) => (Some(one), &[][..]),
            Self::More(more) => (None, more.as_slice()),
        };
        one.into_iter().chain(more).map(String::as_str)
    }
}

/// The event time of a source's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EventTimeDocument {
    /// A column of type `timestamp` that is never null.
    pub column: String,
    /// How much older than the newest row of its split a row may be without being late; `0s` if not
    /// given.
    pub out_of_orderness: Option<DurationText>,
    /// A split that stays silent for so long (by the clock on the wall) no longer holds the others
    /// back; never if not given.
    pub idle_after: Option<DurationText>,
    /// How far the watermark of a split may be ahead of that of the slowest one; a split that is
    /// further ahead is not read until the others have come nearer. Without bound if not given.
    pub max_drift: Option<DurationText>,
}

/// What happens to a row that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The job fails.
    Fail,
    /// The row is left out and counted.
    Skip,
    /// The row goes to this sink, which has no `input`.
    DeadLetter(String),
}

/// An operator: one of `plugin`, `window` and `join`, over streams.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OperatorDocument {
    /// The stream it reads, a list of streams (their union), or a mapping from the plugin's input
    /// names, or the sides of a join, to streams.
    pub input: InputDocument,
    /// Columns that rows are grouped by.
    #[serde(default)]
    pub key_by: KeyBy,
    /// Rolling aggregates of each key, computed by the engine, as columns that the plugin reads.
    #[serde(default)]
    pub features: IndexMap<String, FeatureSpec>,
    /// The plugin: the path of a `.wasm` file, relative to the document's folder.
    pub plugin: Option<String>,
    /// Windows over which each key's rows are aggregated.
    pub window: Option<WindowDocument>,
    /// What is computed of a window's rows: from a column's name to an aggregate.
    #[serde(default)]
    pub aggregates: IndexMap<String, AggregateSpec>,
    /// When a window's result is given out; when the watermark has passed it if not given.
    pub trigger: Option<TriggerDocument>,
    /// How long after its end a window still takes rows that come late; `0s` if not given.
    pub allowed_lateness: Option<DurationText>,
    /// How a result that changes is given out; as a changelog if not given.
    pub corrections: Option<Corrections>,
    /// Which rows of two streams meet.
    pub join: Option<JoinDocument>,
    /// The columns of a join: from a column's name to `left.COLUMN`, `right.COLUMN` or
    /// `key.COLUMN`; those of both sides if not given.
    pub select: Option<IndexMap<String, String>>,
    /// The plugin's configuration; the plugin says what it may contain.
    #[serde(default)]
    pub config: Option<serde_json::Value>,
    /// In which order a key's rows are processed; what the plugin says if not given.
    pub order: Option<OrderWord>,
    /// What happens to a row on which the plugin fails; `fail` if not given.
    pub on_error: Option<OnError>,
    /// How many rows may fail before the job does; unlimited if not given.
    pub error_budget: Option<ErrorBudget>,
    /// What one instance of the plugin may use.
    pub limits: Option<LimitsDocument>,
    /// How many rows the plugin is called with.
    pub batch: Option<BatchDocument>,
    /// Loads plugins that use unstable parts of the contract.
    #[serde(default)]
    pub unstable: bool,
}

/// The streams that something reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum InputDocument {
    /// One stream.
    One(String),
    /// The union of several streams.
    Union(Vec<String>),
    /// A stream for each input of the plugin.
    Named(BTreeMap<String, String>),
}

/// Columns that rows are grouped by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum KeyBy {
    /// By the same names in all streams.
    Columns(Vec<String>),
    /// Those of each side of a join, where the names differ.
    Sides(KeySides),
}

/// The key columns of the sides of a join; as many of one as of the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySides {
    /// Of the left side.
    pub left: Vec<String>,
    /// Of the right side.
    pub right: Vec<String>,
}

impl Default for KeyBy {
    fn default() -> Self {
        Self::Columns(Vec::new())
    }
}

/// The names; of a join those of the left side.
impl Deref for KeyBy {
    type Target = [String];

    fn deref(&self) -> &[String] {
        match self {
            Self::Columns(names) => names,
            Self::Sides(sides) => &sides.left,
        }
    }
}

/// The order of a key's rows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum OrderWord {
    /// As they come, at once.
    Arrival,
    /// By event time: rows wait for the watermark.
    EventTime,
}

/// How many rows may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ErrorBudget {
    /// The job fails with the next failed row after so many.
    pub rows: u64,
    /// Counted among so many rows of a subtask; over the whole run if not given.
    #[schemars(range(min = 1))]
    pub of: Option<u64>,
}

/// What one instance of a plugin may use; each has a default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitsDocument {
    /// Linear memory of an instance, `256MiB`.
    pub memory: Option<ByteSize>,
    /// CPU time of one call, `1s`.
    pub cpu_per_batch: Option<DurationText>,
    /// Rows that one call may emit, 1,000,000.
    pub output_rows: Option<u64>,
    /// Bytes that one call may return, `64MiB`.
    pub output_bytes: Option<ByteSize>,
    /// Log lines of one call, 10,000.
    pub log_lines: Option<u64>,
}

/// How many rows a plugin is called with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BatchDocument {
    /// At most so many rows a call, 4,096.
    #[schemars(range(min = 1, max = 65_536))]
    pub rows_max: Option<u32>,
    /// How long a lone row waits for company, `0s`.
    pub linger: Option<DurationText>,
}

/// A sink: one of `file`, `stdout`, `kafka`, `sqlite`, `postgres` and `discard`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SinkDocument {
    /// A stream or a list of streams with equal columns. A sink without `input` takes dead letters.
    pub input: Option<OneOrMore>,
    /// Writes a file.
    pub file: Option<FileSink>,
    /// Writes to standard output.
    pub stdout: Option<StdoutSink>,
    /// Writes to topics of Apache Kafka.
    pub kafka: Option<KafkaSink>,
    /// Writes to a table of an SQLite database.
    pub sqlite: Option<SqliteSink>,
    /// Writes to a table of a PostgreSQL database.
    pub postgres: Option<PostgresSink>,
    /// Drops the rows and counts them.
    pub discard: Option<DiscardSink>,
    /// How rows become text, for `file`, `stdout` and `kafka`; `json` if not
    /// given.
    pub format: Option<EncodeFormat>,
    /// Columns of the engine to add: from a new column's name to what it holds.
    #[serde(default)]
    pub include: IndexMap<String, EngineColumn>,
    /// How often a row stands in the output if the job fails and goes on; `exactly-once` if not
    /// given, where the sink and all that it goes back to can.
    pub delivery: Option<Delivery>,
}

/// How often a row stands in the output if the job fails and goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Once: rows come out when their checkpoint is decided.
    ExactlyOnce,
    /// At least once: rows come out at once, and after a failure those since the last checkpoint
    /// come again.
    AtLeastOnce,
    /// Like `at-least-once`, and no row waits for others to be sent with. Only `kafka`.
    Early,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSink {
    /// The path, relative to the folder in which wasmill runs.
    pub path: String,
}

/// Standard output has no options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdoutSink {}

/// A table of an SQLite database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SqliteSink {
    /// The database's file, relative to the folder in which wasmill runs; made if it is not there.
    pub path: String,
    /// The table; made if it is not there.
    pub table: String,
}

/// Discard has no options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscardSink {}

/// What the engine knows about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EngineColumn {
    /// SHA-256 of the plugin that emitted the row, `string?`.
    Plugin,
    /// The name of the source split that the row goes back to, `string?`.
    Split,
    /// The offset in that split, `u64?`.
    Offset,
    /// The row's id, the same in every run, `string`.
    RowId,
    /// The event time, `timestamp?`.
    EventTime,
    /// The operator that emitted the row, `string?`.
    Operator,
    /// The kind of change of a changelog's row, `string`: `insert`, `update-before`, `update-after`
    /// or `delete`.
    Op,
}

impl EngineColumn {
    /// Its type, and whether it may be null.
    pub fn data_type(self) -> (DataType, bool) {
        match self {
            Self::RowId | Self::Op => (DataType::Utf8, false),
            Self::Offset => (DataType::UInt64, true),
            Self::EventTime => (data_type::timestamp(), true),
            Self::Plugin | Self::Split | Self::Operator => (DataType::Utf8, true),
        }
    }
}

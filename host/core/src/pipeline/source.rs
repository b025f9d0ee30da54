//! Sources: where rows come from, and how bytes become rows.

mod format;
mod generator;
mod kafka;

use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};

use super::build::Builder;
use super::document::{DecodeFormat, EventTimeDocument, FileSource, KafkaSource, SourceDocument};
use super::{Policy, StreamId};
use crate::data_type;
use crate::spelling;
use crate::tree::Path;

pub use format::{ColumnSpec, Format, FormatKind, SchemaPlace};
pub use generator::{Counter, Generator, GeneratorColumn, GeneratorValue, TextPart};

/// A source that is known to be sound.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name, and its stream's.
    pub name: String,
    /// What it reads.
    pub kind: SourceKind,
    /// The columns of its stream.
    pub schema: SchemaRef,
    /// The event time of its rows.
    pub event_time: Option<EventTime>,
    /// What happens to rows that do not fit the columns.
    pub on_error: Policy,
    /// Its stream.
    pub stream: StreamId,
    /// Its late rows, if it has event time.
    pub late: Option<StreamId>,
}

/// What a source reads.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// Files.
    File(FileSource, Format),
    /// Standard input.
    Stdin(Format),
    /// Topics of Apache Kafka; where there are files, too, they come first.
    Kafka(Box<KafkaInput>, Format),
    /// Nothing: rows are computed; with a format as the text that it reads.
    Generator(Generator, Option<Format>),
}

impl SourceKind {
    /// Whether its rows say what became of rows, and are not rows by themselves.
    pub fn is_changelog(&self) -> bool {
        match self {
            Self::File(_, format) | Self::Stdin(format) | Self::Kafka(_, format) => {
                format.is_changelog()
            }
            Self::Generator(_, format) => format.as_ref().is_some_and(Format::is_changelog),
        }
    }

    /// Whether rows can be read again after a failure.
    pub fn is_replayable(&self) -> bool {
        match self {
            Self::File(..) | Self::Kafka(..) | Self::Generator(..) => true,
            Self::Stdin(_) => false,
        }
    }
}

/// Topics that are read, perhaps behind files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaInput {
    /// The topics.
    pub kafka: KafkaSource,
    /// Files whose rows come first.
    pub before: Option<FileSource>,
}

/// The event time of a source's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime {
    /// The position of a column of type `timestamp` without nulls.
    pub column: usize,
    /// How much older than the newest row of its split a row may be without being late, in
    /// microseconds.
    pub out_of_orderness_us: i64,
    /// A split that is silent for so long no longer holds the others back, in microseconds.
    pub idle_after_us: Option<i64>,
    /// How far a split's watermark may be ahead of the slowest one's, in microseconds; then it is
    /// not read further until the others have come nearer.
    pub max_drift_us: Option<i64>,
}

impl Builder<'_> {
    /// Checks a source; its streams are the caller's to add.
    pub(super) fn source(&mut self, name: &str, document: &SourceDocument) -> Option<Source> {
        let path = Path::keys(&["sources", name]);
        let kind = self.source_kind(&path, document)?;
        let fields: Vec<Field> = match &kind {
            SourceKind::File(_, format)
            | SourceKind::Stdin(format)
            | SourceKind::Generator(_, Some(format)) => format.fields().cloned().collect(),
            SourceKind::Kafka(input, format) => {
                let beside = input.kafka.message.iter();
                let beside = beside.map(|(name, part)| part.field(name));
                format.fields().cloned().chain(beside).collect()
            }
            SourceKind::Generator(generator, None) => generator
                .columns
                .iter()
                .map(|column| column.field.clone())
                .collect(),
        };
        let schema = Arc::new(Schema::new(fields));
        let event_time = match &document.event_time {
            None => None,
            Some(time) => Some(self.event_time(&path.key("event-time"), time, &schema)?),
        };
        Some(Source {
            name: name.into(),
            kind,
            schema,
            event_time,
            on_error: Policy::Fail,
            stream: StreamId(0),
            late: None,
        })
    }

    /// The one kind that the source says; none or several is a mistake.
    fn source_kind(&mut self, path: &Path, document: &SourceDocument) -> Option<SourceKind> {
        let kinds = [
            // Files may come before a topic.
            ("file", document.file.is_some() && document.kafka.is_none()),
            ("stdin", document.stdin.is_some()),
            ("kafka", document.kafka.is_some()),
            ("generator", document.generator.is_some()),
        ];
        self.exactly_one(path, "a source", &kinds)?;
        if let Some(generator) = &document.generator {
            let generator = self.generator(&path.key("generator"), generator)?;
            let format = match &document.format {
                None => None,
                Some(format) => Some(self.format_of_text(path, &generator, format)?),
            };
            return Some(SourceKind::Generator(generator, format));
        }
        // Records of a topic may have no value.
        let has_nulls = document.kafka.is_some() && document.file.is_none();
        let format = document.format.as_ref();
        let format = self.format(&path.key("format"), format, has_nulls)?;
        self.carries(path, document, &format);
        if let Some(kafka) = &document.kafka {
            let before = document.file.as_ref();
            self.kafka(path, kafka, before, &format);
            let input = KafkaInput {
                kafka: kafka.clone(),
                before: before.cloned(),
            };
            return Some(SourceKind::Kafka(Box::new(input), format));
        }
        Some(match &document.file {
            Some(file) => SourceKind::File(file.clone(), format),
            None => SourceKind::Stdin(format),
        })
    }

    /// The format of computed text, which is the generator's only column.
    fn format_of_text(
        &mut self,
        path: &Path,
        generator: &Generator,
        document: &DecodeFormat,
    ) -> Option<Format> {
        let is_text = |column: &GeneratorColumn| matches!(column.value, GeneratorValue::Text(_));
        match generator.columns.as_slice() {
            [only] if is_text(only) => {
                let format = self.format(&path.key("format"), Some(document), false)?;
                if format.kind.is_binary() {
                    let message = "computed text is no record of Kafka";
                    let remedy = "choose `json` or `csv`";
                    self.wrong(&path.key("format"), message, Some(remedy));
                }
                Some(format)
            }
            _ => {
                let remedy = "give it one column `{ text: ... }`, or remove `format`";
                self.wrong(
                    &path.key("format"),
                    "a generator has a format only where it computes text for it",
                    Some(remedy),
                );
                None
            }
        }
    }

    /// The event time: its column is a timestamp that is never null.
    fn event_time(
        &mut self,
        path: &Path,
        document: &EventTimeDocument,
        schema: &Schema,
    ) -> Option<EventTime> {
        let path_column = path.key("column");
        let Ok(column) = schema.index_of(&document.column) else {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let hint = spelling::hint(&document.column, names);
            let message = format!("there is no column `{}`", document.column);
            self.wrong(&path_column, &message, hint.as_deref());
            return None;
        };
        let field = schema.field(column);
        if *field.data_type() != data_type::timestamp() || field.is_nullable() {
            let found = data_type::print(field.data_type(), field.is_nullable());
            let message = format!(
                "event time is a `timestamp`, and `{}` is {found}",
                field.name()
            );
            self.wrong(
                &path_column,
                &message,
                Some("declare the column as `timestamp`"),
            );
            return None;
        }
        Some(EventTime {
            column,
            out_of_orderness_us: document.out_of_orderness.map_or(0, |d| d.as_us()),
            idle_after_us: document.idle_after.map(|d| d.as_us()),
            max_drift_us: document.max_drift.map(|d| d.as_us()),
        })
    }
}

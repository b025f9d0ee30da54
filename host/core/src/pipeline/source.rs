//! Sources: where rows come from, and how bytes become rows.

mod generator;
mod kafka;

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::build::Builder;
use super::document::{
    ColumnText, Csv, DecodeFormat, DuplicateFields, EventTimeDocument, FieldPath, FileSource,
    KafkaSource, SourceDocument, TimestampStyle, UnknownFields,
};
use super::{Policy, StreamId};
use crate::data_type;
use crate::spelling;
use crate::tree::Path;

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
    /// Whether rows can be read again after a failure.
    pub fn is_replayable(&self) -> bool {
        match self {
            Self::File(..) | Self::Kafka(..) | Self::Generator(..) => true,
            Self::Stdin(_) => false,
        }
    }
}

/// How bytes become rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Format {
    /// Which format.
    pub kind: FormatKind,
    /// The columns, in the stream's order.
    pub columns: Vec<ColumnSpec>,
    /// How timestamps are written, where a column does not say.
    pub timestamp: TimestampStyle,
    /// The time zone of timestamps that name none; UTC if none.
    pub zone: Option<String>,
    /// What fields that are no columns mean (JSON).
    pub unknown_fields: UnknownFields,
    /// Which of several fields of one name counts (JSON).
    pub duplicate_fields: DuplicateFields,
    /// Whether decimals with too many places are rounded.
    pub round_decimals: bool,
    /// Options of CSV.
    pub csv: Csv,
}

impl Format {
    /// The columns' names and types.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.columns.iter().map(|column| &column.field)
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

/// The formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatKind {
    /// One JSON object a line.
    Json,
    /// Comma-separated values.
    Csv,
    /// Each line as it is.
    Raw,
}

/// A column that is read.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSpec {
    /// Its name and type in the stream.
    pub field: Field,
    /// The names of the fields that lead to the value; one for a plain field.
    pub path: Vec<String>,
    /// How a timestamp is written, if not as the format says.
    pub timestamp: Option<TimestampStyle>,
    /// The value where the field is absent.
    pub default: Option<serde_json::Value>,
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
            [only] if is_text(only) => self.format(&path.key("format"), Some(document), false),
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

    /// The format that the source says, or raw lines. Rows of a source that `has_nulls` may lack
    /// bytes.
    fn format(
        &mut self,
        path: &Path,
        document: Option<&DecodeFormat>,
        has_nulls: bool,
    ) -> Option<Format> {
        let Some(document) = document else {
            return Some(raw());
        };
        let kinds = [
            ("json", document.json.is_some()),
            ("csv", document.csv.is_some()),
            ("raw", document.raw.is_some()),
        ];
        let name = self.exactly_one(path, "a format", &kinds)?;
        let kind = match name {
            "json" => FormatKind::Json,
            "csv" => FormatKind::Csv,
            _ => FormatKind::Raw,
        };
        let columns = document
            .json
            .as_ref()
            .or(document.csv.as_ref())
            .or(document.raw.as_ref());
        let path = path.key(name);
        let mut specs = Vec::new();
        for (name, column) in columns.into_iter().flatten() {
            specs.push(self.column(&path.key(name), name, column));
        }
        let specs: Vec<ColumnSpec> = specs.into_iter().collect::<Option<_>>()?;
        if kind == FormatKind::Raw {
            let plain = |column: &ColumnSpec| {
                matches!(column.field.data_type(), DataType::Binary | DataType::Utf8)
                    && (has_nulls || !column.field.is_nullable())
            };
            match specs.as_slice() {
                [] => return Some(raw()),
                [only] if plain(only) => {}
                _ => {
                    let remedy = "write `raw: { value: bytes }` or `raw: { value: string }`";
                    self.wrong(&path, "raw has one column, of bytes or text", Some(remedy));
                    return None;
                }
            }
        }
        if specs.is_empty() {
            self.wrong(
                &path,
                "there are no columns",
                Some("add `NAME: TYPE` for each"),
            );
            return None;
        }
        Some(Format {
            kind,
            columns: specs,
            timestamp: document.timestamp.unwrap_or_default(),
            zone: document.zone.clone(),
            unknown_fields: document.unknown_fields,
            duplicate_fields: document.duplicate_fields,
            round_decimals: document.round_decimals,
            csv: document.options.clone().unwrap_or_default(),
        })
    }

    /// A column of a format: its type, and where its value stands.
    fn column(&mut self, path: &Path, name: &str, column: &ColumnText) -> Option<ColumnSpec> {
        let (text, full) = match column {
            ColumnText::Type(text) => (text, None),
            ColumnText::Full(full) => (&full.data_type, Some(full)),
        };
        let field = self.field(path, name, text)?;
        let from = full.and_then(|full| full.path.as_ref());
        Some(ColumnSpec {
            path: match from {
                None => vec![name.into()],
                Some(FieldPath::Dotted(text)) => text.split('.').map(str::to_owned).collect(),
                Some(FieldPath::Names(names)) => names.clone(),
            },
            timestamp: full.and_then(|full| full.timestamp),
            default: full.and_then(|full| full.default.clone()),
            field,
        })
    }

    /// A column's name and type as a field.
    fn field(&mut self, path: &Path, name: &str, text: &str) -> Option<Field> {
        if name.is_empty() || name.len() > 255 {
            self.wrong(path, "a column's name has 1 to 255 bytes", None);
            return None;
        }
        let field = data_type::parse_field(name, text);
        field
            .map_err(|error| self.wrong(path, &error.to_string(), None))
            .ok()
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

/// Lines as they are.
fn raw() -> Format {
    let field = Field::new("value", DataType::Binary, false);
    Format {
        kind: FormatKind::Raw,
        columns: vec![ColumnSpec {
            path: vec!["value".into()],
            field,
            timestamp: None,
            default: None,
        }],
        timestamp: TimestampStyle::default(),
        zone: None,
        unknown_fields: UnknownFields::default(),
        duplicate_fields: DuplicateFields::default(),
        round_decimals: false,
        csv: Csv::default(),
    }
}

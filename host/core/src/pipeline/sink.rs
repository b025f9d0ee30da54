//! Sinks: where rows go.

mod delivery;
mod kafka;
mod postgres;

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::StreamId;
use super::build::Builder;
use super::document::{
    Delivery, DiscardSink, EncodeCsv, EncodeFormat, EncodeJson, EncodeRaw, EncodeRegistered,
    EngineColumn, FileSink, FormatWord, KafkaSink, PostgresSink, SinkDocument, SqliteSink,
    TopicOfRow,
};
use crate::data_type;
use crate::dead_letter;
use crate::spelling;
use crate::tree::Path;

pub use postgres::url::{Host, PostgresUrl, Tls, UrlError};

/// The table of a database in which its sinks note which checkpoints are applied.
pub const MARKER_TABLE: &str = "wasmill_commits";

/// A sink that is known to be sound.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// What it writes to.
    pub kind: SinkKind,
    /// The streams it takes, all with the same columns; one dead-letter stream if the document
    /// gives no `input`.
    pub inputs: Vec<StreamId>,
    /// Columns of the engine that are added, by name.
    pub include: Vec<(String, EngineColumn)>,
    /// Whether it takes rows that failed.
    pub is_for_dead_letters: bool,
    /// How often a row stands in the output if the job fails and goes on.
    pub delivery: Delivery,
}

/// What a sink writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// A file.
    File(FileSink, EncodeSpec),
    /// Standard output.
    Stdout(EncodeSpec),
    /// Topics of Apache Kafka.
    Kafka(Box<KafkaSink>, EncodeSpec),
    /// A table of an SQLite database.
    Sqlite(SqliteSink),
    /// A table of a PostgreSQL database.
    Postgres(Box<PostgresSink>),
    /// Nothing: rows are counted and dropped.
    Discard,
}

impl SinkKind {
    /// Whether it can hold the rows of decided checkpoints, each once.
    pub fn can_follow(&self) -> bool {
        match self {
            Self::File(..) | Self::Kafka(..) | Self::Sqlite(_) | Self::Postgres(_) => true,
            Self::Stdout(_) | Self::Discard => false,
        }
    }

    /// Whether what it writes to has transactions.
    pub fn is_transactional(&self) -> bool {
        matches!(self, Self::Kafka(..) | Self::Sqlite(_) | Self::Postgres(_))
    }
}

impl Sink {
    /// Whether its transactions decide the job's checkpoints.
    pub fn decides(&self) -> bool {
        let says = matches!(&self.kind, SinkKind::Kafka(kafka, _) if kafka.decides);
        says && self.delivery == Delivery::ExactlyOnce
    }
}

/// How rows become text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncodeSpec {
    /// One JSON object a line.
    Json(EncodeJson),
    /// Comma-separated values.
    Csv(EncodeCsv),
    /// A column's bytes as they are.
    Raw(EncodeRaw),
    /// Avro data in a registry's wire format.
    Avro(Box<EncodeRegistered>),
    /// Protobuf messages in a registry's wire format.
    Protobuf(Box<EncodeRegistered>),
}

impl Builder<'_> {
    /// Checks a sink whose inputs are known.
    pub(super) fn sink(
        &mut self,
        name: &str,
        document: &SinkDocument,
        inputs: Vec<StreamId>,
    ) -> Option<Sink> {
        let path = Path::keys(&["sinks", name]);
        let kinds = [
            ("file", document.file.is_some()),
            ("stdout", document.stdout.is_some()),
            ("kafka", document.kafka.is_some()),
            ("sqlite", document.sqlite.is_some()),
            ("postgres", document.postgres.is_some()),
            ("discard", document.discard.is_some()),
        ];
        self.equal_columns(&path.key("input"), &inputs);
        self.included(&path.key("include"), document, &inputs);
        let takes_changes = document.kafka.as_ref().is_some_and(|kafka| kafka.upsert);
        if document.discard.is_none()
            && !takes_changes
            && !document.include.values().any(|it| *it == EngineColumn::Op)
        {
            self.append_only(&path, &inputs);
        }
        let which = self.exactly_one(&path, "a sink", &kinds)?;
        if document.format.is_some() && matches!(which, "sqlite" | "postgres" | "discard") {
            let message = format!("`{which}` writes no text");
            self.wrong(&path.key("format"), &message, Some("remove `format`"));
        }
        let format = self.encode(&path.key("format"), document.format.as_ref())?;
        let schema = self.written(document, &inputs);
        let schema = schema.as_ref();
        if let EncodeSpec::Raw(raw) = &format {
            self.raw_columns(&path.key("format").key("raw").key("column"), raw, schema);
        }
        match &format {
            EncodeSpec::Avro(avro) => self.registered(&path, ("avro", avro), document),
            EncodeSpec::Protobuf(protobuf) => {
                self.registered(&path, ("protobuf", protobuf), document);
            }
            _ => {}
        }
        let kind = self.sink_kind((&path, document), format, schema);
        Some(Sink {
            name: name.into(),
            kind,
            inputs,
            include: document
                .include
                .iter()
                .map(|(name, column)| (name.clone(), *column))
                .collect(),
            is_for_dead_letters: document.input.is_none(),
            // Until it is known what the sink goes back to.
            delivery: Delivery::AtLeastOnce,
        })
    }

    /// What the sink writes to; its database is looked at as far as that goes without one.
    fn sink_kind(
        &mut self,
        (path, document): (&Path, &SinkDocument),
        format: EncodeSpec,
        schema: Option<&SchemaRef>,
    ) -> SinkKind {
        if let Some(file) = &document.file {
            return SinkKind::File(file.clone(), format);
        }
        if let Some(kafka) = &document.kafka {
            self.kafka_sink(&path.key("kafka"), kafka, schema);
            return SinkKind::Kafka(Box::new(kafka.clone()), format);
        }
        if let Some(DiscardSink {}) = document.discard {
            return SinkKind::Discard;
        }
        if let Some(sqlite) = &document.sqlite {
            if sqlite.table.eq_ignore_ascii_case(MARKER_TABLE) {
                let message = format!("`{MARKER_TABLE}` holds which checkpoints are applied");
                let path = path.key("sqlite").key("table");
                self.wrong(&path, &message, Some("choose another name"));
            }
            return SinkKind::Sqlite(sqlite.clone());
        }
        if let Some(postgres) = &document.postgres {
            self.postgres(&path.key("postgres"), postgres, schema);
            for name in document.include.keys() {
                self.sql_column(&path.key("include"), name);
            }
            return SinkKind::Postgres(Box::new(postgres.clone()));
        }
        SinkKind::Stdout(format)
    }

    /// The format that the sink says, or JSON.
    fn encode(&mut self, path: &Path, document: Option<&EncodeFormat>) -> Option<EncodeSpec> {
        let options = match document {
            None | Some(EncodeFormat::Word(FormatWord::Json)) => {
                return Some(EncodeSpec::Json(EncodeJson::default()));
            }
            Some(EncodeFormat::Word(FormatWord::Csv)) => {
                return Some(EncodeSpec::Csv(EncodeCsv::default()));
            }
            Some(EncodeFormat::Options(options)) => options,
        };
        let kinds = [
            ("json", options.json.is_some()),
            ("csv", options.csv.is_some()),
            ("raw", options.raw.is_some()),
            ("avro", options.avro.is_some()),
            ("protobuf", options.protobuf.is_some()),
        ];
        self.exactly_one(path, "a format", &kinds)?;
        let json = options.json.clone().map(EncodeSpec::Json);
        let csv = || options.csv.clone().map(EncodeSpec::Csv);
        let raw = || options.raw.clone().map(EncodeSpec::Raw);
        let avro = || options.avro.clone().map(Box::new).map(EncodeSpec::Avro);
        let protobuf = || options.protobuf.clone().map(Box::new);
        let protobuf = || protobuf().map(EncodeSpec::Protobuf);
        json.or_else(csv)
            .or_else(raw)
            .or_else(avro)
            .or_else(protobuf)
    }

    /// The columns of the rows; none where an input is not known, which is told at the input.
    fn columns(&self, document: &SinkDocument, inputs: &[StreamId]) -> Option<SchemaRef> {
        match (inputs.first(), &document.input) {
            (Some(stream), _) => Some(self.streams[stream.0].schema.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(dead_letter::schema()),
        }
    }

    /// The columns that are written: those of the rows, behind them those of the engine.
    fn written(&self, document: &SinkDocument, inputs: &[StreamId]) -> Option<SchemaRef> {
        let schema = self.columns(document, inputs)?;
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
        fields.extend(document.include.iter().map(|(name, column)| {
            let (data_type, nullable) = column.data_type();
            Arc::new(Field::new(name, data_type, nullable))
        }));
        Some(Arc::new(Schema::new(fields)))
    }

    /// What has schemas in a registry goes into topics, and under a name.
    fn registered(
        &mut self,
        path: &Path,
        (name, options): (&str, &EncodeRegistered),
        document: &SinkDocument,
    ) {
        let path = path.key("format").key(name);
        self.registry(&path.key("registry"), &options.registry);
        let Some(kafka) = &document.kafka else {
            let message = format!("`{name}` is written into records of Kafka, not into lines");
            let remedy = "write a topic, or choose `json` or `csv`";
            self.wrong(&path, &message, Some(remedy));
            return;
        };
        if options.subject.is_none() && matches!(kafka.topic, TopicOfRow::Column(_)) {
            let message = "several topics have no one subject";
            self.wrong(&path, message, Some("say `subject`"));
        }
    }

    /// The columns whose bytes are written as they are.
    fn raw_columns(&mut self, path: &Path, raw: &EncodeRaw, schema: Option<&SchemaRef>) {
        for name in raw.column.iter() {
            let wanted = ("what is written", "string or bytes", is_octets as Fits);
            self.column_for(path, schema, name, wanted);
        }
    }

    /// A column of the rows that is there and fits what it is to be, where they are known.
    fn column_for(
        &mut self,
        path: &Path,
        schema: Option<&SchemaRef>,
        name: &str,
        (what, types, fits): (&str, &str, Fits),
    ) {
        let Some(schema) = schema else { return };
        let Ok(field) = schema.field_with_name(name) else {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let hint = spelling::hint(name, names);
            let hint = match *schema == dead_letter::schema() {
                true => hint.map(|it| format!("a sink without `input` takes dead letters: {it}")),
                false => hint,
            };
            let message = format!("the rows have no column `{name}`");
            self.wrong(path, &message, hint.as_deref());
            return;
        };
        if !fits(field) {
            let found = data_type::print(field.data_type(), field.is_nullable());
            let message = format!("{what} is of type {types}, and `{name}` is {found}");
            self.wrong(path, &message, Some("choose another column"));
        }
    }

    /// Streams that meet in one sink have the same columns.
    fn equal_columns(&mut self, path: &Path, inputs: &[StreamId]) {
        let Some((first, others)) = inputs.split_first() else {
            return;
        };
        for (index, other) in others.iter().enumerate() {
            let (a, b) = (&self.streams[first.0], &self.streams[other.0]);
            if a.schema.fields() == b.schema.fields() {
                continue;
            }
            let columns = |stream: &super::Stream| {
                let print = |field: &Arc<Field>| {
                    let of = data_type::print(field.data_type(), field.is_nullable());
                    format!("{}: {of}", field.name())
                };
                stream
                    .schema
                    .fields()
                    .iter()
                    .map(print)
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let message = format!(
                "`{}` has the columns ({}), and `{}` has ({})",
                a.name,
                columns(a),
                b.name,
                columns(b)
            );
            let remedy = "streams of one sink have equal columns; use a sink for each";
            self.wrong(&path.index(index + 1), &message, Some(remedy));
        }
    }

    /// Columns of the engine that the sink adds; their names are not those of others.
    fn included(&mut self, path: &Path, document: &SinkDocument, inputs: &[StreamId]) {
        let Some(schema) = self.columns(document, inputs) else {
            return;
        };
        let names: HashSet<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        for name in document.include.keys() {
            if names.contains(name.as_str()) {
                let message = format!("the rows have a column `{name}` already");
                self.wrong(&path.key(name), &message, Some("choose another name"));
            }
        }
        if inputs.is_empty() && !document.include.is_empty() {
            let remedy = "remove `include`: dead letters say where their rows come from";
            self.wrong(path, "a dead letter has no further columns", Some(remedy));
        }
    }

    /// Two sinks that write to one place would write over each other.
    pub(super) fn distinct_places(&mut self, sinks: &[Sink]) {
        let mut places = HashSet::new();
        for sink in sinks {
            let path = Path::keys(&["sinks", &sink.name]);
            let place = match &sink.kind {
                SinkKind::File(file, _) => format!("the file `{}`", file.path),
                SinkKind::Sqlite(sqlite) => {
                    format!("the table `{}` of `{}`", sqlite.table, sqlite.path)
                }
                SinkKind::Postgres(postgres) => format!(
                    "the table `{}` of {}",
                    postgres.told_table(),
                    postgres.told_database()
                ),
                SinkKind::Stdout(_) => "standard output".into(),
                // Several may write to one topic; each has its own notes of what is committed.
                SinkKind::Kafka(kafka, _) => match &kafka.markers {
                    Some(markers) => format!("the topic of markers `{markers}`"),
                    None => continue,
                },
                SinkKind::Discard => continue,
            };
            if !places.insert(place.clone()) {
                let message = format!("another sink writes to {place}");
                let remedy = "give one sink a list of streams, or another place";
                self.wrong(&path, &message, Some(remedy));
            }
        }
    }
}

/// Whether a column fits.
type Fits = fn(&Field) -> bool;

fn is_octets(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Utf8 | DataType::Binary)
}

//! How bytes become rows: the format of a source.

use arrow_schema::{DataType, Field};

use crate::data_type;
use crate::pipeline::build::Builder;
use crate::pipeline::document::{
    ColumnText, Csv, DecodeFormat, DuplicateFields, Envelope, FieldPath, RegistryDocument,
    SchemaFile, SourceDocument, TimestampStyle, UnknownFields,
};
use crate::tree::Path;

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
    /// Where schemas come from (Avro, Protobuf).
    pub schemas: Option<SchemaPlace>,
    /// What stands around the row.
    pub envelope: Option<Envelope>,
}

impl Format {
    /// A format with every option at its default.
    pub fn plain(kind: FormatKind, columns: Vec<ColumnSpec>) -> Self {
        Self {
            kind,
            columns,
            timestamp: TimestampStyle::default(),
            zone: None,
            unknown_fields: UnknownFields::default(),
            duplicate_fields: DuplicateFields::default(),
            round_decimals: false,
            csv: Csv::default(),
            schemas: None,
            envelope: None,
        }
    }

    /// Whether its rows say what became of rows, and are not rows by themselves.
    pub fn is_changelog(&self) -> bool {
        self.envelope.is_some()
    }

    /// The columns' names and types.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.columns.iter().map(|column| &column.field)
    }
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
    /// Avro data.
    Avro,
    /// Protobuf messages.
    Protobuf,
}

impl FormatKind {
    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Raw => "raw",
            Self::Avro => "avro",
            Self::Protobuf => "protobuf",
        }
    }

    /// Whether its rows are no text: only what keeps them apart can carry them.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Avro | Self::Protobuf)
    }
}

/// Where the schemas of Avro and Protobuf come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaPlace {
    /// A registry: each record says which of its schemas it has.
    Registry(Box<RegistryDocument>),
    /// A file with the one schema of all records.
    File(SchemaFile),
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

impl Builder<'_> {
    /// The format that the source says, or raw lines. Rows of a source that `has_nulls` may lack
    /// bytes.
    pub(super) fn format(
        &mut self,
        path: &Path,
        document: Option<&DecodeFormat>,
        has_nulls: bool,
    ) -> Option<Format> {
        let Some(document) = document else {
            return Some(raw());
        };
        let kinds = [
            (FormatKind::Json, &document.json),
            (FormatKind::Csv, &document.csv),
            (FormatKind::Raw, &document.raw),
            (FormatKind::Avro, &document.avro),
            (FormatKind::Protobuf, &document.protobuf),
        ];
        let given: Vec<_> = kinds
            .iter()
            .map(|it| (it.0.name(), it.1.is_some()))
            .collect();
        let name = self.exactly_one(path, "a format", &given)?;
        let (kind, columns) = *kinds.iter().find(|(kind, _)| kind.name() == name)?;
        let schemas = self.schemas(path, document, kind);
        self.around(path, document, kind);
        let path = path.key(name);
        let mut specs = Vec::new();
        for (name, column) in columns.iter().flatten() {
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
            timestamp: document.timestamp.unwrap_or_default(),
            zone: document.zone.clone(),
            unknown_fields: document.unknown_fields,
            duplicate_fields: document.duplicate_fields,
            round_decimals: document.round_decimals,
            csv: document.options.clone().unwrap_or_default(),
            schemas,
            envelope: document.envelope,
            ..Format::plain(kind, specs)
        })
    }

    /// Where the schemas come from; only formats that have any say it.
    fn schemas(
        &mut self,
        path: &Path,
        document: &DecodeFormat,
        kind: FormatKind,
    ) -> Option<SchemaPlace> {
        let name = kind.name();
        let given = [
            ("registry", document.registry.is_some()),
            ("schema", document.schema.is_some()),
        ];
        if !kind.is_binary() {
            for (option, _) in given.iter().filter(|(_, given)| *given) {
                let message = format!("`{name}` has no schemas");
                let remedy = format!("remove `{option}`");
                self.wrong(&path.key(option), &message, Some(&remedy));
            }
            return None;
        }
        match (&document.registry, &document.schema) {
            (Some(registry), None) => {
                self.registry(&path.key("registry"), registry);
                Some(SchemaPlace::Registry(Box::new(registry.clone())))
            }
            (None, Some(schema)) => {
                if schema.message.is_some() && kind != FormatKind::Protobuf {
                    let path = path.key("schema").key("message");
                    let message = format!("a schema of `{name}` has no messages");
                    self.wrong(&path, &message, Some("remove `message`"));
                }
                Some(SchemaPlace::File(schema.clone()))
            }
            _ => {
                let message = format!("`{name}` needs to know the records' schemas");
                let remedy = "say one of `registry: { url: http://HOST:PORT }` and \
                              `schema: { file: PATH }`";
                self.wrong(path, &message, Some(remedy));
                None
            }
        }
    }

    /// What stands around the row.
    fn around(&mut self, path: &Path, document: &DecodeFormat, kind: FormatKind) {
        if document.envelope.is_some() && matches!(kind, FormatKind::Csv | FormatKind::Raw) {
            let message = format!("`{}` has no envelope", kind.name());
            let remedy = "remove `envelope`, or read `json`, `avro` or `protobuf`";
            self.wrong(&path.key("envelope"), &message, Some(remedy));
        }
    }

    /// A source whose rows are text cannot carry others.
    pub(super) fn carries(&mut self, path: &Path, document: &SourceDocument, format: &Format) {
        let is_text = document.kafka.is_none() || document.file.is_some();
        if format.kind.is_binary() && is_text {
            let name = format.kind.name();
            let message = format!("`{name}` is read from records of Kafka, not from lines");
            let remedy = match document.kafka {
                Some(_) => "read the files in a source of their own, as `json` or `csv`",
                None => "read a topic, or choose `json` or `csv`",
            };
            self.wrong(&path.key("format").key(name), &message, Some(remedy));
        }
    }

    /// Checks how a registry is reached.
    pub(in crate::pipeline) fn registry(&mut self, path: &Path, registry: &RegistryDocument) {
        let at = path.key("url");
        let url = registry.url.as_str();
        let rest = url.strip_prefix("https://");
        let rest = rest.or_else(|| url.strip_prefix("http://"));
        match rest.map(|rest| rest.split('/').next().unwrap_or_default()) {
            None | Some("") => {
                // What stands there may hold a password.
                let message = "this is no address of a registry";
                self.wrong(
                    &at,
                    message,
                    Some("write `http://HOST:PORT` or `https://HOST`"),
                );
            }
            Some(host) if host.contains('@') => {
                let message = "the address has a user, and what it says is shown in messages";
                let remedy = "say `user` and `password: { env: NAME }` beside `url`";
                self.wrong(&at, message, Some(remedy));
            }
            Some(_) if url.contains(['?', '#', ' ']) => {
                let message = "a registry's address ends with its path";
                self.wrong(&at, message, Some("remove what follows it"));
            }
            Some(_) => {}
        }
        if registry.password.is_some() && registry.user.is_none() {
            let message = "a password belongs to a user";
            self.wrong(&path.key("password"), message, Some("say `user`"));
        }
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
    pub(super) fn field(&mut self, path: &Path, name: &str, text: &str) -> Option<Field> {
        if name.is_empty() || name.len() > 255 {
            self.wrong(path, "a column's name has 1 to 255 bytes", None);
            return None;
        }
        let field = data_type::parse_field(name, text);
        field
            .map_err(|error| self.wrong(path, &error.to_string(), None))
            .ok()
    }
}

/// Lines as they are.
fn raw() -> Format {
    let column = ColumnSpec {
        path: vec!["value".into()],
        field: Field::new("value", DataType::Binary, false),
        timestamp: None,
        default: None,
    };
    Format::plain(FormatKind::Raw, vec![column])
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::pipeline;

    const DOCUMENT: &str = "\
name: test
sources:
  orders:
    kafka: { brokers: \"localhost:9092\", topic: orders }
    format:
      protobuf: { id: u64, at: timestamp }
      schema: { file: order.proto, message: shop.Order }
      envelope: debezium
sinks:
  out:
    input: orders
    kafka: { brokers: \"localhost:9092\", topic: out, key: id, upsert: true }
    format:
      protobuf: { registry: { url: \"http://localhost:8081\" }, name: shop.Order }
";

    const FILE: &str = "schema: { file: order.proto, message: shop.Order }";

    #[test]
    fn what_has_schemas_says_where_they_are() {
        pipeline(DOCUMENT).unwrap_or_else(|errors| panic!("{errors}"));
        let registry = "registry: { url: \"https://example.com/r\" }";
        pipeline(&DOCUMENT.replace(FILE, registry)).unwrap_or_else(|errors| panic!("{errors}"));
        let both = format!("{FILE}\n      {registry}");
        for (from, to, message) in [
            (FILE, "", "`protobuf` needs to know the records' schemas"),
            (FILE, both.as_str(), "say one of `registry:"),
            (FILE, "schema: { message: a.B }", "file"),
            (
                FILE,
                "registry: { url: localhost }",
                "no address of a registry",
            ),
            (
                "protobuf: { id",
                "avro: { id",
                "a schema of `avro` has no messages",
            ),
            ("protobuf: { id", "json: { id", "`json` has no schemas"),
            (
                "protobuf: { id: u64, at: timestamp }",
                "protobuf: {}",
                "there are no columns",
            ),
            (
                "kafka: { brokers: \"localhost:9092\", topic: orders }",
                "file: { path: in.bin }",
                "`protobuf` is read from records of Kafka, not from lines",
            ),
            (
                "kafka: { brokers: \"localhost:9092\", topic: out, key: id, upsert: true }",
                "file: { path: out.bin }",
                "`protobuf` is written into records of Kafka, not into lines",
            ),
            (
                "topic: out,",
                "topic: { column: name },",
                "several topics have no one subject",
            ),
            (
                "url: \"http://localhost:8081\"",
                "url: \"ftp://x\"",
                "no address of a registry",
            ),
            (
                "name: shop.Order }",
                "name: shop.Order }\n      csv: {}",
                "a format has one kind",
            ),
        ] {
            assert!(DOCUMENT.contains(from), "{from}");
            let errors = pipeline(&DOCUMENT.replacen(from, to, 1)).expect_err(to);
            assert!(errors.to_string().contains(message), "{to}: {errors}");
        }
    }
}

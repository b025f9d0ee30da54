//! How bytes become rows, and rows bytes.

mod schemas;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OneOrMore;

pub use schemas::{EncodeRegistered, RegistryDocument, SchemaFile};

/// How a source's bytes become rows: one of `json`, `csv`, `raw`, `avro` and `protobuf`, each with
/// its columns, and options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DecodeFormat {
    /// One JSON object a line. Only these columns are read.
    pub json: Option<IndexMap<String, ColumnText>>,
    /// Comma-separated values.
    pub csv: Option<IndexMap<String, ColumnText>>,
    /// Each line as one column, `value`, of type `bytes` or `string`.
    pub raw: Option<IndexMap<String, ColumnText>>,
    /// One Avro datum a record of Kafka. Only these columns are read.
    pub avro: Option<IndexMap<String, ColumnText>>,
    /// One Protobuf message a record of Kafka. Only these columns are read.
    pub protobuf: Option<IndexMap<String, ColumnText>>,
    /// Avro and Protobuf: the schema registry in whose wire format the records are.
    pub registry: Option<RegistryDocument>,
    /// Avro and Protobuf: the one schema of all records, where they come without a registry.
    pub schema: Option<SchemaFile>,
    /// JSON, Avro and Protobuf: what stands around the row, if something does.
    pub envelope: Option<Envelope>,
    /// How text or numbers become timestamps, unless a column says otherwise.
    pub timestamp: Option<TimestampStyle>,
    /// The time zone of timestamps that name none, such as `Europe/Berlin`; `UTC` if not given.
    pub zone: Option<String>,
    /// JSON: what happens to a row with fields that are no columns.
    #[serde(default)]
    pub unknown_fields: UnknownFields,
    /// JSON: which of several fields of one name counts.
    #[serde(default)]
    pub duplicate_fields: DuplicateFields,
    /// Rounds decimals with too many places, half away from zero, instead of refusing them.
    #[serde(default)]
    pub round_decimals: bool,
    /// CSV: the delimiter, the header and the text that means null.
    pub options: Option<Csv>,
}

/// What stands around a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Envelope {
    /// What Debezium says of a change: the row `before` and `after` it. The source's stream is a
    /// changelog.
    Debezium,
}

/// A column as `name: type` or `name: { type: ..., ... }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ColumnText {
    /// Only the type.
    Type(#[schemars(extend("format" = "wasmill-type"))] String),
    /// The type and where the value stands.
    Full(ColumnDocument),
}

/// A column with options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ColumnDocument {
    /// The type, such as `u64`, `decimal(12,2)` or `string?`.
    #[serde(rename = "type")]
    #[schemars(extend("format" = "wasmill-type"))]
    pub data_type: String,
    /// Where the value stands, if not under the column's name: `card.number`, or a list of field
    /// names. In CSV the header's name.
    pub path: Option<FieldPath>,
    /// How text or a number becomes a timestamp.
    pub timestamp: Option<TimestampStyle>,
    /// The value where the field is absent.
    pub default: Option<serde_json::Value>,
}

/// The way to a nested field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FieldPath {
    /// Names with dots between them.
    Dotted(String),
    /// Names that may contain dots.
    Names(Vec<String>),
}

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimestampStyle {
    /// Text such as `2024-05-01T12:00:00.5Z`.
    #[default]
    Rfc3339,
    /// Seconds since 1970, whole or with a fraction.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// Microseconds since 1970.
    Microseconds,
}

/// What happens to fields that are no columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownFields {
    /// Nothing.
    #[default]
    Ignore,
    /// The row does not fit.
    Refuse,
}

/// Which of several fields of one name counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DuplicateFields {
    /// The last.
    #[default]
    Last,
    /// The first.
    First,
    /// None: the row does not fit.
    Refuse,
}

/// Options of CSV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Csv {
    /// One character between values.
    #[schemars(length(min = 1, max = 1))]
    pub delimiter: String,
    /// Whether the first line names the columns. Without it they stand in the document's order.
    pub header: bool,
    /// The text that means null, where the column may be null.
    pub null: String,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            delimiter: ",".into(),
            header: true,
            null: String::new(),
        }
    }
}

/// How rows become text: `json`, `csv`, or a format with options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EncodeFormat {
    /// With every option at its default.
    Word(FormatWord),
    /// With options.
    Options(Box<EncodeOptions>),
}

/// The name of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FormatWord {
    /// One JSON object a line.
    Json,
    /// Comma-separated values with a header.
    Csv,
}

/// A format with options: one of `json`, `csv`, `raw`, `avro` and `protobuf`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EncodeOptions {
    /// One JSON object a line.
    pub json: Option<EncodeJson>,
    /// Comma-separated values.
    pub csv: Option<EncodeCsv>,
    /// A column's bytes as they are.
    pub raw: Option<EncodeRaw>,
    /// Avro data in a schema registry's wire format, for topics.
    pub avro: Option<EncodeRegistered>,
    /// Protobuf messages in a schema registry's wire format, for topics.
    pub protobuf: Option<EncodeRegistered>,
}

/// Options of JSON that is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct EncodeJson {
    /// How decimals are written.
    pub decimals: NumberStyle,
    /// How integers beyond 2^53 are written.
    pub large_integers: NumberStyle,
    /// How timestamps are written.
    pub timestamps: TimestampStyle,
}

/// Options of CSV that is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct EncodeCsv {
    /// How timestamps are written.
    pub timestamps: TimestampStyle,
    /// The delimiter, the header and the text that means null.
    pub options: Csv,
}

/// Which bytes are written as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EncodeRaw {
    /// The column that holds them, of type `string` or `bytes`; of a list of columns, the first
    /// that is not null. Of dead letters: `[original, original-bytes]`.
    pub column: OneOrMore,
}

/// How an exact number is written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NumberStyle {
    /// As a number with all its digits: `12.30`.
    #[default]
    Number,
    /// As text, for readers that keep numbers as floats: `"12.30"`.
    String,
}

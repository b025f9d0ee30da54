//! Sources whose rows are computed: for trials and benchmarks.

use arrow_schema::{DataType, Field};

use crate::data_type;
use crate::pipeline::build::Builder;
use crate::pipeline::document::{GeneratorColumnDocument, GeneratorColumnText, GeneratorDocument};
use crate::tree::Path;

/// Rows that are computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Generator {
    /// How many rows in all; without end if none.
    pub records: Option<u64>,
    /// Rows a second over all splits.
    pub rate: Option<u64>,
    /// The number of splits; split `s` computes the rows `i` with `i mod splits = s`.
    pub splits: u32,
    /// Added to `i` before hashing.
    pub seed: u64,
    /// The columns.
    pub columns: Vec<GeneratorColumn>,
}

/// A computed column.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorColumn {
    /// Its name and type.
    pub field: Field,
    /// How its values are computed.
    pub value: GeneratorValue,
}

/// How a column's values are computed.
#[derive(Debug, Clone, PartialEq)]
pub enum GeneratorValue {
    /// A number: the counter, for `f64` times the scale, for a decimal in its smallest unit, for a
    /// timestamp in microseconds; integers wrap.
    Number(Counter, f64),
    /// The same value in every row, as the column's type reads it.
    Constant(serde_json::Value),
    /// Text.
    Text(Vec<TextPart>),
    /// `start + i * step`, both in microseconds.
    Time {
        /// Of row 0.
        start_us: i64,
        /// Between two rows.
        step_us: i64,
    },
}

/// A number that a row's number gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// `i`.
    Sequence,
    /// `i mod n`; n is not zero.
    Mod(u64),
    /// `((i + seed) * 0x9E3779B97F4A7C15 mod 2^64) mod n`; n is not zero.
    HashMod(u64),
}

impl Counter {
    /// The number of row `i`.
    pub fn at(self, i: u64, seed: u64) -> u64 {
        match self {
            Self::Sequence => i,
            Self::Mod(n) => i % n,
            Self::HashMod(n) => i.wrapping_add(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) % n,
        }
    }
}

/// A piece of generated text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPart {
    /// Text as it stands.
    Literal(String),
    /// A number in decimal.
    Number(Counter),
}

impl Builder<'_> {
    /// The rows that a generator computes.
    pub(super) fn generator(
        &mut self,
        path: &Path,
        document: &GeneratorDocument,
    ) -> Option<Generator> {
        let mut columns = Vec::new();
        for (name, column) in &document.columns {
            let path = path.key("columns").key(name);
            let full = match column {
                GeneratorColumnText::Word(_) => GeneratorColumnDocument {
                    sequence: Some(true),
                    ..GeneratorColumnDocument::default()
                },
                GeneratorColumnText::Full(full) => full.clone(),
            };
            columns.push(self.generator_column(&path, name, &full));
        }
        let columns: Vec<GeneratorColumn> = columns.into_iter().collect::<Option<_>>()?;
        if columns.is_empty() {
            let remedy = "add `NAME: sequence`";
            self.wrong(&path.key("columns"), "there are no columns", Some(remedy));
            return None;
        }
        Some(Generator {
            records: document.records,
            rate: document.rate,
            splits: document.splits.unwrap_or(1).max(1),
            seed: document.seed,
            columns,
        })
    }

    /// A column and the expression that gives its value.
    fn generator_column(
        &mut self,
        path: &Path,
        name: &str,
        column: &GeneratorColumnDocument,
    ) -> Option<GeneratorColumn> {
        let given = [
            ("sequence", column.sequence == Some(true)),
            ("mod", column.modulo.is_some()),
            ("hash-mod", column.hash_mod.is_some()),
            ("constant", column.constant.is_some()),
            ("text", column.text.is_some()),
            ("time", column.time.is_some()),
        ];
        let which = self.exactly_one(path, "a generated column", &given)?;
        let (value, usual) = match (column.modulo, column.hash_mod, which) {
            (Some(n), _, _) => (number(Counter::Mod(n.max(1)), column), "u64"),
            (_, Some(n), _) => (number(Counter::HashMod(n.max(1)), column), "u64"),
            (_, _, "sequence") => (number(Counter::Sequence, column), "u64"),
            _ => self.other_value(path, column)?,
        };
        let text = column.data_type.as_deref().unwrap_or(usual);
        let field = self.field(&path.key("type"), name, text)?;
        let of = field.data_type();
        let fits = match &value {
            GeneratorValue::Number(..) => of.is_numeric() || matches!(of, DataType::Timestamp(..)),
            GeneratorValue::Text(_) => *of == DataType::Utf8,
            GeneratorValue::Time { .. } => *of == data_type::timestamp(),
            GeneratorValue::Constant(_) => !of.is_nested(),
        };
        if !fits {
            let message = format!("`{which}` does not give values of type {text}");
            self.wrong(&path.key("type"), &message, Some(&format!("use `{usual}`")));
            return None;
        }
        Some(GeneratorColumn { field, value })
    }

    /// An expression that is no counter.
    fn other_value(
        &mut self,
        path: &Path,
        column: &GeneratorColumnDocument,
    ) -> Option<(GeneratorValue, &'static str)> {
        if let Some(time) = column.time {
            let value = GeneratorValue::Time {
                start_us: time.start,
                step_us: time.step.as_us(),
            };
            return Some((value, "timestamp"));
        }
        if let Some(text) = &column.text {
            return match text_parts(text) {
                Ok(parts) => Some((GeneratorValue::Text(parts), "string")),
                Err(message) => {
                    let remedy = "write `{sequence}`, `{mod N}` or `{hash-mod N}`";
                    self.wrong(&path.key("text"), &message, Some(remedy));
                    None
                }
            };
        }
        let constant = column.constant.clone().unwrap_or_default();
        let usual = match &constant {
            serde_json::Value::Bool(_) => "bool",
            serde_json::Value::Number(number) if number.is_u64() => "u64",
            serde_json::Value::Number(number) if number.is_i64() => "i64",
            serde_json::Value::Number(_) => "f64",
            _ => "string",
        };
        Some((GeneratorValue::Constant(constant), usual))
    }
}

/// A counter as a number of the column's type.
fn number(counter: Counter, column: &GeneratorColumnDocument) -> GeneratorValue {
    GeneratorValue::Number(counter, column.scale.unwrap_or(1.0))
}

/// Cuts `m{mod 5000}` into pieces; `{{` is a brace.
fn text_parts(text: &str) -> Result<Vec<TextPart>, String> {
    let (mut parts, mut rest, mut literal) = (Vec::new(), text, String::new());
    while let Some((before, tail)) = rest.split_once('{') {
        literal.push_str(before);
        if let Some(tail) = tail.strip_prefix('{') {
            literal.push('{');
            rest = tail;
            continue;
        }
        if !literal.is_empty() {
            parts.push(TextPart::Literal(std::mem::take(&mut literal)));
        }
        let Some((expression, tail)) = tail.split_once('}') else {
            return Err("a `}` is missing".into());
        };
        let mut words = expression.split_whitespace();
        let name = words.next();
        let n = words.next().map(|n| n.parse().unwrap_or(0));
        let counter = match (name, n, words.next()) {
            (Some("sequence"), None, None) => Counter::Sequence,
            (Some("mod"), Some(n), None) if n > 0 => Counter::Mod(n),
            (Some("hash-mod"), Some(n), None) if n > 0 => Counter::HashMod(n),
            _ => return Err(format!("`{{{expression}}}` is not understood")),
        };
        parts.push(TextPart::Number(counter));
        rest = tail;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(TextPart::Literal(literal));
    }
    Ok(parts)
}

//! Rows that are computed: the columns' small language.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::DurationText;

/// Rows numbered `i` = 0, 1, 2, ...; split `s` of `n` computes those with `i mod n = s`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GeneratorDocument {
    /// How many rows in all; without end if not given.
    pub records: Option<u64>,
    /// Rows a second over all splits; as fast as possible if not given.
    #[schemars(range(min = 1))]
    pub rate: Option<u64>,
    /// The number of splits, 1.
    #[schemars(range(min = 1, max = 1024))]
    pub splits: Option<u32>,
    /// Added to `i` before hashing, 0: another seed, other values.
    #[serde(default)]
    pub seed: u64,
    /// The columns.
    pub columns: IndexMap<String, GeneratorColumnText>,
}

/// A generated column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum GeneratorColumnText {
    /// A word.
    Word(GeneratorWord),
    /// One expression, and the type of the result.
    Full(GeneratorColumnDocument),
}

/// A generated column in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratorWord {
    /// The row's number `i`, `u64`.
    Sequence,
}

/// A generated column: one of `sequence`, `mod`, `hash-mod`, `constant`, `text` and `time`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct GeneratorColumnDocument {
    /// `true`: the row's number `i`.
    pub sequence: Option<bool>,
    /// `i mod N`.
    #[serde(rename = "mod")]
    #[schemars(range(min = 1))]
    pub modulo: Option<u64>,
    /// `((i + seed) * 0x9E3779B97F4A7C15 mod 2^64) mod N`: values that jump about.
    #[schemars(range(min = 1))]
    pub hash_mod: Option<u64>,
    /// The same value in every row.
    pub constant: Option<serde_json::Value>,
    /// Text with `{sequence}`, `{mod N}` and `{hash-mod N}` in it, such as `m{mod 5000}`; `{{` is a
    /// brace.
    pub text: Option<String>,
    /// Timestamps at even distances.
    pub time: Option<GeneratorTime>,
    /// The type of a number, `u64` if not given: an integer, `f64`, `decimal(p,s)` (the number
    /// counts its smallest unit) or `timestamp` (the number counts microseconds). Of a constant:
    /// what it is read as.
    #[serde(rename = "type")]
    #[schemars(extend("format" = "wasmill-type"))]
    pub data_type: Option<String>,
    /// Multiplies a number of type `f64`.
    pub scale: Option<f64>,
}

/// Timestamps at even distances: `start + i * step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GeneratorTime {
    /// Microseconds since 1970 of row 0; 0 if not given.
    #[serde(default)]
    pub start: i64,
    /// Between two rows.
    pub step: DurationText,
}

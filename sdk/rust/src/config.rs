//! The configuration of an operator: JSON that is read with errors an author of pipelines
//! understands, and described by a JSON Schema.

use crate::{Decimal, Fault};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The configuration of an operator: derive it for a struct whose fields are settings.
///
/// A key is named like its field, with hyphens (`max-per-minute`). Doc comments become the
/// descriptions in the schema. `#[config(default)]` or `#[config(default = …)]` makes a key
/// optional, as does an `Option`; the default is written as in the configuration (`"30s"`). Unknown
/// keys are refused, with the nearest known one.
/// ```
/// use std::time::Duration;
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Config, Debug, PartialEq)]
/// struct Limits {
///     /// Payments allowed in a minute.
///     #[config(default = 5)]
///     max_per_minute: u32,
///     /// Countries that are never checked.
///     #[config(default)]
///     trusted: Vec<String>,
///     /// How long a card rests after an alert.
///     pause: Duration,
/// }
///
/// let limits: Limits = wasmill_sdk::testing::config(r#"{ "pause": "30s" }"#)?;
/// assert_eq!(limits.max_per_minute, 5);
/// assert_eq!(limits.pause, Duration::from_secs(30));
///
/// let error = wasmill_sdk::testing::config::<Limits>(r#"{ "pose": "1s" }"#).unwrap_err();
/// assert_eq!(error.message, "config has no `pose`; did you mean `pause`?");
/// # Ok::<(), Fault>(())
/// ```
pub trait Config: Setting {}

impl Config for () {}

/// A configuration that the operator reads itself.
impl Config for Json {}

/// A value that can stand in a configuration: `bool`, numbers, `String`, [`Decimal`], `Duration`
/// (text such as `30s`), `Option`, `Vec`, `BTreeMap<String, T>`, structs that derive
/// [`Config`](macro@crate::Config), and enums without fields that do.
///
/// A value that does not fit is refused before the job starts, with its place.
/// ```
/// use std::collections::BTreeMap;
/// use std::time::Duration;
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Config)]
/// struct Window {
///     size: Duration,
///     weights: BTreeMap<String, f64>,
/// }
/// let window = r#"{ "size": "90s", "weights": { "atm": 2 } }"#;
/// let window: Window = wasmill_sdk::testing::config(window)?;
/// assert_eq!(window.size, Duration::from_secs(90));
/// assert_eq!(window.weights["atm"], 2.0);
/// # Ok::<(), Fault>(())
/// ```
pub trait Setting: Sized {
    #[doc(hidden)]
    fn schema() -> Json;

    /// Reads it; errors name the place.
    #[doc(hidden)]
    fn read(value: &Json, place: &str) -> Result<Self, Fault>;

    /// What an absent key means, if it may be absent.
    #[doc(hidden)]
    fn absent() -> Option<Self> {
        None
    }
}

/// Reads a whole configuration; none is an empty one.
pub(crate) fn read<C: Config>(value: &Json) -> Result<C, Fault> {
    match value {
        Json::Null => C::read(&json!({}), "config"),
        value => C::read(value, "config"),
    }
}

fn mismatch(place: &str, wanted: &str, value: &Json) -> Fault {
    Fault::new(format!("{place} must be {wanted}, not {value}"))
}

impl Setting for () {
    fn schema() -> Json {
        object_schema(Map::new(), Vec::new())
    }

    fn read(value: &Json, place: &str) -> Result<Self, Fault> {
        object(value, place, &[]).map(drop)
    }
}

impl Setting for Json {
    fn schema() -> Json {
        json!({ "type": "object" })
    }

    fn read(value: &Json, _place: &str) -> Result<Self, Fault> {
        Ok(value.clone())
    }
}

impl Setting for bool {
    fn schema() -> Json {
        json!({ "type": "boolean" })
    }

    fn read(value: &Json, place: &str) -> Result<Self, Fault> {
        value
            .as_bool()
            .ok_or_else(|| mismatch(place, "true or false", value))
    }
}

impl Setting for String {
    fn schema() -> Json {
        json!({ "type": "string" })
    }

    fn read(value: &Json, place: &str) -> Result<Self, Fault> {
        let text = value
            .as_str()
            .ok_or_else(|| mismatch(place, "text", value))?;
        Ok(text.to_owned())
    }
}

macro_rules! integer {
    ($($type:ty),*) => { $(
        impl Setting for $type {
            fn schema() -> Json {
                json!({ "type": "integer", "minimum": <$type>::MIN, "maximum": <$type>::MAX })
            }

            fn read(value: &Json, place: &str) -> Result<Self, Fault> {
                let signed = value.as_i64().and_then(|n| <$type>::try_from(n).ok());
                let unsigned = || value.as_u64().and_then(|n| <$type>::try_from(n).ok());
                let wanted = || format!("an integer from {} to {}", <$type>::MIN, <$type>::MAX);
                signed.or_else(unsigned).ok_or_else(|| mismatch(place, &wanted(), value))
            }
        }
    )* };
}

integer!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Setting for f64 {
    fn schema() -> Json {
        json!({ "type": "number" })
    }

    fn read(value: &Json, place: &str) -> Result<Self, Fault> {
        value
            .as_f64()
            .ok_or_else(|| mismatch(place, "a number", value))
    }
}

impl<const P: u8, const S: u8> Setting for Decimal<P, S> {
    fn schema() -> Json {
        json!({ "type": ["number", "string"] })
    }

    /// From a number or its text: `12.5` or `"12.50"`.
    fn read(value: &Json, place: &str) -> Result<Self, Fault> {
        let text = match value {
            Json::String(text) => text.clone(),
            value => value.to_string(),
        };
        let wanted = || format!("a decimal({P},{S})");
        text.parse().map_err(|_| mismatch(place, &wanted(), value))
    }
}

impl Setting for Duration {
    fn schema() -> Json {
        json!({ "type": "string", "format": "wasmill-duration" })
    }

    fn read(value: &Json, place: &str) -> Result<Self, Fault> {
        let parsed = value.as_str().and_then(duration);
        parsed.ok_or_else(|| mismatch(place, "a duration such as \"30s\"", value))
    }
}

/// `500ms`, `30s`, `5m`, `1h`, `7d`.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let micros = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(micros)
        .map(Duration::from_micros)
}

impl<T: Setting> Setting for Option<T> {
    fn schema() -> Json {
        T::schema()
    }

    fn read(value: &Json, place: &str) -> Result<Self, Fault> {
        match value {
            Json::Null => Ok(None),
            value => T::read(value, place).map(Some),
        }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }

    fn read(value: &Json, place: &str) -> Result<Self, Fault> {
        let items = value
            .as_array()
            .ok_or_else(|| mismatch(place, "a list", value))?;
        let numbered = items.iter().enumerate();
        numbered
            .map(|(index, item)| T::read(item, &format!("{place}[{index}]")))
            .collect()
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }

    fn read(value: &Json, place: &str) -> Result<Self, Fault> {
        let fields = value
            .as_object()
            .ok_or_else(|| mismatch(place, "an object", value))?;
        let read = |(key, value): (&String, &Json)| {
            T::read(value, &format!("{place}.{key}")).map(|value| (key.clone(), value))
        };
        fields.iter().map(read).collect()
    }
}

/// The schema of a struct.
#[doc(hidden)]
pub fn object_schema(properties: Map<String, Json>, required: Vec<&str>) -> Json {
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// Adds description and default to a key's schema.
#[doc(hidden)]
pub fn annotate(mut schema: Json, doc: &str, default: Option<Json>) -> Json {
    if !doc.is_empty() {
        schema["description"] = doc.into();
    }
    if let Some(default) = default {
        schema["default"] = default;
    }
    schema
}

/// A struct's keys, after a look for unknown ones.
#[doc(hidden)]
pub fn object<'v>(
    value: &'v Json,
    place: &str,
    known: &[&str],
) -> Result<&'v Map<String, Json>, Fault> {
    let object = value
        .as_object()
        .ok_or_else(|| mismatch(place, "an object", value))?;
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(object),
        Some(key) => Err(Fault::new(match nearest(key, known) {
            Some(word) => format!("{place} has no `{key}`; did you mean `{word}`?"),
            None => format!("{place} has no `{key}`"),
        })),
    }
}

/// One key of a struct; `default` speaks for an absent one.
#[doc(hidden)]
pub fn key<T: Setting>(
    object: &Map<String, Json>,
    place: &str,
    key: &str,
    default: impl FnOnce() -> Option<Result<T, Fault>>,
) -> Result<T, Fault> {
    match object.get(key) {
        Some(value) => T::read(value, &format!("{place}.{key}")),
        None => default()
            .or_else(|| T::absent().map(Ok))
            .unwrap_or_else(|| Err(Fault::new(format!("{place} needs `{key}`")))),
    }
}

/// One of an enum's names, as its position.
#[doc(hidden)]
pub fn choice(value: &Json, place: &str, names: &[&str]) -> Result<usize, Fault> {
    let found = names.iter().position(|name| value.as_str() == Some(name));
    found.ok_or_else(|| mismatch(place, &format!("one of {}", names.join(", ")), value))
}

/// The known word that is nearest, if it is near at all.
fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    let distances = known.iter().map(|known| (distance(word, known), *known));
    let (distance, found) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + word.len() / 3).then_some(found)
}

/// How many letters must change to make one word of the other (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

//! The types of columns and states, as text and as Arrow types.
//!
//! The text form is specified in `docs/formats/state.md`; it is the same in descriptors, pipeline
//! documents and messages.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};

use crate::spelling;

/// How deep types may nest: descriptors are hostile, and the parser recurses.
const DEPTH_MAX: usize = 16;

/// Why a type's text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a type: {reason}")]
pub struct TypeError {
    /// The text as it was given.
    pub text: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

/// The Arrow type of `timestamp`: microseconds since 1970 in UTC.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Reads a type such as `decimal(12,2)` or `list<string?>?`; the flag says whether null is allowed.
///
/// ```
/// use wasmill_core::data_type;
///
/// let (money, is_nullable) = data_type::parse("decimal( 12, 2 )?").expect("a type");
/// assert_eq!(data_type::print(&money, is_nullable), "decimal(12,2)?");
/// let error = data_type::parse("strng").unwrap_err().to_string();
/// assert!(error.ends_with("did you mean `string`?"), "{error}");
/// ```
pub fn parse(text: &str) -> Result<(DataType, bool), TypeError> {
    let mut parser = Parser { text, rest: text };
    let parsed = parser.nullable_type(0);
    parsed
        .and_then(|parsed| parser.end().map(|()| parsed))
        .map_err(|reason| parser.error(reason))
}

/// Reads the types of a key's columns, such as `u64, string?`, as manifests have them.
///
/// ```
/// use wasmill_core::data_type;
///
/// let types = data_type::parse_all("decimal(12,2), string?").expect("types");
/// assert_eq!(types.len(), 2);
/// assert!(types[1].1, "the second may be null");
/// ```
pub fn parse_all(text: &str) -> Result<Vec<(DataType, bool)>, TypeError> {
    let mut parser = Parser { text, rest: text };
    let mut types = Vec::new();
    loop {
        let parsed = parser.nullable_type(0);
        types.push(parsed.map_err(|reason| parser.error(reason))?);
        if !parser.accept(',') {
            break;
        }
    }
    let end = parser.end();
    end.map_err(|reason| parser.error(reason))?;
    Ok(types)
}

/// Reads a column's type and makes a field of it.
pub fn parse_field(name: &str, text: &str) -> Result<Field, TypeError> {
    parse(text).map(|(data_type, nullable)| Field::new(name, data_type, nullable))
}

/// The canonical text of a type, as schema ids hash it.
pub fn print(data_type: &DataType, nullable: bool) -> String {
    let base = match data_type {
        DataType::Boolean => "bool".into(),
        DataType::Int8 => "i8".into(),
        DataType::Int16 => "i16".into(),
        DataType::Int32 => "i32".into(),
        DataType::Int64 => "i64".into(),
        DataType::UInt8 => "u8".into(),
        DataType::UInt16 => "u16".into(),
        DataType::UInt32 => "u32".into(),
        DataType::UInt64 => "u64".into(),
        DataType::Float32 => "f32".into(),
        DataType::Float64 => "f64".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => "timestamp".into(),
        DataType::Utf8 => "string".into(),
        DataType::Binary => "bytes".into(),
        DataType::FixedSizeBinary(width) => format!("bytes({width})"),
        DataType::List(item) => format!("list<{}>", print(item.data_type(), item.is_nullable())),
        DataType::Struct(fields) => format!("struct<{}>", print_fields(fields)),
        other => unreachable!("{other} is never made by this module"),
    };
    if nullable { base + "?" } else { base }
}

/// Fields with one space after each `:` and `,`: the canonical form, of which schema ids are made.
fn print_fields(fields: &Fields) -> String {
    let parts: Vec<String> = fields
        .iter()
        .map(|field| {
            format!(
                "{}: {}",
                field.name(),
                print(field.data_type(), field.is_nullable())
            )
        })
        .collect();
    parts.join(", ")
}

/// The width in bytes of one encoded value (`docs/formats/state.md`), if every value has the same.
///
/// ```
/// use wasmill_core::data_type;
///
/// let width = |text| {
///     let (of, is_nullable) = data_type::parse(text).expect("a type");
///     data_type::fixed_width(&of, is_nullable)
/// };
/// assert_eq!(width("struct<n: u64, sum: f64>"), Some(16));
/// assert_eq!(width("string"), None);
/// ```
pub fn fixed_width(data_type: &DataType, nullable: bool) -> Option<usize> {
    if nullable {
        return None;
    }
    match data_type {
        DataType::Boolean | DataType::Int8 | DataType::UInt8 => Some(1),
        DataType::Int16 | DataType::UInt16 => Some(2),
        DataType::Int32 | DataType::UInt32 | DataType::Float32 | DataType::Date32 => Some(4),
        DataType::Int64 | DataType::UInt64 | DataType::Float64 | DataType::Timestamp(..) => Some(8),
        DataType::Decimal128(..) => Some(16),
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
        DataType::Struct(fields) => fields
            .iter()
            .map(|f| fixed_width(f.data_type(), f.is_nullable()))
            .sum(),
        _ => None,
    }
}

/// The text that is still to be read.
struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// That nothing follows.
    fn end(&mut self) -> Result<(), String> {
        self.skip_blanks();
        match self.rest {
            "" => Ok(()),
            rest => Err(format!("`{rest}` is left over")),
        }
    }

    fn error(&self, reason: String) -> TypeError {
        let text = self.text.into();
        TypeError { text, reason }
    }

    /// A type, and whether `?` follows it.
    fn nullable_type(&mut self, depth: usize) -> Result<(DataType, bool), String> {
        if depth > DEPTH_MAX {
            return Err(format!("types nest at most {DEPTH_MAX} deep"));
        }
        let word = self.word();
        let data_type = match word {
            "bool" => DataType::Boolean,
            "i8" => DataType::Int8,
            "i16" => DataType::Int16,
            "i32" => DataType::Int32,
            "i64" => DataType::Int64,
            "u8" => DataType::UInt8,
            "u16" => DataType::UInt16,
            "u32" => DataType::UInt32,
            "u64" => DataType::UInt64,
            "f32" => DataType::Float32,
            "f64" => DataType::Float64,
            "decimal" => self.decimal()?,
            "date" => DataType::Date32,
            "timestamp" => timestamp(),
            "string" => DataType::Utf8,
            "bytes" => self.bytes()?,
            "list" => self.list(depth)?,
            "struct" => self.fields(depth)?,
            other => return Err(unknown(other)),
        };
        Ok((data_type, self.accept('?')))
    }

    /// `(p,s)` behind `decimal`, within its limits.
    fn decimal(&mut self) -> Result<DataType, String> {
        self.expect('(')?;
        let precision: u8 = self.number()?;
        self.expect(',')?;
        let scale: i8 = self.number()?;
        self.expect(')')?;
        if !(1..=38).contains(&precision) || scale < 0 || scale as u8 > precision {
            return Err("decimal(p,s) needs 1 <= p <= 38 and 0 <= s <= p".into());
        }
        Ok(DataType::Decimal128(precision, scale))
    }

    /// `(n)` behind `bytes`, if it stands there.
    fn bytes(&mut self) -> Result<DataType, String> {
        if !self.accept('(') {
            return Ok(DataType::Binary);
        }
        let width: i32 = self.number()?;
        self.expect(')')?;
        if !(1..=65_536).contains(&width) {
            return Err("bytes(n) needs 1 <= n <= 65536".into());
        }
        Ok(DataType::FixedSizeBinary(width))
    }

    /// `<T>` behind `list`.
    fn list(&mut self, depth: usize) -> Result<DataType, String> {
        self.expect('<')?;
        let (item, nullable) = self.nullable_type(depth + 1)?;
        self.expect('>')?;
        Ok(DataType::List(Arc::new(Field::new("item", item, nullable))))
    }

    /// `<a: T, b: U>` behind `struct`; names are distinct.
    fn fields(&mut self, depth: usize) -> Result<DataType, String> {
        self.expect('<')?;
        let mut fields: Vec<Field> = Vec::new();
        loop {
            let name = self.word();
            if name.is_empty() {
                return Err("a field of struct<> is written `name: type`".into());
            }
            if fields.iter().any(|f| f.name() == name) {
                return Err(format!("field `{name}` stands twice"));
            }
            self.expect(':')?;
            let (data_type, nullable) = self.nullable_type(depth + 1)?;
            fields.push(Field::new(name, data_type, nullable));
            if !self.accept(',') {
                break;
            }
        }
        self.expect('>')?;
        Ok(DataType::Struct(fields.into()))
    }

    /// Digits as a number.
    fn number<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        let word = self.word();
        word.parse()
            .map_err(|_| format!("`{word}` is not a number that fits"))
    }

    /// Letters, digits, `_` and `-` up to the next mark.
    fn word(&mut self) -> &'a str {
        self.skip_blanks();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Takes this mark if it comes next.
    fn accept(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes this mark, or says that it is missing.
    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.accept(wanted) {
            Ok(())
        } else {
            Err(format!("`{wanted}` is missing"))
        }
    }

    /// Skips what may stand between any two words.
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

/// Every type as it begins.
const WORDS: &[&str] = &[
    "bool",
    "i8",
    "i16",
    "i32",
    "i64",
    "u8",
    "u16",
    "u32",
    "u64",
    "f32",
    "f64",
    "decimal",
    "date",
    "timestamp",
    "string",
    "bytes",
    "list",
    "struct",
];

/// Names the type that people from other systems mean.
fn unknown(word: &str) -> String {
    let meant = match word {
        "" => return "a type is missing".into(),
        "int" | "integer" | "bigint" | "long" | "int64" => "i64",
        "int32" => "i32",
        "uint64" => "u64",
        "float" | "double" | "real" | "float64" => "f64",
        "text" | "str" | "varchar" | "utf8" => "string",
        "boolean" => "bool",
        "datetime" | "time" => "timestamp",
        "numeric" | "number" | "money" => "decimal(12,2)",
        "binary" | "blob" => "bytes",
        "array" => "list<T>",
        "object" | "record" => "struct<name: type>",
        other => {
            let hint = spelling::hint(other, WORDS.iter().copied());
            return format!("there is no type `{other}`; {}", hint.unwrap_or_default());
        }
    };
    format!("there is no type `{word}`, use `{meant}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_prints_as_it_was_read() {
        for text in [
            "bool",
            "i8",
            "u64?",
            "f32",
            "decimal(12,2)",
            "date",
            "timestamp?",
            "string",
            "bytes",
            "bytes(16)",
            "list<string?>?",
            "struct<n: u64, sum: f64>",
            "list<struct<a: list<i8>>>",
        ] {
            let (data_type, nullable) = parse(text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(print(&data_type, nullable), text);
        }
    }

    #[test]
    fn blanks_do_not_matter() {
        assert_eq!(parse(" decimal( 12 , 2 ) ? "), parse("decimal(12,2)?"));
    }

    #[test]
    fn wrong_types_say_what_would_be_right() {
        let check = |text: &str, part: &str| {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        };
        check("int", "use `i64`");
        check("decimal(39,2)", "p <= 38");
        check("decimal(4,5)", "s <= p");
        check("u64 u64", "left over");
        check("struct<a: u8, a: u8>", "twice");
        check("bytes(0)", "1 <= n");
        check(
            &format!("{}u8{}", "list<".repeat(40), ">".repeat(40)),
            "nest at most",
        );
    }

    #[test]
    fn widths_follow_the_encoding() {
        let check = |text: &str, width: Option<usize>| {
            let (data_type, nullable) = parse(text).expect("a type");
            assert_eq!(fixed_width(&data_type, nullable), width, "{text}");
        };
        check("struct<n: u64, sum: f64, last: i64>", Some(24));
        check("struct<a: bool, d: decimal(12,2)>", Some(17));
        check("struct<a: bool, s: string>", None);
        check("u8?", None);
        check("bytes(3)", Some(3));
    }
}

use std::fmt;

use arrow_array::RecordBatch;
use proptest::prelude::*;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use wasmill_core::pipeline::{
    FormatKind,
    document::{EncodeJson, TimestampStyle},
};

use super::*;
use crate::format::{Refused, encode::JsonEncoder, testing};

fn format(columns: &[(&str, &str)]) -> Format {
    testing::format(FormatKind::Json, columns)
}

fn decode<T: AsRef<[u8]>>(format: &Format, rows: &[T]) -> Decoded {
    JsonDecoder::new(format)
        .and_then(|mut decoder| decoder.decode(&testing::chunk(rows)))
        .expect("good columns")
}

/// The rows as JSON again.
fn lines(rows: &RecordBatch) -> Vec<String> {
    let mut out = Vec::new();
    JsonEncoder::new(&rows.schema(), EncodeJson::default())
        .encode(rows, &mut out)
        .expect("known types");
    let text = String::from_utf8(out).expect("JSON is text");
    text.lines().map(Into::into).collect()
}

#[test]
fn refused_rows_leave_no_trace() {
    let columns = format(&[
        ("a", "u8"),
        ("s", "string"),
        ("l", "list<struct<k: i8, t: string>>"),
    ]);
    let rows = [
        r#"{"a":1,"s":"x","l":[]}"#,
        r#"{"a":2,"s":"gone","l":[{"k":1,"t":"gone"},{"k":300}]}"#,
        r#"not json"#,
        r#"{"a":3,"s":"y","l":[{"k":1,"t":"z"}]}"#,
        r#"{"a":4,"s":"gone","l":[]} x"#,
    ];
    let decoded = decode(&columns, &rows);
    assert_eq!(lines(&decoded.rows), [rows[0], rows[3]]);
    assert_eq!(decoded.kept, Some(vec![0, 3]));
    let reasons: Vec<(u32, &str)> = decoded
        .refused
        .iter()
        .map(|r| (r.row, r.reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            (
                1,
                "field `l.[].k` at byte 47: `300` is beyond the range of i8"
            ),
            (2, "`not json` stands at byte 0 where a JSON object belongs"),
            (4, "`x` stands at byte 26 where the end of the row belongs"),
        ]
    );
}

#[test]
fn rows_that_are_not_utf8_are_refused_alone() {
    let columns = format(&[("s", "string?")]);
    let rows: [&[u8]; 3] = [br#"{"s":"a"}"#, b"{\"s\":\"\xFF\"}", b"{\"x\":\"\xC3\"}"];
    let decoded = decode(&columns, &rows);
    assert_eq!(lines(&decoded.rows), [r#"{"s":"a"}"#]);
    assert_eq!(decoded.refused[0].reason, "the row is not UTF-8 at byte 6");
    assert_eq!(decoded.refused.len(), 2);
}

#[test]
fn spans_that_lie_are_refused() {
    let columns = format(&[("s", "string?")]);
    let chunk = Arc::new(Chunk {
        bytes: "é{}".into(),
        spans: vec![(2, 4), (1, 4), (3, 9), (4, 3)],
        ..Chunk::default()
    });
    let mut decoder = JsonDecoder::new(&columns).expect("good columns");
    let decoded = decoder.decode(&chunk).expect("good columns");
    assert_eq!((decoded.kept, decoded.refused.len()), (Some(vec![0]), 3));
}

#[test]
fn columns_that_contradict_each_other_are_an_error() {
    let check = |paths: &[&str], part: &str| {
        let names: Vec<String> = (0..paths.len()).map(|index| format!("c{index}")).collect();
        let columns: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "u8")).collect();
        let mut format = format(&columns);
        for (column, path) in format.columns.iter_mut().zip(paths) {
            column.path = path.split('.').map(Into::into).collect();
        }
        let error = JsonDecoder::new(&format).expect_err("a contradiction");
        assert!(error.to_string().contains(part), "{error}");
    };
    check(&["a", "a"], "column `c1`: the field `a` is already read");
    check(&["a.b", "a"], "field `a` is already");
    check(&["a", "a.b"], "field `a` is already");
    let mut wrong = format(&[("a", "u8")]);
    wrong.columns[0].default = Some(300.into());
    let error = JsonDecoder::new(&wrong).expect_err("no u8").to_string();
    assert!(
        error.contains("column `a`: its default does not fit"),
        "{error}"
    );
    let mut zone = format(&[("a", "u8")]);
    zone.zone = Some("Mars/Base".into());
    assert!(JsonDecoder::new(&zone).is_err());
}

/// A JSON value whose objects keep their duplicates.
#[derive(Debug)]
enum Tree {
    Object(Vec<(String, Tree)>),
    Number(serde_json::Number),
    Other(Value),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Other(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree, E> {
        let number = serde_json::Number::from_f64(value);
        number
            .map(Tree::Number)
            .ok_or_else(|| de::Error::custom("no float"))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Other(Value::Null))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Other(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        while items.next_element::<Tree>()?.is_some() {}
        Ok(Tree::Other(Value::Array(Vec::new())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, value)) = members.next_entry::<String, Tree>()? {
            // Numbers of any precision come as an object of this one member.
            if let ("$serde_json::private::Number", Tree::Other(Value::String(text))) =
                (key.as_str(), &value)
            {
                return text.parse().map(Tree::Number).map_err(de::Error::custom);
            }
            pairs.push((key, value));
        }
        Ok(Tree::Object(pairs))
    }
}

/// What serde_json says of a row with the columns of [`oracle_format`]: each field must fit, the
/// last counts.
fn oracle(row: &[u8]) -> Option<String> {
    let Tree::Object(record) = serde_json::from_slice(row).ok()? else {
        return None;
    };
    let mut out = Map::new();
    for name in ["u", "i", "s", "f", "b", "k"] {
        out.insert(name.into(), Value::Null);
    }
    for (key, value) in record {
        match (key.as_str(), value) {
            ("i" | "f" | "b", Tree::Other(Value::Null)) => out.insert(key, Value::Null),
            ("u", Tree::Number(number)) => out.insert(key, whole(&number)?.as_u64()?.into()),
            ("i", Tree::Number(number)) => out.insert(key, whole(&number)?.as_i64()?.into()),
            ("f", Tree::Number(number)) => {
                out.insert(key, number.as_f64().filter(|f| f.is_finite())?.into())
            }
            ("s", Tree::Other(Value::String(text))) => out.insert(key, text.into()),
            ("b", Tree::Other(Value::Bool(value))) => out.insert(key, value.into()),
            ("o", Tree::Other(Value::Null)) => out.insert("k".into(), Value::Null),
            ("o", Tree::Object(inner)) => {
                out.insert("k".into(), Value::Null);
                for (_, value) in inner.into_iter().filter(|(key, _)| key == "k") {
                    match value {
                        Tree::Other(value @ (Value::Null | Value::String(_))) => {
                            out.insert("k".into(), value)
                        }
                        _ => return None,
                    };
                }
                None
            }
            ("u" | "i" | "s" | "f" | "b" | "o", _) => return None,
            _ => None,
        };
    }
    let complete = !out["u"].is_null() && !out["s"].is_null();
    complete.then(|| Value::Object(out).to_string())
}

/// Whole numbers count as integers however they are written: `-0`, `1e3`.
fn whole(number: &serde_json::Number) -> Option<serde_json::Number> {
    if number.is_i64() || number.is_u64() {
        return Some(number.clone());
    }
    let value = number
        .as_f64()
        .filter(|value| value.fract() == 0.0 && value.abs() < 1e15)?;
    Some((value as i64).into())
}

fn oracle_format() -> Format {
    let mut format = format(&[
        ("u", "u64"),
        ("i", "i64?"),
        ("s", "string"),
        ("f", "f64?"),
        ("b", "bool?"),
        ("k", "string?"),
    ]);
    format.columns[5].path = vec!["o".into(), "k".into()];
    format
}

/// Decodes each row by the full path alone, and all in one chunk, and compares: values and reasons.
fn paths_agree<T: AsRef<[u8]> + fmt::Debug>(
    format: &Format,
    rows: &[T],
) -> Result<(), TestCaseError> {
    let together = decode(format, rows);
    let (mut values, mut refused) = (Vec::new(), Vec::new());
    for (index, row) in rows.iter().enumerate() {
        // A new decoder has no template.
        let alone = decode(format, std::slice::from_ref(row));
        values.extend(lines(&alone.rows));
        refused.extend(alone.refused.into_iter().map(|refused| Refused {
            row: index as u32,
            ..refused
        }));
    }
    prop_assert_eq!(lines(&together.rows), values, "{:?}", rows);
    prop_assert_eq!(together.refused, refused, "{:?}", rows);
    Ok(())
}

/// A row, a byte of it, and what that byte becomes.
type Damage = (prop::sample::Index, prop::sample::Index, u8);

/// Decodes the rows in one chunk and compares each with the oracle.
fn agree<T: AsRef<[u8]> + fmt::Debug>(rows: &[T]) -> Result<(), TestCaseError> {
    paths_agree(&oracle_format(), rows)?;
    let decoded = decode(&oracle_format(), rows);
    let mut read = vec![None; rows.len()];
    let kept = decoded
        .kept
        .unwrap_or_else(|| (0..rows.len() as u32).collect());
    for (row, line) in kept.into_iter().zip(lines(&decoded.rows)) {
        read[row as usize] = Some(line);
    }
    for (row, line) in rows.iter().zip(read) {
        let values = |text: &String| serde_json::from_str::<Value>(text).expect("JSON");
        prop_assert_eq!(
            line.as_ref().map(values),
            oracle(row.as_ref()).as_ref().map(values),
            "{:?}",
            row
        );
    }
    Ok(())
}

#[test]
fn the_oracle_agrees_on_corner_cases() {
    let good = r#"{"u":1,"s":"x""#;
    let rows: Vec<String> = [
        "",
        ",",
        "}",
        "} ",
        " }\r",
        ",}",
        ",\"i\":-0}",
        ",\"i\":01}",
        ",\"i\":-}",
        ",\"i\":1",
        ",\"f\":1e400}",
        ",\"f\":-1.5E-3}",
        ",\"f\":1.}",
        ",\"b\":tru}",
        ",\"b\":true}",
        ",\"b\":1}",
        ",\"o\":null}",
        ",\"o\":{}}",
        ",\"o\":{\"k\":\"\\ud83d\\ude00\"}}",
        ",\"o\":{\"k\":\"\\ud83d\"}}",
        ",\"o\":{\"k\":\"\\ude00\"}}",
        ",\"o\":{\"k\":\"\\ud83dx\"}}",
        ",\"o\":{\"k\":\"\\x\"}}",
        ",\"o\":{\"k\":\"\\u12\"}}",
        ",\"o\":5}",
        ",\"o\":{\"k\":null}}",
        ",\"z\":[1,{\"a\":[]},\"\\n\"]}",
        ",\"z\":[1,]}",
        ",\"z\":{\"a\"}}",
        ",\"z\":\"\t\"}",
        ",\"z\":\"\u{7f}\u{80}\"}",
        ",\"\\u0069\":7}",
        ",\"u\":2}",
        ",\"s\":3}",
        ",\"o\":{\"k\":\"a\"},\"o\":{}}",
        ",\"o\":{\"k\":1},\"o\":null}",
        ",\"u\":18446744073709551615}",
        ",\"u\":18446744073709551616}",
        ",\"i\":-9223372036854775808}",
        ",\"i\":9223372036854775808}",
        ",\"u\":-1}",
        ",\"u\":null}",
    ]
    .iter()
    .map(|rest| format!("{good}{rest}"))
    .chain(["[]", "{}", "null", "", "{\"u\":1}", "\"x\"", "{{}", "{}}"].map(String::from))
    .collect();
    agree(&rows).expect("the decoder and serde_json agree");
    for row in &rows {
        agree(&[row]).expect("the decoder and serde_json agree");
    }
}

/// A record whose fields come in a few layouts, so that the next record's is often the last one's.
fn record() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<u64>().prop_map(|n| n.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        (0_u64..1000).prop_map(|n| n.to_string()),
        Just("007".into()),
        Just("1x".into()),
    ];
    let float = prop_oneof![
        any::<f64>().prop_map(|f| serde_json::to_string(&f).expect("a number")),
        (any::<i32>(), 0_u32..100_000).prop_map(|(a, b)| format!("{a}.{b}")),
        "-?[0-9]{1,20}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
    ];
    let text = prop_oneof![
        "[a-z]{0,12}".prop_map(|s| format!("\"{s}\"")),
        any::<String>().prop_map(|s| Value::from(s).to_string()),
        Just("\"\\u00e9\\/\"".into()),
        Just("\"open".into()),
        Just("5".into()),
    ];
    let flag = prop_oneof![Just("true"), Just("false"), Just("null"), Just("nul")];
    let values = (
        0..8_usize,
        number.clone(),
        number,
        text.clone(),
        float,
        text,
        flag,
    );
    values.prop_map(|(layout, u, i, s, f, k, b)| match layout {
        0..=2 => {
            format!("{{\"u\":{u},\"i\":{i},\"s\":{s},\"f\":{f},\"b\":{b},\"o\":{{\"k\":{k}}}}}")
        }
        3 => format!(
            "{{ \"o\": {{ \"x\": [1, {k}], \"k\": {k} }}, \"s\": {s}, \"u\": {u}, \"more\": {f} }} "
        ),
        4 => format!("{{\"s\":{s},\"u\":{u}}}"),
        5 => format!("{{\"u\":{u},\"s\":{s},\"u\":{i},\"o\":{{\"k\":{k}}},\"o\":{b}}}"),
        6 => format!("{{\"u\":{u},\"i\":null,\"s\":{s},\"b\":{b},\"deep\":{{\"u\":[{f}]}}}}"),
        _ => format!("{{\"u\":{u} ,\"s\":{s},\"f\":{f}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_oracle_agrees_on_records(rows in prop::collection::vec(record(), 1..12)) {
        // A row is a line: proptest's strings may hold line ends only as escapes.
        agree(&rows)?;
    }

    #[test]
    fn the_oracle_agrees_on_damaged_records(
        rows in prop::collection::vec(record(), 1..6),
        damage in prop::collection::vec(any::<Damage>(), 0..4),
    ) {
        let mut rows: Vec<Vec<u8>> = rows.into_iter().map(String::into_bytes).collect();
        for (row, at, byte) in damage {
            let row = row.get_mut(&mut rows);
            let at = at.index(row.len());
            row[at] = byte;
        }
        agree(&rows)?;
    }
}

/// Records of every type, in layouts that repeat, with values that the fast path reads and others.
fn typed_record() -> impl Strategy<Value = String> {
    let decimal = prop_oneof![
        "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,3})?",
        "\"?[0-9]{1,12}\"?",
        "-?[0-9]{1,3}[eE]-?[0-9]",
        Just("null".into()),
    ];
    let time = prop_oneof![
        "\"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,7})?(Z|\\+05:30|)\"",
        "[0-9]{1,19}",
    ];
    let millis = prop_oneof![
        "-?[0-9]{1,13}(\\.[0-9]{1,4})?",
        "\"[0-9]{1,13}\"",
        Just("1e3".into())
    ];
    let int = prop_oneof!["-?[0-9]{1,4}", "[0-9]{1,2}(\\.0)?", Just("null".into())];
    let float = prop_oneof![
        "-?[0-9]{1,8}\\.[0-9]{1,9}",
        "[0-9]{1,20}",
        "\"NaN\"",
        Just("1e39".into())
    ];
    let list = prop_oneof![
        Just("[]".into()),
        "\\[[0-9]{1,3}, null\\]",
        Just("null".into()),
        Just("[1,".into())
    ];
    let inner = prop_oneof![
        "\\{\"a\":[0-9]{1,3}\\}",
        Just("null".into()),
        Just("{}".into()),
        Just("{\"a\":1,\"b\":{}}".into())
    ];
    (0..5, decimal, time, millis, int, float, (list, inner)).prop_map(
        |(layout, m, t, e, i, f, (l, r))| match layout {
            0 | 1 => {
                format!("{{\"m\":{m},\"t\":{t},\"e\":{e},\"i\":{i},\"f\":{f},\"l\":{l},\"r\":{r}}}")
            }
            2 => format!("{{\"m\": {m}, \"t\": {t}, \"x\": {e}, \"i\": {i}}}"),
            3 => format!("{{\"r\":{{\"a\":7,\"z\":[{r}]}},\"t\":{t},\"m\":{m}}}"),
            _ => format!("{{\"f\":{f},\"t\":{t},\"m\":{m},\"m\":{m}}}"),
        },
    )
}

fn typed_format() -> Format {
    let mut format = format(&[
        ("m", "decimal(9,2)?"),
        ("t", "timestamp"),
        ("e", "timestamp?"),
        ("i", "i8?"),
        ("f", "f32?"),
        ("l", "list<u8?>?"),
        ("r", "struct<a: u8>?"),
    ]);
    format.columns[2].timestamp = Some(TimestampStyle::Milliseconds);
    format.columns[3].default = Some(42.into());
    format
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_paths_agree_on_every_type(
        rows in prop::collection::vec(typed_record(), 1..40),
        damage in prop::collection::vec(any::<Damage>(), 0..3),
    ) {
        let mut rows: Vec<Vec<u8>> = rows.into_iter().map(String::into_bytes).collect();
        for (row, at, byte) in damage {
            let row = row.get_mut(&mut rows);
            let at = at.index(row.len());
            row[at] = byte;
        }
        paths_agree(&typed_format(), &rows)?;
    }
}

#[test]
fn records_of_the_usual_layout_follow_the_template() {
    let format = format(&[("u", "u64"), ("s", "string"), ("k", "f64?")]);
    let mut decoder = JsonDecoder::new(&format).expect("good columns");
    let rows: Vec<String> = (0..100)
        .map(|n| match n % 3 {
            0 => format!("{{\"u\":{n},\"s\":\"x\",\"k\":0.5}}"),
            1 => format!("{{\"u\": {n}, \"s\": \"a\\nb\", \"more\": {{}}}} "),
            _ => format!("{{\"s\":\"\",\"k\":null,\"u\":{n}}}"),
        })
        .collect();
    let mut full = 0;
    for (index, row) in rows.iter().enumerate() {
        let mut reader = Reader::new(
            row.as_bytes(),
            &decoder.layout,
            &mut decoder.columns,
            &mut decoder.seen,
            &decoder.policy,
        );
        if !decoder.templates.follow(&mut reader, index) {
            full += 1;
            reader.record().expect("it fits");
            decoder.templates.learn(&decoder.layout, row.as_bytes());
        }
    }
    assert_eq!(full, 3, "each layout is learnt once");
}

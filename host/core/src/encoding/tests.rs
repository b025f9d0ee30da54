use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::data_type::parse;

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

fn vectors() -> Value {
    let text = include_str!("../../../../docs/formats/vectors/state.json");
    serde_json::from_str(text).expect("the vectors are JSON")
}

/// Encodes a value by way of Arrow.
fn through_arrow(data_type: &DataType, nullable: bool, bytes: &[u8]) -> Vec<u8> {
    let array = decode(data_type, nullable, [Some(bytes)]).expect("valid bytes decode");
    array.to_data().validate_full().expect("valid arrow");
    let mut again = Vec::new();
    let encoder = Encoder::new(&array, nullable, Form::State).expect("an encodable type");
    encoder.push(0, &mut again);
    again
}

#[test]
fn golden_values_have_golden_bytes() {
    for case in vectors()["values"].as_array().expect("values") {
        let (data_type, nullable) = parse(case["type"].as_str().expect("text")).expect("a type");
        let bytes = unhex(case["bytes"].as_str().expect("hex"));
        assert_eq!(validate(&data_type, nullable, &bytes), Ok(()), "{case}");
        assert_eq!(
            to_json(&data_type, nullable, &bytes).as_ref(),
            Ok(&case["json"]),
            "{case}"
        );
        assert_eq!(
            from_json(&data_type, nullable, &case["json"]).as_ref(),
            Ok(&bytes),
            "{case}"
        );
        assert_eq!(through_arrow(&data_type, nullable, &bytes), bytes, "{case}");
    }
}

#[test]
fn golden_bad_bytes_are_refused() {
    for case in vectors()["refused"].as_array().expect("refused") {
        let (data_type, nullable) = parse(case["type"].as_str().expect("text")).expect("a type");
        let bytes = unhex(case["bytes"].as_str().expect("hex"));
        let error = validate(&data_type, nullable, &bytes).expect_err(&case.to_string());
        let part = case["error"].as_str().expect("text");
        assert!(
            error.to_string().contains(part),
            "{error} does not say `{part}`"
        );
        assert_eq!(to_json(&data_type, nullable, &bytes), Err(error.clone()));
        assert_eq!(
            decode(&data_type, nullable, [Some(&bytes[..])]).err(),
            Some(error)
        );
    }
}

#[test]
fn wrong_json_names_the_place_and_the_type() {
    let check = |type_text: &str, json: &str, message: &str| {
        let (data_type, nullable) = parse(type_text).expect("a type");
        let value: Value = serde_json::from_str(json).expect("JSON");
        let error = from_json(&data_type, nullable, &value).expect_err(json);
        assert_eq!(error.to_string(), message);
    };
    check("u8", "256", "`256` is not a value of type `u8`");
    check(
        "decimal(4,2)",
        "\"1.234\"",
        "`\"1.234\"` is not a value of type `decimal(4,2)`, such as \"12.50\"",
    );
    check(
        "struct<a: list<struct<b: i8>>>",
        r#"{"a": [{"b": 1}, {"b": "x"}]}"#,
        "a[1].b: `\"x\"` is not a value of type `i8`",
    );
    check(
        "struct<a: u8>",
        r#"{"b": 1}"#,
        "`b` is not a field, they are a",
    );
    check(
        "struct<a: u8>",
        "{}",
        "a: `null` is not a value of type `u8`",
    );
    check(
        "bytes(2)",
        "\"00\"",
        "`\"00\"` is not a value of type `bytes(2)`, such as \"00ff\"",
    );
}

#[test]
fn a_value_whose_every_form_is_valid_needs_no_look() {
    let check = |text: &str, width: Option<usize>| {
        let (data_type, nullable) = parse(text).expect("a type");
        assert_eq!(width_if_any_bytes(&data_type, nullable), width, "{text}");
    };
    check("struct<n: u64, sum: f64, last: timestamp>", Some(24));
    check("struct<n: u64, b: bool>", None);
    check("decimal(4,2)", None);
    check("string", None);
    check("u8?", None);
}

const TYPES: [&str; 12] = [
    "bool?",
    "i16",
    "f64?",
    "decimal(5,2)",
    "date",
    "timestamp",
    "string",
    "bytes(3)?",
    "list<string?>",
    "struct<a: u8?, b: list<list<i32>>?>?",
    "list<struct<a: bool, b: bytes>?>?",
    "struct<n: u64, sum: f64>",
];

proptest! {
    /// Hostile bytes: no panic, and the three readers agree.
    #[test]
    fn readers_agree_on_any_bytes(
        which in 0..TYPES.len(),
        bytes in prop::collection::vec(prop_oneof![3 => 0..4_u8, 1 => any::<u8>()], 0..60),
    ) {
        let (data_type, nullable) = parse(TYPES[which]).expect("a type");
        let judged = validate(&data_type, nullable, &bytes);
        prop_assert_eq!(to_json(&data_type, nullable, &bytes).err(), judged.clone().err());
        let decoded = decode(&data_type, nullable, [Some(&bytes[..])]);
        prop_assert_eq!(decoded.err(), judged.clone().err());
        if judged.is_ok() {
            let again = through_arrow(&data_type, nullable, &bytes);
            let json = to_json(&data_type, nullable, &bytes).expect("they are valid");
            prop_assert_eq!(from_json(&data_type, nullable, &json), Ok(again));
        }
    }

    #[test]
    fn several_values_become_one_column(
        numbers in prop::collection::vec(any::<Option<i64>>(), 0..20),
    ) {
        let bytes: Vec<_> = numbers.iter().map(|number| number.map(i64::to_le_bytes)).collect();
        let plain = decode(&DataType::Int64, false, bytes.iter().flatten().map(|b| Some(&b[..])));
        prop_assert_eq!(plain.expect("valid").len(), numbers.iter().flatten().count());
        let tagged: Vec<Vec<u8>> = numbers.iter().map(|number| match number {
            None => vec![0],
            Some(number) => [&[1][..], &number.to_le_bytes()].concat(),
        }).collect();
        let tagged = tagged.iter().map(|bytes| Some(&bytes[..]));
        let column = decode(&DataType::Int64, true, tagged).expect("valid");
        let expected = arrow_array::Int64Array::from(numbers);
        prop_assert_eq!(column.as_ref(), &expected as &dyn arrow_array::Array);
    }
}

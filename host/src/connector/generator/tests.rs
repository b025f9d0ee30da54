use arrow_array::{
    cast::AsArray,
    types::{Decimal128Type, Float64Type, UInt64Type},
};
use arrow_schema::Field;
use proptest::prelude::*;
use wasmill_core::{
    data_type,
    pipeline::{Counter, EncodeSpec},
};

use super::{counter::Remainder, *};
use crate::format::encode::Encoder;

fn column(name: &str, ty: &str, value: GeneratorValue) -> GeneratorColumn {
    let field: Field = data_type::parse_field(name, ty).expect("a type");
    GeneratorColumn { field, value }
}

fn generator(splits: u32, records: Option<u64>) -> Generator {
    let text = vec![
        TextPart::Literal("{\"k\":".into()),
        TextPart::Number(Counter::Mod(3)),
        TextPart::Literal("}".into()),
    ];
    let columns = vec![
        column("i", "u64", GeneratorValue::Number(Counter::Sequence, 1.0)),
        column(
            "key",
            "u64",
            GeneratorValue::Number(Counter::HashMod(10_000), 1.0),
        ),
        column(
            "amount",
            "f64",
            GeneratorValue::Number(Counter::Mod(1000), 0.25),
        ),
        column(
            "money",
            "decimal(12,2)",
            GeneratorValue::Number(Counter::Mod(7), 1.0),
        ),
        column(
            "small",
            "u8",
            GeneratorValue::Number(Counter::Sequence, 1.0),
        ),
        column(
            "at",
            "timestamp",
            GeneratorValue::Time {
                start_us: 1_000_000,
                step_us: 500,
            },
        ),
        column("text", "string", GeneratorValue::Text(text)),
        column("word", "string", GeneratorValue::Constant("card".into())),
        column(
            "rate",
            "decimal(5,3)",
            GeneratorValue::Constant(serde_json::json!(1.5)),
        ),
    ];
    Generator::new(&pipeline::Generator {
        records,
        rate: None,
        splits,
        seed: 42,
        columns,
    })
    .expect("good columns")
}

fn json(rows: &RecordBatch) -> String {
    let mut out = Vec::new();
    Encoder::new(&rows.schema(), &EncodeSpec::Json(Default::default()))
        .encode(rows, &mut out)
        .expect("known types");
    String::from_utf8(out).expect("JSON is text")
}

#[test]
fn every_kind_of_column_is_computed() {
    let rows = generator(2, None).batch(1, 128, 1).expect("rows");
    let hash = 299_u64.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 10_000;
    let expected = format!(
        "{{\"i\":257,\"key\":{hash},\"amount\":64.25,\"money\":0.05,\"small\":1,\
         \"at\":\"1970-01-01T00:00:01.128500Z\",\"text\":\"{{\\\"k\\\":2}}\",\"word\":\"card\",\"rate\":1.500}}\n"
    );
    assert_eq!(json(&rows), expected);
}

#[test]
fn a_stretch_does_not_depend_on_where_it_is_cut() {
    let generator = generator(3, None);
    let whole = generator.batch(2, 0, 100).expect("rows");
    for cut in [0, 1, 50, 99] {
        let part = generator.batch(2, cut as u64, 100 - cut).expect("rows");
        assert_eq!(part, whole.slice(cut, 100 - cut));
    }
    let keys = whole.column(1).as_primitive::<UInt64Type>();
    let amounts = whole.column(2).as_primitive::<Float64Type>();
    let money = whole.column(3).as_primitive::<Decimal128Type>();
    for k in 0..100 {
        let i = 2 + 3 * k as u64;
        assert_eq!(keys.value(k), Counter::HashMod(10_000).at(i, 42));
        assert_eq!(amounts.value(k), (i % 1000) as f64 * 0.25);
        assert_eq!(money.value(k), i128::from(i % 7));
    }
}

#[test]
fn splits_share_the_rows() {
    let generator = generator(3, Some(10));
    let rows: Vec<_> = (0..3).map(|split| generator.split_rows(split)).collect();
    assert_eq!(rows, [Some(4), Some(3), Some(3)]);
    assert_eq!(self::generator(3, Some(1)).split_rows(2), Some(0));
}

#[test]
fn text_can_be_read_by_a_decoder() {
    let chunk = generator(1, None).text_chunk(0, 4, 3);
    assert_eq!(&chunk.bytes[..], b"{\"k\":1}\n{\"k\":2}\n{\"k\":0}\n");
    assert_eq!(
        (chunk.first_offset, chunk.row(2)),
        (4, Some("{\"k\":0}".into()))
    );
    assert_eq!(&*chunk.split_name, "generator-0");
}

#[test]
fn a_constant_that_does_not_fit_is_an_error() {
    let spec = pipeline::Generator {
        records: None,
        rate: None,
        splits: 1,
        seed: 0,
        columns: vec![column("k", "u8", GeneratorValue::Constant(300.into()))],
    };
    let error = Generator::new(&spec).expect_err("300 is no u8").to_string();
    assert!(
        error.contains("column `k`") && error.contains("300"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn remainders_are_exact(value: u64, n in prop_oneof![1..100_u64, 1..=u64::MAX]) {
        prop_assert_eq!(Remainder::new(n).of(value), value % n);
        prop_assert_eq!(Remainder::new(n).of(u64::MAX), u64::MAX % n);
        prop_assert_eq!(Remainder::new(n).of(n), 0);
        prop_assert_eq!(Remainder::new(n).of(n - 1), n - 1);
    }
}

use std::sync::Arc;

use wasmill_core::{
    batch::Batch,
    key::Keys,
    lineage::{Ancestor, Cause, Chunk, Derived, Lineage, WindowRows},
    pipeline::document::{EncodeCsv, EncodeJson, EngineColumn},
};

use super::*;
use crate::format::testing;

fn encoded(rows: &RecordBatch, spec: &EncodeSpec) -> String {
    let mut out = Vec::new();
    let encoder = Encoder::new(&rows.schema(), spec);
    encoder.start(&mut out);
    encoder.encode(rows, &mut out).expect("known types");
    String::from_utf8(out).expect("only text is written")
}

const EVERY_TYPE: [(&str, &str); 14] = [
    ("b", "bool"),
    ("i", "i64"),
    ("u", "u64"),
    ("s", "i8?"),
    ("f", "f64"),
    ("g", "f32"),
    ("m", "decimal(12,2)"),
    ("d", "date"),
    ("t", "timestamp"),
    ("x", "string"),
    ("o", "bytes"),
    ("p", "bytes(2)"),
    ("l", "list<i32?>"),
    ("r", "struct<a: u8, z: struct<k: string>?>"),
];

const LINES: &str = concat!(
    r#"{"b":true,"i":-9223372036854775808,"u":18446744073709551615,"s":null,"f":0.1,"g":1.5,"#,
    r#""m":-0.05,"d":"2024-02-29","t":"2026-01-31T09:30:00.000001Z","x":"a\"\\\n\u0001é","#,
    r#""o":"AAE=","p":"//8=","l":[1,null,3],"r":{"a":1,"z":{"k":"v"}}}"#,
    "\n",
    r#"{"b":false,"i":0,"u":0,"s":-1,"f":"NaN","g":"-Infinity","m":100.00,"d":"1969-12-31","#,
    r#""t":"1969-12-31T23:59:59.999999Z","x":"","o":"","p":"AAA=","l":[],"#,
    r#""r":{"a":2,"z":null}}"#,
    "\n",
);

#[test]
fn json_reads_back_the_same() {
    let rows = testing::json_rows(&EVERY_TYPE, LINES);
    assert_eq!(
        encoded(&rows, &EncodeSpec::Json(EncodeJson::default())),
        LINES
    );
}

#[test]
fn csv_quotes_what_needs_it() {
    let columns = [
        ("a,b", "string?"),
        ("t", "timestamp?"),
        ("l", "list<u8>"),
        ("n", "f64?"),
    ];
    let text = concat!(
        r#"{"a,b":"x","t":"1970-01-01T00:00:00Z","l":[1,2],"n":1}"#,
        "\n",
        r#"{"a,b":"say \"hi\"\nbye","t":null,"l":[],"n":"NaN"}"#,
        "\n",
        r#"{"a,b":"","l":[],"n":null}"#,
        "\n",
        r#"{"a,b":null,"l":[]}"#,
        "\n",
    );
    let rows = testing::json_rows(&columns, text);
    let expected = concat!(
        "\"a,b\",t,l,n\n",
        "x,1970-01-01T00:00:00.000000Z,\"[1,2]\",1.0\n",
        "\"say \"\"hi\"\"\nbye\",,[],NaN\n",
        "\"\",,[],\n",
        ",,[],\n",
    );
    assert_eq!(
        encoded(&rows, &EncodeSpec::Csv(EncodeCsv::default())),
        expected
    );
    let single = testing::json_rows(&[("s", "string?")], "{\"s\":null}\n{\"s\":\"\"}");
    let csv = encoded(&single, &EncodeSpec::Csv(EncodeCsv::default()));
    assert_eq!(csv, "s\n\"\"\n\"\"\n");
}

#[test]
fn metadata_lead_back_to_the_source() {
    let rows = testing::json_rows(&[("n", "i64")], "{\"n\":1}\n{\"n\":2}\n");
    let chunk = Chunk {
        split: 2,
        split_name: "in.jsonl".into(),
        first_offset: 40,
        ..Chunk::default()
    };
    let source = Batch {
        times: Some(vec![0, 1].into()),
        ..Batch::new(rows, Lineage::whole(Ancestor::Chunk(Arc::new(chunk)), 2))
    };
    let include: Vec<(String, EngineColumn)> = [
        ("time", EngineColumn::EventTime),
        ("split", EngineColumn::Split),
        ("offset", EngineColumn::Offset),
        ("operator", EngineColumn::Operator),
        ("plugin", EngineColumn::Plugin),
        ("id", EngineColumn::RowId),
    ]
    .map(|(name, column)| (name.to_string(), column))
    .into();
    let metadata = Metadata::new(&source.rows.schema(), &include, "fraud");
    let check = |batch: &Batch, expected: &str| {
        let rows = metadata.extend(batch).expect("the columns fit");
        assert_eq!(rows.schema(), *metadata.schema());
        let text = encoded(&rows, &EncodeSpec::Json(EncodeJson::default()));
        assert_eq!(text.trim_end(), expected);
    };
    check(
        &source.slice(1, 1),
        concat!(
            r#"{"n":2,"time":"1970-01-01T00:00:00.000001Z","split":"in.jsonl","offset":41,"#,
            r#""operator":null,"plugin":null,"id":"fraud/2:41"}"#
        ),
    );
    let derived = Derived {
        operator: "rules".into(),
        plugin: "abc".into(),
        parent: source.lineage.clone(),
        causes: vec![Cause::Row { row: 1, ordinal: 3 }],
    };
    let lineage = Lineage::whole(Ancestor::Derived(Arc::new(derived)), 1);
    check(
        &Batch::new(source.rows.slice(0, 1), lineage),
        concat!(
            r#"{"n":1,"time":null,"split":"in.jsonl","offset":41,"#,
            r#""operator":"rules","plugin":"abc","id":"fraud/2:41/rules.3"}"#
        ),
    );
    let windows = WindowRows {
        operator: "per-minute".into(),
        keys: Keys::Words(vec![258].into()),
        starts: vec![-60],
        ends: vec![0],
        ordinals: vec![2],
    };
    let lineage = Lineage::whole(Ancestor::Windows(Arc::new(windows)), 1);
    check(
        &Batch::new(source.rows.slice(0, 1), lineage),
        concat!(
            r#"{"n":1,"time":null,"split":null,"offset":null,"#,
            r#""operator":"per-minute","plugin":null,"id":"fraud/0201000000000000@-60..0/per-minute.2"}"#
        ),
    );
}

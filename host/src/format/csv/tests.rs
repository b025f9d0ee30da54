use arrow_array::{RecordBatch, cast::AsArray, types::UInt64Type};
use proptest::prelude::*;
use wasmill_core::pipeline::{
    EncodeSpec, FormatKind,
    document::{Csv, EncodeCsv},
};

use super::*;
use crate::format::{encode::Encoder, framing::Framing, testing};

/// Decodes a whole CSV text as a reader would cut it.
fn decode(format: &Format, text: &str) -> Decoded {
    let framing = Framing::of(format);
    let mut spans = Vec::new();
    framing.cut(text.as_bytes(), true, &mut spans);
    let mut header = Bytes::new();
    if framing.has_header() {
        let (start, end) = spans.remove(0);
        header = text[start as usize..end as usize].to_string().into();
    }
    let chunk = Chunk {
        bytes: text.to_string().into(),
        spans,
        header,
        ..Chunk::default()
    };
    CsvDecoder::new(format)
        .and_then(|mut decoder| decoder.decode(&Arc::new(chunk)))
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
fn rows_of_a_topic_follow_the_declaration_also_behind_files() {
    let format = testing::format(FormatKind::Csv, &[("n", "u64"), ("s", "string")]);
    let mut decoder = CsvDecoder::new(&format).expect("good columns");
    for (header, row) in [("", "1,a"), ("s,n", "b,2"), ("", "3,c"), ("n,s", "4,d")] {
        let chunk = Chunk {
            bytes: row.to_owned().into(),
            spans: vec![(0, row.len() as u32)],
            header: header.to_owned().into(),
            ..Chunk::default()
        };
        let decoded = decoder.decode(&Arc::new(chunk)).expect("good columns");
        let number = decoded.rows.column(0).as_primitive::<UInt64Type>().value(0);
        let letter = decoded.rows.column(1).as_string::<i32>().value(0);
        assert!(row == format!("{number},{letter}") || row == format!("{letter},{number}"));
    }
    let chunk = Chunk {
        bytes: "1".to_owned().into(),
        spans: vec![(0, 1)],
        ..Chunk::default()
    };
    let decoded = decoder.decode(&Arc::new(chunk)).expect("good columns");
    let reason = &decoded.refused[0].reason;
    assert_eq!(reason, "the record has 1 fields, and the declaration 2");
}

#[test]
fn columns_follow_the_header() {
    let format = testing::format(
        FormatKind::Csv,
        &[("n", "u64"), ("s", "string?"), ("m", "decimal(5,2)")],
    );
    let decoded = decode(
        &format,
        "s,other,m, n\n\"a,\"\"b\"\"\nc\",x,+1.5,7\n,y,.25, 08 \r\n\"\",z,1.005,1\n",
    );
    assert_eq!(
        json(&decoded.rows),
        "{\"n\":7,\"s\":\"a,\\\"b\\\"\\nc\",\"m\":1.50}\n{\"n\":8,\"s\":null,\"m\":0.25}\n"
    );
    assert_eq!(decoded.kept, Some(vec![0, 1]));
    assert_eq!(
        decoded.refused[0].reason,
        "column `m` at byte 5: `1.005` has more than 2 places: declare more, or `round-decimals: true`"
    );
}

#[test]
fn quoted_text_is_never_null() {
    let format = testing::format(
        FormatKind::Csv,
        &[("a", "string?"), ("b", "string"), ("c", "u8?")],
    );
    let decoded = decode(&format, "a,b,c\n,,\n\"\",\"\",1\n");
    assert_eq!(
        json(&decoded.rows),
        "{\"a\":null,\"b\":\"\",\"c\":null}\n{\"a\":\"\",\"b\":\"\",\"c\":1}\n"
    );
}

#[test]
fn records_that_do_not_fit_say_why() {
    let mut format = testing::format(FormatKind::Csv, &[("a", "u8"), ("b", "bool")]);
    let check = |format: &Format, text: &str, reason: &str| {
        let decoded = decode(format, text);
        assert_eq!(decoded.rows.num_rows(), 0, "{text}");
        assert!(
            decoded.refused[0].reason.contains(reason),
            "{}",
            decoded.refused[0].reason
        );
    };
    check(&format, "a,b\n1\n", "has 1 fields, and the header 2");
    check(&format, "a,b\n1,true,2\n", "has 3 fields, and the header 2");
    check(&format, "a\n1\n", "column `b` is not in the header");
    check(
        &format,
        "a,b\n256,true\n",
        "`256` is beyond the range of u8",
    );
    check(&format, "a,b\n,true\n", "means null");
    check(&format, "a,b\n1,yes\n", "`yes` is not true or false");
    check(
        &format,
        "a,b\n1,\"tr\"ue\n",
        "behind the closing quote at byte 6",
    );
    check(
        &format,
        "a,b\n1,\"true\n",
        "the quote at byte 2 is never closed",
    );
    format.csv.header = false;
    check(&format, "1\n", "has 1 fields, and the declaration 2");
}

#[test]
fn options_change_the_reading() {
    let mut format = testing::format(FormatKind::Csv, &[("a", "u8?"), ("b", "string")]);
    format.csv = Csv {
        delimiter: ";".into(),
        header: false,
        null: "-".into(),
    };
    format.columns[1].default = Some("none".into());
    let decoded = decode(&format, "1;x,y\n-;-\n");
    assert_eq!(
        json(&decoded.rows),
        "{\"a\":1,\"b\":\"x,y\"}\n{\"a\":null,\"b\":\"none\"}\n"
    );
    format.columns[0].default = Some(300.into());
    let error = CsvDecoder::new(&format)
        .expect_err("300 is no u8")
        .to_string();
    assert!(
        error.contains("column `a`: its default does not fit"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        rows in prop::collection::vec(any::<(Option<String>, i64, String)>(), 0..20),
    ) {
        let line = |(a, n, b): &_| serde_json::json!({"a": a, "n": n, "b": b}).to_string();
        let lines: Vec<String> = rows.iter().map(line).collect();
        let columns = [("a", "string?"), ("n", "i64"), ("b", "string")];
        let batch = testing::json_rows(&columns, &lines.join("\n"));
        let encoder = Encoder::new(&batch.schema(), &EncodeSpec::Csv(EncodeCsv::default()));
        let mut out = Vec::new();
        encoder.start(&mut out);
        encoder.encode(&batch, &mut out).expect("known types");
        let text = String::from_utf8(out).expect("text");
        let decoded = decode(&testing::format(FormatKind::Csv, &columns), &text);
        prop_assert_eq!(&decoded.refused, &[]);
        prop_assert_eq!(decoded.rows, batch);
    }
}

use wasmill_core::{
    lineage::{Ancestor, Lineage},
    pipeline::document::{EncodeCsv, EncodeJson},
};

use super::*;
use crate::format::testing;

/// Rows of two columns.
fn batch(text: &str) -> Batch {
    let rows = testing::json_rows(&[("n", "u64"), ("s", "string?")], text);
    let len = rows.num_rows();
    Batch::new(
        rows,
        Lineage::whole(Ancestor::Chunk(Default::default()), len),
    )
}

#[test]
fn a_file_holds_every_row_once_it_is_flushed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("new/folder/out");
    let rows = batch("{\"n\":1,\"s\":\"a\"}\n{\"n\":2,\"s\":null}");
    let check = |format: &EncodeSpec, expected: &str| {
        let metadata = Metadata::new(&rows.rows.schema(), &[], "job");
        let mut sink =
            TextSink::file(&path, (format, false), metadata).expect("the file can be made");
        sink.write(&rows).expect("written");
        sink.write(&rows.slice(1, 1)).expect("written");
        sink.close().expect("written");
        let text = std::fs::read_to_string(&path).expect("the file is there");
        assert_eq!(text, expected);
    };
    check(
        &EncodeSpec::Json(EncodeJson::default()),
        "{\"n\":1,\"s\":\"a\"}\n{\"n\":2,\"s\":null}\n{\"n\":2,\"s\":null}\n",
    );
    check(&EncodeSpec::Csv(EncodeCsv::default()), "n,s\n1,a\n2,\n2,\n");
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let metadata = Metadata::new(&batch("").rows.schema(), &[], "job");
    let format = EncodeSpec::Json(EncodeJson::default());
    let error = TextSink::file(folder.path(), (&format, false), metadata)
        .err()
        .expect("a folder is no file");
    assert!(
        error
            .to_string()
            .contains(&folder.path().display().to_string())
    );
}

#[test]
fn a_plain_file_keeps_its_old_bytes_until_rows_come() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("out");
    std::fs::write(&path, "an old and long content\n").expect("it is ours");
    let open = || {
        let metadata = Metadata::new(&batch("").rows.schema(), &[], "job");
        let format = EncodeSpec::Json(EncodeJson::default());
        TextSink::file(&path, (&format, false), metadata).expect("the file can be opened")
    };
    let text = || std::fs::read_to_string(&path).expect("the file is there");
    drop(open());
    assert_eq!(text(), "an old and long content\n");
    let mut sink = open();
    sink.write(&batch("{\"n\":1,\"s\":\"a\"}"))
        .expect("written");
    sink.close().expect("written");
    assert_eq!(text(), "{\"n\":1,\"s\":\"a\"}\n");
    // One that goes on from a checkpoint comes behind the last whole line.
    std::fs::write(&path, "{\"n\":1}\n{\"n\":").expect("it is ours");
    let metadata = Metadata::new(&batch("").rows.schema(), &[], "job");
    let format = EncodeSpec::Json(EncodeJson::default());
    let mut sink = TextSink::file(&path, (&format, true), metadata).expect("it can be opened");
    sink.write(&batch("{\"n\":2,\"s\":\"b\"}"))
        .expect("written");
    sink.close().expect("written");
    assert_eq!(text(), "{\"n\":1}\n{\"n\":2,\"s\":\"b\"}\n");
    open().close().expect("written");
    assert_eq!(text(), "");
}

use arrow_buffer::ScalarBuffer;
use wasmill_core::{
    batch::op,
    pipeline::document::{EncodeRaw, OneOrMore, TopicColumn},
};

use super::*;
use crate::{
    connector::{ConnectorError, Sink, sink::open},
    format::encode::Metadata,
};

impl Outside {
    fn try_plain(&self, batch: &Batch, delivery: Delivery) -> Result<Box<dyn Sink>, String> {
        let schema = batch.rows.schema();
        let opened = open(&self.sink(delivery), &schema, ("job", false));
        opened.map_err(|error| error.to_string())
    }

    /// Writes rows at once; gives what a reader sees.
    fn written(&self, batch: &Batch) -> Vec<Seen> {
        let mut sink = self
            .try_plain(batch, Delivery::AtLeastOnce)
            .expect("the topic is there");
        sink.write(batch).expect("there is room");
        sink.close().expect("the broker takes them");
        self.seen()
    }

    fn error(&self, batch: &Batch) -> String {
        let mut sink = self
            .try_plain(batch, Delivery::AtLeastOnce)
            .expect("the topic is there");
        let written = sink.write(batch).and_then(|()| sink.settle());
        written.expect_err("it is refused").to_string()
    }
}

#[test]
fn a_record_is_what_its_row_and_the_document_say() {
    let mut outside = Outside::new(3);
    outside.target.key = Some("k".into());
    outside.target.partition = Some("p".into());
    outside.target.timestamp = Some("t".into());
    outside.target.headers = [("kind", "k"), ("Größe", "n"), ("octets", "o")]
        .map(|(name, column)| (name.to_owned(), column.to_owned()))
        .into_iter()
        .collect();
    let columns = [
        ("k", "string?"),
        ("p", "u8?"),
        ("t", "timestamp?"),
        ("n", "i64"),
        ("o", "bytes?"),
    ];
    let mut rows = batch(
        &columns,
        concat!(
            r#"{"k":"a","p":2,"t":"2026-03-01T00:00:00.1239Z","n":-5,"o":"YWI="}"#,
            "\n",
            r#"{"k":null,"p":0,"t":null,"n":1,"o":null}"#,
        ),
    );
    rows.times = Some(ScalarBuffer::from(vec![5_000, 7_000_999]));
    let seen = outside.written(&rows);
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        seen,
        [
            Seen {
                partition: 0,
                key: None,
                value: Some(r#"{"k":null,"p":0,"t":null,"n":1,"o":null}"#.into()),
                headers: vec![header("Größe", "1"), header("wasmill-row-id", "job/0:1")],
                time_ms: Some(7_000),
                offset: 0,
            },
            Seen {
                partition: 2,
                key: Some("a".into()),
                value: Some(
                    r#"{"k":"a","p":2,"t":"2026-03-01T00:00:00.123900Z","n":-5,"o":"YWI="}"#.into()
                ),
                headers: vec![
                    header("kind", "a"),
                    header("Größe", "-5"),
                    header("octets", "ab"),
                    header("wasmill-row-id", "job/0:0"),
                ],
                time_ms: Some(1_772_323_200_123),
                offset: 0,
            },
        ]
    );
}

/// The values are those of Kafka's own test of its hash.
#[test]
fn keys_lie_where_javas_clients_would_put_them() {
    let mut outside = Outside::new(7);
    outside.target.key = Some("k".into());
    let hashes = [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        ("abc", 479_470_107),
    ];
    let rows: Vec<String> = hashes
        .iter()
        .map(|(key, _)| format!("{{\"k\":\"{key}\"}}"))
        .collect();
    let seen = outside.written(&batch(&[("k", "string")], &rows.join("\n")));
    assert_eq!(seen.len(), hashes.len());
    for (key, hash) in hashes {
        let found = seen.iter().find(|seen| seen.key.as_deref() == Some(key));
        let wanted = (hash & i32::MAX) % 7;
        assert_eq!(found.map(|seen| seen.partition), Some(wanted), "{key}");
    }
}

#[test]
fn integers_and_octets_are_keys_too_and_an_empty_one_is_one() {
    let mut outside = Outside::new(1);
    for (data_type, value, key) in [
        ("u64", "18446744073709551615", Some("18446744073709551615")),
        ("i8", "-7", Some("-7")),
        ("bytes", "\"YQ==\"", Some("a")),
        ("string", "\"\"", Some("")),
        ("string?", "null", None),
    ] {
        outside.target.key = Some("k".into());
        let rows = batch(&[("k", data_type)], &format!("{{\"k\":{value}}}"));
        let seen = outside.written(&rows);
        assert_eq!(seen.last().expect("a record").key.as_deref(), key);
    }
}

#[test]
fn each_row_may_say_its_topic() {
    let mut outside = Outside::new(1);
    let (one, other) = (outside.topic.clone(), format!("{}-other", outside.topic));
    outside.make(&other, 1, &[]);
    outside.target.topic = TopicOfRow::Column(TopicColumn {
        column: "to".into(),
    });
    let rows = |to: &str| batch(&[("to", "string")], &format!("{{\"to\":\"{to}\"}}"));
    outside.written(&rows(&one));
    outside.written(&rows(&other));
    assert_eq!(
        (outside.seen().len(), outside.seen_in(&other).len()),
        (1, 1)
    );
    let error = outside.error(&rows("no topic"));
    assert!(error.contains("holds no name of a topic"), "{error}");
    let error = outside.error(&rows(&format!("{one}-missing")));
    assert!(error.contains("there is no topic"), "{error}");
}

#[test]
fn what_no_topic_takes_is_refused_by_name() {
    let mut outside = Outside::new(1);
    outside.target.partition = Some("p".into());
    let rows = |p: i64| batch(&[("p", "i64")], &format!("{{\"p\":{p}}}"));
    let error = outside.error(&rows(1));
    assert!(
        error.contains("does not have; give the topic more"),
        "{error}"
    );
    let error = outside.error(&rows(-1));
    assert!(error.contains("for partition -1"), "{error}");
    outside.target.partition = None;
    let large = format!("{{\"s\":\"{}\"}}", "x".repeat(1_100_000));
    let error = outside.error(&batch(&[("s", "string")], &large));
    assert!(error.contains("raise `message.max.bytes`"), "{error}");
    outside.target.topic = TopicOfRow::Topic(format!("{}-missing", outside.topic));
    let error = outside.try_plain(&rows(0), Delivery::Early).err();
    let error = error.expect("there is no topic");
    assert!(error.contains("make it, or mend its name"), "{error}");
}

#[test]
fn of_a_changelog_the_newest_value_of_a_key_stands() {
    let mut outside = Outside::new(1);
    outside.target.upsert = true;
    outside.target.key = Some("k".into());
    let rows = |ops: Option<Vec<u8>>| {
        let lines: Vec<String> = (0..4)
            .map(|n| format!("{{\"k\":\"a\",\"n\":{n}}}"))
            .collect();
        let mut rows = batch(&[("k", "string?"), ("n", "u8")], &lines.join("\n"));
        rows.ops = ops.map(ScalarBuffer::from);
        rows
    };
    let ops = [op::INSERT, op::UPDATE_BEFORE, op::UPDATE_AFTER, op::DELETE];
    let seen = outside.written(&rows(Some(ops.into())));
    let values: Vec<_> = seen.iter().map(|seen| seen.value.as_deref()).collect();
    let value = |n| format!("{{\"k\":\"a\",\"n\":{n}}}");
    assert_eq!(values, [Some(&*value(0)), Some(&value(2)), None]);
    assert_eq!(outside.written(&rows(None)).len(), 7, "inserts alone");
    let null = batch(&[("k", "string?"), ("n", "u8")], "{\"k\":null,\"n\":1}");
    let error = outside.error(&null);
    assert!(error.contains("a row has no key"), "{error}");
}

#[test]
fn a_column_is_written_as_it_is() {
    let mut outside = Outside::new(1);
    outside.format = EncodeSpec::Raw(EncodeRaw {
        column: OneOrMore::More(vec!["text".into(), "octets".into()]),
    });
    let rows = batch(
        &[("text", "string?"), ("octets", "bytes?")],
        concat!(
            r#"{"text":"{ not\njson","octets":null}"#,
            "\n",
            r#"{"text":null,"octets":"AAE="}"#,
            "\n",
            r#"{"text":null,"octets":null}"#,
        ),
    );
    let values: Vec<_> = outside
        .written(&rows)
        .into_iter()
        .map(|it| it.value)
        .collect();
    let wanted = [Some("{ not\njson"), Some("\0\u{1}"), None];
    assert_eq!(values, wanted.map(|value| value.map(str::to_owned)));
}

#[test]
fn a_csv_record_is_one_record_whatever_stands_in_it() {
    let mut outside = Outside::new(1);
    outside.format = EncodeSpec::Csv(Default::default());
    let rows = batch(
        &[("s", "string")],
        "{\"s\":\"a\\nb\"}\n{\"s\":\"\"}\n{\"s\":\"c\"}",
    );
    outside.written(&rows);
    assert_eq!(outside.values(), ["\"a\nb\"", "\"\"", "c"]);
}

#[test]
fn every_record_is_there_when_a_checkpoint_counts_on_it() {
    let outside = Outside::new(4);
    let lines: Vec<String> = (0..20_000).map(|n| format!("{{\"n\":{n}}}")).collect();
    let rows = batch(&[("n", "u64")], &lines.join("\n"));
    let mut sink = outside.try_plain(&rows, Delivery::Early).expect("a topic");
    sink.write(&rows).expect("there is room");
    sink.flush().expect("it waits for nothing");
    sink.settle().expect("the broker takes them");
    let mut values = outside.values();
    values.sort();
    let mut wanted = lines;
    wanted.sort();
    assert_eq!(values, wanted);
}

#[test]
fn brokers_that_do_not_answer_are_waited_for_and_given_up() {
    let mut outside = Outside::new(1);
    // Nothing listens on port 1.
    outside.target.brokers = Brokers::One("127.0.0.1:1".into());
    outside.target.give_up_after = serde_json::from_str("\"1s\"").ok();
    let rows = batch(&[("n", "u64")], "{\"n\":1}");
    let metadata = Metadata::new(&rows.rows.schema(), &[], "job");
    let target = (&outside.target, &outside.format);
    let sink = outside.sink(Delivery::AtLeastOnce);
    let opened = super::super::KafkaPlain::open(&sink, target, metadata, "job");
    let mut sink = opened.expect("it goes on without them");
    sink.write(&rows).expect("there is room");
    sink.flush().expect("nobody waits");
    let error = sink.settle().expect_err("nobody answers");
    assert!(matches!(error, ConnectorError::GaveUp { .. }), "{error}");
    assert!(error.to_string().contains("nothing is lost"), "{error}");
}

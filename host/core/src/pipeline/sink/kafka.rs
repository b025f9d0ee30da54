//! Topics of Apache Kafka as a sink.

use arrow_schema::{DataType, Field, SchemaRef};

use super::Fits;
use crate::data_type;
use crate::pipeline::build::Builder;
use crate::pipeline::document::{KafkaSink, TopicOfRow};
use crate::tree::Path;

impl Builder<'_> {
    /// Checks a sink into topics, at the path of its kind.
    pub(super) fn kafka_sink(&mut self, path: &Path, sink: &KafkaSink, schema: Option<&SchemaRef>) {
        self.brokers(&path.key("brokers"), &sink.brokers);
        self.client_options(&path.key("options"), &sink.options);
        if let Some(markers) = &sink.markers {
            let path = path.key("markers");
            self.topic(&path, markers);
            if matches!(&sink.topic, TopicOfRow::Topic(topic) if topic == markers) {
                let message = format!("`{markers}` is the topic of the rows");
                self.wrong(
                    &path,
                    &message,
                    Some("choose a topic for the markers alone"),
                );
            }
        }
        match &sink.topic {
            TopicOfRow::Topic(topic) => self.topic(&path.key("topic"), topic),
            TopicOfRow::Column(topic) => {
                let path = path.key("topic").key("column");
                self.column_for(&path, schema, &topic.column, ("a topic", "string", is_text));
            }
        }
        if let Some(key) = &sink.key {
            let wanted = ("a key", "string, bytes or an integer", is_key as Fits);
            self.column_for(&path.key("key"), schema, key, wanted);
        }
        if let Some(partition) = &sink.partition {
            let wanted = ("a partition", "u32 or another integer", is_integer as Fits);
            self.column_for(&path.key("partition"), schema, partition, wanted);
        }
        if let Some(time) = &sink.timestamp {
            let wanted = ("a time", "timestamp", is_time as Fits);
            self.column_for(&path.key("timestamp"), schema, time, wanted);
        }
        for (name, column) in &sink.headers {
            let path = path.key("headers").key(name);
            let wanted = ("a header", "string, bytes or an integer", is_key as Fits);
            self.column_for(&path, schema, column, wanted);
        }
        for name in sink.headers.keys().filter(|name| name.contains('\0')) {
            let message = format!("`{}` has a zero byte", name.escape_debug());
            self.wrong(&path.key("headers"), &message, Some("choose another name"));
        }
        if sink.upsert && sink.key.is_none() {
            let message = "without a key nobody knows which record a row replaces";
            self.wrong(&path.key("upsert"), message, Some("say `key: COLUMN`"));
        }
    }
}

fn is_text(field: &Field) -> bool {
    *field.data_type() == DataType::Utf8 && !field.is_nullable()
}

fn is_integer(field: &Field) -> bool {
    field.data_type().is_integer()
}

fn is_key(field: &Field) -> bool {
    let data_type = field.data_type();
    is_integer(field) || matches!(data_type, DataType::Utf8 | DataType::Binary)
}

fn is_time(field: &Field) -> bool {
    *field.data_type() == data_type::timestamp()
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::pipeline;

    const DOCUMENT: &str = "\
name: test
sources:
  rows:
    file: { path: in.jsonl }
    format: { json: { k: \"string?\", n: u32, t: timestamp, f: f64 } }
    on-error: { dead-letter: letters }
sinks:
  letters:
    kafka:
      brokers: localhost:9092
      topic: letters
      headers: { kind: kind, offset: offset }
    format: { raw: { column: [original, original-bytes] } }
  out:
    input: rows
    include: { id: row-id }
    kafka:
      brokers: [localhost:9092, \"[::1]:9093\"]
      topic: { column: id }
      key: k
      partition: n
      timestamp: t
      headers: { id: id }
      markers: own
    format: { raw: { column: k } }
";

    #[test]
    fn a_sink_is_told_of_columns_that_are_known() {
        let mistakes = |document: String| {
            let mistakes = pipeline(&document).expect_err("it has a mistake");
            mistakes.to_string()
        };
        let told = mistakes(DOCUMENT.replace("input: rows", "input: row"));
        assert!(told.contains("there is no stream `row`"), "{told}");
        assert!(!told.contains("no column"), "{told}");
        let told = mistakes(DOCUMENT.replace("    input: rows\n    include: { id: row-id }\n", ""));
        assert!(
            told.contains("a sink without `input` takes dead letters"),
            "{told}"
        );
    }

    #[test]
    fn what_stands_beside_a_value_is_a_column_that_fits() {
        pipeline(DOCUMENT).unwrap_or_else(|errors| panic!("{errors}"));
        for (from, to, message) in [
            (
                "key: k",
                "key: f",
                "a key is of type string, bytes or an integer",
            ),
            ("key: k", "key: kk", "the rows have no column `kk`"),
            ("partition: n", "partition: k", "a partition is of type"),
            (
                "timestamp: t",
                "timestamp: n",
                "a time is of type timestamp",
            ),
            (
                "{ column: id }",
                "{ column: k }",
                "a topic is of type string",
            ),
            ("{ column: id }", "a/b", "`a/b` is no name of a topic"),
            ("{ column: id }", "own", "`own` is the topic of the rows"),
            ("markers: own", "markers: a b", "is no name of a topic"),
            (
                "      key: k\n",
                "      upsert: true\n",
                "say `key: COLUMN`",
            ),
            ("{ id: id }", "{ \"i\\0\": id }", "has a zero byte"),
            (
                "raw: { column: k }",
                "raw: { column: n }",
                "what is written is of type",
            ),
            ("[original, ", "[originals, ", "have no column `originals`"),
            (
                "topic: letters\n",
                "topic: letters\n      markers: own\n",
                "another sink writes",
            ),
            (
                "localhost:9092\n",
                "localhost\n",
                "is no address of a broker",
            ),
            (
                "markers: own\n",
                "markers: own\n      decides: true\n    delivery: at-least-once\n",
                "only the transactions of an `exactly-once` sink can decide",
            ),
        ] {
            assert!(DOCUMENT.contains(from), "{from}");
            let errors = pipeline(&DOCUMENT.replacen(from, to, 1)).expect_err(to);
            assert!(errors.to_string().contains(message), "{to}: {errors}");
        }
    }

    #[test]
    fn one_sink_decides() {
        let one = DOCUMENT.replacen("markers: own\n", "markers: own\n      decides: true\n", 1);
        pipeline(&one).unwrap_or_else(|errors| panic!("{errors}"));
        let two = one.replacen(
            "topic: letters\n",
            "topic: letters\n      decides: true\n",
            1,
        );
        let errors = pipeline(&two).expect_err("two decide").to_string();
        assert!(
            errors.contains("decides already; let one sink decide"),
            "{errors}"
        );
    }
}

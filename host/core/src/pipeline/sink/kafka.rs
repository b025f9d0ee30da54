//! Topics of Apache Kafka as a sink.

use arrow_schema::{DataType, Field, SchemaRef};

use crate::data_type;
use crate::dead_letter;
use crate::pipeline::StreamId;
use crate::pipeline::build::Builder;
use crate::pipeline::document::{KafkaSink, TopicOfRow};
use crate::spelling;
use crate::tree::Path;

impl Builder<'_> {
    /// Checks a sink into topics, at the path of its kind.
    pub(super) fn kafka_sink(&mut self, path: &Path, sink: &KafkaSink, inputs: &[StreamId]) {
        self.brokers(&path.key("brokers"), sink.brokers.iter());
        self.client_options(&path.key("options"), &sink.options);
        if let Some(markers) = &sink.markers {
            self.topic(&path.key("markers"), markers);
        }
        let schema = match inputs.first() {
            Some(stream) => self.streams[stream.0].schema.clone(),
            None => dead_letter::schema(),
        };
        match &sink.topic {
            TopicOfRow::Topic(topic) => self.topic(&path.key("topic"), topic),
            TopicOfRow::Column(topic) => {
                let path = path.key("topic").key("column");
                self.column_for(
                    &path,
                    &schema,
                    &topic.column,
                    ("a topic", "string", is_text),
                );
            }
        }
        if let Some(key) = &sink.key {
            let wanted = ("a key", "string, bytes or an integer", is_key as Fits);
            self.column_for(&path.key("key"), &schema, key, wanted);
        }
        if let Some(partition) = &sink.partition {
            let wanted = ("a partition", "u32 or another integer", is_integer as Fits);
            self.column_for(&path.key("partition"), &schema, partition, wanted);
        }
        if let Some(time) = &sink.timestamp {
            let wanted = ("a time", "timestamp", is_time as Fits);
            self.column_for(&path.key("timestamp"), &schema, time, wanted);
        }
        for (name, column) in &sink.headers {
            let path = path.key("headers").key(name);
            let wanted = ("a header", "string, bytes or an integer", is_key as Fits);
            self.column_for(&path, &schema, column, wanted);
        }
        if sink.upsert && sink.key.is_none() {
            let message = "without a key nobody knows which record a row replaces";
            self.wrong(&path.key("upsert"), message, Some("say `key: COLUMN`"));
        }
    }

    /// A column of the rows that is there and fits what it is to be.
    fn column_for(
        &mut self,
        path: &Path,
        schema: &SchemaRef,
        name: &str,
        (what, types, fits): (&str, &str, Fits),
    ) {
        let Ok(field) = schema.field_with_name(name) else {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let hint = spelling::hint(name, names);
            let message = format!("the rows have no column `{name}`");
            self.wrong(path, &message, hint.as_deref());
            return;
        };
        if !fits(field) {
            let found = data_type::print(field.data_type(), field.is_nullable());
            let message = format!("{what} is of type {types}, and `{name}` is {found}");
            self.wrong(path, &message, Some("choose another column"));
        }
    }
}

/// Whether a column fits.
type Fits = fn(&Field) -> bool;

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

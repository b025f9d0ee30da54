//! PostgreSQL: what can be told of a sink without a connection.

pub(super) mod url;

use arrow_schema::SchemaRef;

use super::MARKER_TABLE;
use crate::pipeline::build::Builder;
use crate::pipeline::document::PostgresSink;
use crate::secret::TextOrSecret;
use crate::spelling;
use crate::tree::Path;
use url::PostgresUrl;

/// PostgreSQL cuts longer names off, and two of them may become one.
const NAME_BYTES_MAX: usize = 63;
/// Columns that every table has of its own.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];
/// How long a database may be away.
const GIVE_UP_AFTER_US: i64 = 600_000_000;

impl PostgresSink {
    /// How long the database may be away before the job fails, in microseconds.
    pub fn give_up_after_us(&self) -> i64 {
        self.give_up_after
            .map_or(GIVE_UP_AFTER_US, |time| time.as_us())
    }

    /// The table as people read it.
    pub fn told_table(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.table),
            None => self.table.clone(),
        }
    }

    /// The database as people read it: without any secret.
    pub fn told_database(&self) -> String {
        match &self.url {
            TextOrSecret::Text(text) => match PostgresUrl::parse(text) {
                Ok(url) => url.to_string(),
                Err(_) => "an unknown database".into(),
            },
            TextOrSecret::Secret(reference) => format!("the database in {}", reference.place()),
        }
    }
}

impl Builder<'_> {
    /// Checks a sink into a table, at the path of its kind.
    pub(super) fn postgres(
        &mut self,
        path: &Path,
        sink: &PostgresSink,
        schema: Option<&SchemaRef>,
    ) {
        if let TextOrSecret::Text(text) = &sink.url {
            self.literal_url(&path.key("url"), text);
        }
        if sink.table == MARKER_TABLE {
            let message = format!("`{MARKER_TABLE}` holds which checkpoints are applied");
            self.wrong(&path.key("table"), &message, Some("choose another name"));
        }
        self.sql_name(&path.key("table"), &sink.table);
        if let Some(schema) = &sink.schema {
            self.sql_name(&path.key("schema"), schema);
        }
        let Some(schema) = schema else { return };
        for field in schema.fields() {
            self.sql_column(path, field.name());
        }
        self.upsert_key(&path.key("upsert"), &sink.upsert, schema);
    }

    /// Whether a column may have its name in a table; also those of `include`.
    pub(super) fn sql_column(&mut self, path: &Path, name: &str) {
        self.sql_name(path, name);
        if SYSTEM_COLUMNS.contains(&name) {
            let message = format!("every table has a column `{name}` of PostgreSQL's own");
            let remedy = "rename it in the operator or source that makes it";
            self.wrong(path, &message, Some(remedy));
        }
    }

    fn literal_url(&mut self, path: &Path, text: &str) {
        match PostgresUrl::parse(text) {
            Ok(url) if url.password.is_some() => {
                let remedy = "take it out of the URL and say `password: { env: NAME }`, or give \
                              the whole URL as `url: { env: NAME }`";
                self.wrong(
                    path,
                    "a password does not stand in the document",
                    Some(remedy),
                );
            }
            Ok(_) => {}
            Err(error) => {
                let (message, remedy) = (error.quoting(), error.remedy.clone());
                self.wrong(path, &message, Some(&remedy));
            }
        }
    }

    fn sql_name(&mut self, path: &Path, name: &str) {
        let message = if name.is_empty() {
            "a name in PostgreSQL has at least one letter".to_owned()
        } else if name.contains('\0') {
            "a name in PostgreSQL has no zero byte".to_owned()
        } else if name.len() > NAME_BYTES_MAX {
            format!("a name in PostgreSQL has at most {NAME_BYTES_MAX} bytes, `{name}` has more")
        } else {
            return;
        };
        self.wrong(path, &message, Some("choose another name"));
    }

    /// The columns of a primary key are the rows' own, each named once and never null.
    fn upsert_key(&mut self, path: &Path, key: &[String], schema: &SchemaRef) {
        for (index, name) in key.iter().enumerate() {
            let path = path.index(index);
            if key[..index].contains(name) {
                let message = format!("`{name}` stands twice");
                self.wrong(&path, &message, Some("name it once"));
                continue;
            }
            match schema.field_with_name(name) {
                Ok(field) if field.is_nullable() => {
                    let message = format!("`{name}` may be null, and a key never is");
                    let remedy = "choose columns without `?`";
                    self.wrong(&path, &message, Some(remedy));
                }
                Ok(_) => {}
                Err(_) => {
                    let message = format!("the rows have no column `{name}`");
                    let names = schema.fields().iter().map(|field| field.name().as_str());
                    let remedy = spelling::hint(name, names);
                    self.wrong(&path, &message, remedy.as_deref());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::SinkKind;
    use crate::pipeline::tests::pipeline;

    const DOCUMENT: &str = "\
name: test
checkpoint: {}
sources:
  in:
    file: { path: in.jsonl }
    format: { json: { account: u64, amount: \"decimal(12,2)\", note: string? } }
sinks:
  out: { input: in, postgres: { url: \"postgres://bank@db/ledger\", table: alerts } }
";

    /// What is told of the sink with these fields.
    fn told(from: &str, to: &str) -> String {
        assert!(DOCUMENT.contains(from), "{from}");
        match pipeline(&DOCUMENT.replacen(from, to, 1)) {
            Ok(_) => String::new(),
            Err(errors) => errors.to_string(),
        }
    }

    #[test]
    fn a_sound_sink_is_known_without_its_secrets() {
        let with = DOCUMENT.replace(
            "table: alerts",
            "password: { env: HIDDEN }, schema: audit, table: alerts, upsert: [account], \
             give-up-after: 5s",
        );
        let pipeline = pipeline(&with).unwrap_or_else(|errors| panic!("{errors}"));
        let SinkKind::Postgres(sink) = &pipeline.sinks[0].kind else {
            panic!("{:?}", pipeline.sinks);
        };
        assert_eq!(sink.told_table(), "audit.alerts");
        assert_eq!(sink.told_database(), "postgres://bank@db/ledger");
        assert_eq!(sink.give_up_after_us(), 5_000_000);
    }

    #[test]
    fn every_mistake_that_needs_no_connection_is_told() {
        for (from, to, part) in [
            (
                "bank@db",
                "bank:hunter2@db",
                "a password does not stand in the document",
            ),
            (
                "table: alerts",
                "table: alerts, password: hunter2",
                "a secret does not stand in the document",
            ),
            ("db/ledger", "db:port/ledger", "`port` is not a port"),
            (
                "/ledger",
                "/ledger?sslmod=require",
                "did you mean `sslmode`?",
            ),
            ("/ledger", "/ledger?sslmode=verify-ca", "use `verify-full`"),
            ("postgres://", "mysql://", "begins with `postgres://`"),
            ("table: alerts", "table: wasmill_commits", "choose another"),
            ("table: alerts", "table: \"\"", "at least one letter"),
            (
                "table: alerts",
                "table: alerts, upsert: [acount]",
                "did you mean `account`?",
            ),
            (
                "table: alerts",
                "table: alerts, upsert: [note]",
                "`note` may be null",
            ),
            (
                "table: alerts",
                "table: alerts, upsert: [account, account]",
                "`account` stands twice",
            ),
            ("note:", "xmin:", "a column `xmin` of PostgreSQL's own"),
            (
                "table: alerts }",
                "table: alerts }, include: { ctid: row-id }",
                "a column `ctid` of PostgreSQL's own",
            ),
            (
                "table: alerts }",
                "table: alerts }, format: csv",
                "`postgres` writes no text",
            ),
        ] {
            let told = told(from, to);
            assert!(told.contains(part), "{to}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}

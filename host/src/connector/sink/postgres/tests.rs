//! Against a real server: `cargo xtask test` starts one and names it in `POSTGRES_URL`.

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use wasmill_core::{
    checkpoint::{AttemptId, CheckpointId},
    lineage::{Ancestor, Lineage},
    pipeline::{SinkKind, document::Delivery},
    secret::TextOrSecret,
};

use super::*;
use crate::{
    connector::{
        Follower, Share,
        sink::{
            Fence, Opening,
            model::{self, Output, Power},
        },
    },
    format::testing,
};

/// A table in a schema of its own.
struct Outside {
    target: PostgresSink,
    schema: String,
    spool: tempfile::TempDir,
    reader: std::cell::RefCell<Database>,
    attempts: u64,
}

impl Outside {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let url = std::env::var("POSTGRES_URL").expect(
            "run `cargo xtask test`, or set POSTGRES_URL to what `cargo xtask postgres up` says",
        );
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let schema = format!("unit {} {number}", std::process::id());
        let target = PostgresSink {
            url: TextOrSecret::Text(url),
            user: None,
            password: None,
            schema: Some(schema.clone()),
            table: "the \"rows\"".into(),
            upsert: Vec::new(),
            give_up_after: None,
        };
        let metadata = Metadata::new(&model::batch(0, 0).rows.schema(), &[], "job");
        let reader = Database::new(&sink(&target), &target, &metadata, "reader");
        let this = Self {
            target,
            schema: schema.clone(),
            spool: tempfile::tempdir().expect("a temporary folder"),
            reader: reader.into(),
            attempts: 0,
        };
        this.execute(&format!("create schema \"{schema}\""));
        this
    }

    /// Does what a person at the database does.
    fn execute(&self, sql: &str) {
        self.try_execute(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn try_execute(&self, sql: &str) -> Result<(), ConnectorError> {
        self.reader.borrow_mut().with(async |client, database, _| {
            let done = client.batch_execute(sql).await;
            done.map_err(|error| {
                PostgresError::of(database, "do what the test wants", &error).into()
            })
        })
    }

    /// The first column of what a query finds, as text.
    fn texts(&self, query: &str) -> Vec<String> {
        let found = self.reader.borrow_mut().with(async |client, _, _| {
            let rows = client.query(query, &[]).await.expect("a query");
            Ok(rows.iter().map(|row| row.get(0)).collect())
        });
        found.expect("the database is there")
    }

    fn place(&self) -> String {
        format!("\"{}\".\"the \"\"rows\"\"\"", self.schema)
    }

    fn read(&self) -> Vec<u64> {
        let query = format!("select of.n::text from {} of order by of.n", self.place());
        let texts = self.texts(&query);
        texts
            .iter()
            .map(|text| text.parse().expect("a number"))
            .collect()
    }

    fn opening(&self, attempt: u64, is_fresh: bool, since: Option<u64>) -> Opening<'_> {
        Opening {
            job: "job",
            fence: Fence {
                attempt: AttemptId(attempt),
                begun_us: attempt as i64,
            },
            is_fresh,
            since: since.map(CheckpointId),
            is_detour: false,
            spool: self.spool.path(),
        }
    }

    fn try_follower(&self, opening: &Opening<'_>) -> Result<PostgresFollower, ConnectorError> {
        let metadata = Metadata::new(&model::batch(0, 0).rows.schema(), &[], opening.job);
        PostgresFollower::open(&sink(&self.target), &self.target, metadata, opening)
    }

    fn follower(&self, attempt: u64, is_fresh: bool) -> PostgresFollower {
        let opening = self.opening(attempt, is_fresh, None);
        self.try_follower(&opening)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Rows of these columns, in a sink without checkpoints.
    fn plain(&self, rows: &RecordBatch) -> Result<PostgresPlain, ConnectorError> {
        let metadata = Metadata::new(&rows.schema(), &[], "job");
        PostgresPlain::open(&sink(&self.target), &self.target, metadata, "job")
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.try_execute(&format!("drop schema \"{}\" cascade", self.schema));
    }
}

fn sink(target: &PostgresSink) -> pipeline::Sink {
    pipeline::Sink {
        name: "sink".into(),
        kind: SinkKind::Postgres(Box::new(target.clone())),
        inputs: Vec::new(),
        include: Vec::new(),
        is_for_dead_letters: false,
        delivery: Delivery::ExactlyOnce,
    }
}

fn batch(columns: &[(&str, &str)], text: &str) -> Batch {
    let rows = testing::json_rows(columns, text);
    let len = rows.num_rows();
    Batch::new(
        rows,
        Lineage::whole(Ancestor::Chunk(Default::default()), len),
    )
}

impl Output for Outside {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Box<dyn Follower>, ConnectorError> {
        self.attempts += 1;
        Ok(Box::new(self.try_follower(opening)?))
    }

    fn rows(&self) -> Vec<u64> {
        self.read()
    }

    /// The database refuses the row behind so many, or the marker behind the last one; or the
    /// session ends there.
    fn arm(&mut self, steps: u64) {
        let (place, schema) = (self.place(), &self.schema);
        self.execute(&format!(
            "drop trigger if exists full_up on {place}; \
             drop trigger if exists unmarked on \"{schema}\".wasmill_commits"
        ));
        if steps == u64::MAX {
            return;
        }
        let most = self.read().len() as u64 + steps;
        let fail = match steps % 3 {
            0 => "perform pg_terminate_backend(pg_backend_pid());",
            _ => "raise exception 'full';",
        };
        self.execute(&format!(
            "create or replace function \"{schema}\".full_up() returns trigger as $$ begin \
             if (select count(*) from {place}) >= {most} then {fail} end if; return new; end $$ \
             language plpgsql; \
             create or replace function \"{schema}\".unmarked() returns trigger as $$ begin \
             if {steps} % 2 = 0 then {fail} end if; return new; end $$ language plpgsql; \
             create trigger full_up before insert on {place} for each row \
             execute function \"{schema}\".full_up(); \
             create trigger unmarked after update on \"{schema}\".wasmill_commits for each row \
             execute function \"{schema}\".unmarked()"
        ));
    }

    fn crash(&mut self, _power: Power) {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn nothing_is_lost_or_doubled_wherever_it_stops(steps in model::steps()) {
        model::run(&mut Outside::new(), &steps);
    }
}

/// Writes a row, and applies it as this checkpoint.
fn try_applied(follower: &mut PostgresFollower, checkpoint: u64) -> Result<Share, String> {
    let rows = model::batch(checkpoint, 1);
    follower.write(&rows).expect("there is room");
    let share = follower
        .share(CheckpointId(checkpoint))
        .expect("there is room");
    follower.decided(CheckpointId(checkpoint));
    let applied = follower.apply(CheckpointId(checkpoint), &share);
    applied.map(|()| share).map_err(|error| error.to_string())
}

fn applied(follower: &mut PostgresFollower, checkpoint: u64) -> Share {
    try_applied(follower, checkpoint).expect("nothing is in its way")
}

#[test]
fn an_attempt_that_was_taken_over_writes_nothing() {
    let table = Outside::new();
    let mut old = table.follower(1, true);
    let mut new = table.follower(2, false);
    let error = try_applied(&mut old, 1).expect_err("another attempt is at work");
    assert!(
        error.contains("attempt 2 of this job has taken over"),
        "{error}"
    );
    let one = applied(&mut new, 1);
    old.apply(CheckpointId(1), &one)
        .expect("it is done, by whomever");
    applied(&mut new, 2);
    assert!(try_applied(&mut old, 3).is_err());
    assert_eq!(table.read(), [1, 2]);
    let late = table.try_follower(&table.opening(1, false, None)).err();
    assert!(
        late.expect("it is too late")
            .to_string()
            .contains("this is attempt 1")
    );
}

#[test]
fn a_job_whose_checkpoints_were_deleted_begins_anew_when_it_is_told_to() {
    let table = Outside::new();
    applied(&mut table.follower(7, true), 1);
    let mut opening = table.opening(1, false, None);
    opening.fence.begun_us = 8;
    let error = table
        .try_follower(&opening)
        .err()
        .expect("7 attempts are unknown");
    assert!(
        error.to_string().contains("begin anew with --fresh"),
        "{error}"
    );
    opening.is_fresh = true;
    let mut fresh = table.try_follower(&opening).expect("it is told to");
    assert_eq!(fresh.marker().expect("it is known"), None);
    applied(&mut fresh, 1);
    assert_eq!(table.read(), [1, 1], "what is in the table may be others'");
}

#[test]
fn a_session_that_was_left_behind_does_not_hold_up_the_job() {
    let table = Outside::new();
    let mut follower = table.follower(1, true);
    applied(&mut follower, 1);
    let name = format!("wasmill\0{}\0job\0sink", table.schema);
    let key = xxhash_rust::xxh3::xxh3_64(name.as_bytes()) as i64;
    let lock = format!("begin; select pg_advisory_xact_lock({key})");
    table.execute(&lock);
    applied(&mut follower, 2);
    assert_eq!(table.read_over_new_connection(), [1, 2]);
}

impl Outside {
    fn read_over_new_connection(&self) -> Vec<u64> {
        self.reader.borrow_mut().session = None;
        self.read()
    }
}

#[test]
fn a_database_that_is_older_than_it_was_is_noticed() {
    let table = Outside::new();
    let mut follower = table.follower(1, true);
    applied(&mut follower, 1);
    let marker = format!("update \"{}\".wasmill_commits set", table.schema);
    table.execute(&format!("{marker} checkpoint = 0, digest = ''"));
    let error = try_applied(&mut follower, 2).expect_err("a row would be missing");
    assert!(error.contains("was brought back from a copy"), "{error}");
    table.execute(&format!("delete from \"{}\".wasmill_commits", table.schema));
    let error = try_applied(&mut follower, 3).expect_err("rows would be missing");
    assert!(error.contains("its marker stands at nothing"), "{error}");
    assert_eq!(table.read(), [1]);
}

#[test]
fn a_table_that_is_gone_is_not_made_again_as_if_nothing_had_been_in_it() {
    let table = Outside::new();
    let mut follower = table.follower(1, true);
    applied(&mut follower, 1);
    table.execute(&format!("drop table {}", table.place()));
    let error = try_applied(&mut follower, 2).expect_err("it is gone");
    assert!(error.contains("refuses to take rows"), "{error}");
    let error = table.try_follower(&table.opening(2, false, Some(1))).err();
    let error = error.expect("it is gone").to_string();
    assert!(
        error.contains("is gone") && error.contains("up to checkpoint 1"),
        "{error}"
    );
    let mut fresh = table.follower(2, true);
    applied(&mut fresh, 1);
    assert_eq!(table.read(), [1]);
}

#[test]
fn bytes_that_are_no_share_are_refused_and_leave_nothing() {
    let table = Outside::new();
    let mut follower = table.follower(1, true);
    follower.write(&model::batch(0, 3)).expect("there is room");
    let mut share = follower.share(CheckpointId(1)).expect("there is room");
    share
        .objects
        .push(bytes::Bytes::from_static(b"nonsense").into());
    let error = follower
        .apply(CheckpointId(1), &share)
        .expect_err("nonsense")
        .to_string();
    assert!(error.contains("the share of sink `sink`"), "{error}");
    assert_eq!(table.read(), [0; 0]);
    share.objects.pop();
    follower
        .apply(CheckpointId(1), &share)
        .expect("nothing is in its way");
    assert_eq!(table.read(), [0, 1, 2]);
}

/// A column of each type, and a row at the edge of what they hold.
const COLUMNS: [(&str, &str); 16] = [
    ("b", "bool"),
    ("i", "i8"),
    ("j", "i64"),
    ("w", "u32"),
    ("u", "u64"),
    ("f", "f32"),
    ("g", "f64?"),
    ("m", "decimal(38,2)"),
    ("k", "decimal(38,38)"),
    ("d", "date"),
    ("t", "timestamp"),
    ("s", "string"),
    ("o", "bytes"),
    ("l", "list<u8>"),
    ("r", "struct<a: string, b: f64>"),
    ("odd \"name\"", "string?"),
];
const ROW: &str = concat!(
    r#"{"b":true,"i":-128,"j":-9223372036854775808,"w":4294967295,"u":18446744073709551615,"#,
    r#""f":0.5,"g":null,"m":-123456789012345678901234567890123456.78,"k":0.00000000000000000000000000000000000012,"#,
    r#""d":"1969-12-31","t":"2026-01-31T09:30:00.000001Z","s":"ä","o":"AAE=","l":[1,2],"#,
    r#""r":{"a":"x\"y","b":1.5},"odd \"name\"":"z"}"#,
);

#[test]
fn every_type_has_its_place() {
    let table = Outside::new();
    let rows = batch(&COLUMNS, ROW);
    let mut sink = table.plain(&rows.rows).expect("a new table");
    sink.write(&rows).expect("there is room");
    sink.close().expect("committed");
    drop(sink);
    let mut again = table.plain(&rows.rows).expect("the same table");
    again.write(&rows).expect("there is room");
    again.flush().expect("committed");
    table.execute("set time zone 'UTC'");
    let columns = COLUMNS.map(|(name, _)| {
        let name = table::quoted(name);
        format!("coalesce({name}::text, 'null') || ':' || pg_typeof({name})")
    });
    let query = format!(
        "select concat_ws(' | ', {}) from {}",
        columns.join(", "),
        table.place()
    );
    let expected = "true:boolean | -128:smallint | -9223372036854775808:bigint | \
        4294967295:bigint | 18446744073709551615:numeric | 0.5:real | null:double precision | \
        -123456789012345678901234567890123456.78:numeric | \
        0.00000000000000000000000000000000000012:numeric | 1969-12-31:date | \
        2026-01-31 09:30:00.000001+00:timestamp with time zone | ä:text | \\x0001:bytea | \
        [1, 2]:jsonb | {\"a\": \"x\\\"y\", \"b\": 1.5}:jsonb | z:text";
    assert_eq!(table.texts(&query), [expected, expected]);
}

#[test]
fn a_table_that_is_there_is_compared_column_by_column() {
    let table = Outside::new();
    let place = table.place();
    table.execute(&format!(
        "create table {place} (b boolean, i integer not null, j integer, w numeric(9), \
         u bigint, f double precision, g double precision not null, m numeric(38,2), \
         k numeric, d date, t timestamp, s varchar(1), l json, r text, by_whom text not null, \
         made timestamptz not null default now())"
    ));
    let rows = batch(&COLUMNS, ROW);
    let error = table
        .plain(&rows.rows)
        .err()
        .expect("it does not fit")
        .to_string();
    for part in [
        "column `j` is integer, and the rows' is i64, for which bigint is wanted",
        "column `w` is numeric(9,0)",
        "column `g` is `not null`",
        "column `o` is missing (bytes, for which bytea is wanted)",
        "column `odd \"name\"` is missing",
        "its column `by_whom` is `not null` without a default",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(error.matches("column `").count(), 6, "{error}");
    table.execute(&format!(
        "alter table {place} alter j type bigint, alter w type numeric(10), \
         alter g drop not null, add o bytea, add \"odd \"\"name\"\"\" text, drop by_whom"
    ));
    let mut sink = table.plain(&rows.rows).expect("it fits");
    sink.write(&rows).expect("there is room");
    let error = sink.flush().expect_err("a u64 in a bigint").to_string();
    assert!(
        error.contains("18446744073709551615 is too large for it"),
        "{error}"
    );
    table.execute(&format!("alter table {place} alter u type numeric"));
    let mut sink = table.plain(&rows.rows).expect("it fits");
    sink.write(&rows).expect("there is room");
    sink.flush().expect("committed");
    let query = format!("select u || ' ' || t || ' ' || s || ' ' || l from {place}");
    let expected = "18446744073709551615 2026-01-31 09:30:00.000001 ä [1,2]";
    assert_eq!(table.texts(&query), [expected]);
}

#[test]
fn of_each_key_the_last_row_stands() {
    let mut table = Outside::new();
    table.target.upsert = vec!["a".into(), "b".into()];
    let columns = [("a", "u64"), ("b", "string"), ("c", "f64?")];
    let write = |text: &str| {
        let rows = batch(&columns, text);
        let mut sink = table.plain(&rows.rows).expect("a table");
        sink.write(&rows).expect("there is room");
        sink.flush().expect("committed");
    };
    write(
        "{\"a\":1,\"b\":\"x\",\"c\":1}\n{\"a\":1,\"b\":\"x\",\"c\":2}\n{\"a\":2,\"b\":\"x\",\"c\":3}",
    );
    write("{\"a\":2,\"b\":\"x\",\"c\":null}\n{\"a\":2,\"b\":\"y\",\"c\":5}");
    let query = format!(
        "select a || b || coalesce(c::text, '-') from {} order by a, b",
        table.place()
    );
    assert_eq!(table.texts(&query), ["1x2", "2x-", "2y5"]);
    table.execute(&format!(
        "alter table {} drop constraint \"the \"\"rows\"\"_pkey\"",
        table.place()
    ));
    let rows = batch(&columns, "");
    let error = table.plain(&rows.rows).err().expect("no key").to_string();
    assert!(
        error.contains("no primary key or unique index on (a, b)"),
        "{error}"
    );
}

#[test]
fn a_zero_byte_is_refused_when_it_comes_and_replaced_in_dead_letters() {
    let table = Outside::new();
    let rows = batch(&[("s", "string")], "{\"s\":\"a\\u0000b\"}");
    let mut sink = table.plain(&rows.rows).expect("a table");
    let error = sink.write(&rows).expect_err("a zero byte").to_string();
    assert!(error.contains("column `s` has a zero byte"), "{error}");
    sink.database.is_for_dead_letters = true;
    sink.write(&rows).expect("it is replaced");
    sink.flush().expect("committed");
    let query = format!("select s from {}", table.place());
    assert_eq!(table.texts(&query), ["a\u{fffd}b"]);
    let nested = batch(&[("l", "list<string>")], "{\"l\":[\"a\\u0000b\"]}");
    assert!(has_zero_byte(nested.rows.column(0).as_ref()));
}

#[test]
fn what_cannot_be_reached_is_away_and_what_refuses_is_not() {
    let mut table = Outside::new();
    let TextOrSecret::Text(url) = table.target.url.clone() else {
        panic!("the test has written it");
    };
    let mut open = |url: &str| {
        table.target.url = TextOrSecret::Text(url.into());
        table
            .plain(&model::batch(0, 0).rows)
            .map(|mut sink| sink.try_commit())
    };
    // Nothing listens on port 1.
    let away = open("postgres://127.0.0.1:1/none").expect("it goes on without it");
    assert!(matches!(away, Err(ConnectorError::Away { .. })), "{away:?}");
    let (server, _) = url.rsplit_once('/').expect("a URL");
    let error = open(&format!("{server}/no-such"))
        .expect_err("no database")
        .to_string();
    assert!(
        error.contains("refuses the connection; create the database"),
        "{error}"
    );
    table.target.url = TextOrSecret::Text(url);
}

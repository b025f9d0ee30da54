use proptest::prelude::*;

use super::*;
use crate::connector::sink::{
    Fence,
    model::{self, Output, Power},
};
use wasmill_core::checkpoint::AttemptId;

/// A table in a database.
struct Table {
    folder: tempfile::TempDir,
    /// Another program's.
    reader: Option<Connection>,
}

impl Table {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            reader: None,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("out.db")
    }

    fn follower(&self, opening: &Opening<'_>) -> SqliteFollower {
        let target = document::SqliteSink {
            path: self.path().to_string_lossy().into_owned(),
            table: "the rows".into(),
        };
        let metadata = Metadata::new(&model::batch(0, 0).rows.schema(), &[], opening.job);
        let follower = SqliteFollower::open("sink", &target, metadata, opening);
        follower.unwrap_or_else(|error| panic!("{error}"))
    }

    fn read(&self) -> Vec<u64> {
        rows(&Connection::open(self.path()).expect("the database"))
    }

    fn opening(&self, is_fresh: bool, since: Option<u64>) -> Opening<'_> {
        Opening {
            job: "job",
            fence: Fence {
                attempt: AttemptId(1),
                begun_us: 1,
            },
            is_fresh,
            since: since.map(CheckpointId),
            is_detour: false,
            spool: self.folder.path(),
        }
    }
}

impl Output for Table {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Box<dyn Follower>, ConnectorError> {
        let follower = self.follower(opening);
        self.reader = Some(Connection::open(self.path()).expect("the database"));
        Ok(Box::new(follower))
    }

    fn rows(&self) -> Vec<u64> {
        let reader = self.reader.as_ref().expect("it is open");
        rows(reader)
    }

    /// The database refuses the row behind so many, or the marker behind the last one.
    fn arm(&mut self, steps: u64) {
        let reader = self.reader.as_ref().expect("it is open");
        reader
            .execute_batch("drop trigger if exists full; drop trigger if exists unmarked")
            .expect("it is ours");
        if steps == u64::MAX {
            return;
        }
        let most = rows(reader).len() as u64 + steps;
        let triggers = format!(
            "create trigger full before insert on \"the rows\" \
             when (select count(*) from \"the rows\") >= {most} \
             begin select raise(abort, 'full'); end;
             create trigger unmarked after insert on wasmill_commits when {steps} % 2 = 0 \
             begin select raise(abort, 'unmarked'); end"
        );
        reader.execute_batch(&triggers).expect("it is ours");
    }

    fn crash(&mut self, _power: Power) {}
}

/// What a reader sees.
fn rows(connection: &Connection) -> Vec<u64> {
    let mut statement = connection
        .prepare_cached("select n from \"the rows\" order by rowid")
        .expect("the table");
    let rows = statement.query_map((), |row| row.get::<_, i64>(0));
    let rows = rows.expect("the rows");
    rows.map(|row| row.expect("a row").unsigned_abs()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn nothing_is_lost_or_doubled_wherever_it_stops(steps in model::steps()) {
        model::run(&mut Table::new(), &steps);
    }
}

/// Writes a row, and applies it as this checkpoint.
fn applied(follower: &mut SqliteFollower, checkpoint: u64) -> Share {
    follower
        .write(&model::batch(checkpoint, 1))
        .expect("there is room");
    let share = follower
        .share(CheckpointId(checkpoint))
        .expect("there is room");
    follower.decided(CheckpointId(checkpoint));
    follower
        .apply(CheckpointId(checkpoint), &share)
        .expect("nothing is in its way");
    share
}

#[test]
fn another_run_on_the_same_table_is_noticed() {
    let table = Table::new();
    let mut old = table.follower(&table.opening(true, None));
    let mut new = table.follower(&table.opening(false, None));
    let one = applied(&mut new, 1);
    old.apply(CheckpointId(1), &one).expect("it is done");
    applied(&mut new, 2);
    old.write(&model::batch(9, 1)).expect("there is room");
    let three = old.share(CheckpointId(3)).expect("there is room");
    let error = old
        .apply(CheckpointId(3), &three)
        .expect_err("overtaken")
        .to_string();
    assert!(
        error.contains("its marker stands at checkpoint 2"),
        "{error}"
    );
    assert_eq!(table.read(), [1, 2]);
}

#[test]
fn a_share_that_does_not_begin_where_the_table_ends_is_refused() {
    let table = Table::new();
    applied(&mut table.follower(&table.opening(true, None)), 1);
    for since in [None, Some(2)] {
        let mut follower = table.follower(&table.opening(false, since));
        let share = follower.share(CheckpointId(3)).expect("there is room");
        let error = follower
            .apply(CheckpointId(3), &share)
            .expect_err("a gap")
            .to_string();
        assert!(error.contains("those up to checkpoint 1"), "{error}");
    }
}

#[test]
fn a_fresh_run_adds_to_the_table() {
    let table = Table::new();
    applied(&mut table.follower(&table.opening(true, None)), 1);
    let mut follower = table.follower(&table.opening(true, None));
    assert_eq!(follower.marker().expect("it is known"), None);
    applied(&mut follower, 2);
    assert_eq!(table.read(), [1, 2]);
}

#[test]
fn bytes_that_are_no_share_are_refused_and_leave_nothing() {
    let table = Table::new();
    let mut follower = table.follower(&table.opening(true, None));
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
    share.state = serde_json::json!({ "since": null, "rows": { "format": "other" } });
    let error = follower
        .apply(CheckpointId(2), &share)
        .expect_err("another format")
        .to_string();
    assert!(error.contains("cannot be read"), "{error}");
}

//! Joins under `kill -9`: whenever the job is ended, at whatever parallelism it goes on, what it
//! has brought out in the end is what comes of all rows, each once.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wasmill_tests::kill::Kills;
use wasmill_tests::programs;

use crate::oracle::Kind;
use crate::rows::{Random, Row, SECOND, rows};
use crate::{Job, check, command, keeps, run};

/// Starts that are ended by force: at least so many, and more until some rows have come out.
const KILLS: usize = 8;
const KILLS_MAX: usize = 24;
/// Rows of each side: enough to outlast some of the kills.
const ROWS: u64 = 200_000;
/// Few rows of a key, so that loops over all rows of one are quick.
const KEYS: u64 = 10_000;

const CHECKPOINTS: &str = "checkpoint: { interval: 20ms, storage: checkpoints }\n";

fn survives(seed: u64, join: (&str, Kind, &str)) {
    survives_with(&[""], seed, join);
}

/// The same with each of some kinds of state in turn.
pub(crate) fn survives_with(
    states: &[&str],
    seed: u64,
    (join, kind, join_type): (&str, Kind, &str),
) {
    let sides = sides(seed);
    let sides = [&sides[0][..], &sides[1][..]];
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let job = Job {
        join: &format!("{{ {join}, type: {join_type} }}"),
        kind,
        top: CHECKPOINTS,
        rows_max: 512,
    };
    job.write(folder.path(), sides);
    let (mut random, mut kills) = (Random(seed), Kills::default());
    let (mut before, mut has_decided, mut gone_on) = (String::new(), false, 0);
    for kill in 0..KILLS_MAX {
        if kill >= KILLS && has_decided {
            break;
        }
        if kills.number() == 0 {
            before.clear();
        }
        let top = format!("{CHECKPOINTS}{}", states[kill % states.len()]);
        Job { top: &top, ..job }.write_document(folder.path());
        gone_on += usize::from(has_decided);
        let mut command = command(folder.path(), random.below(4) + 1);
        kills.kill(&mut command, random.below(1_000));
        let text = fs::read_to_string(folder.path().join("out.jsonl")).unwrap_or_default();
        let seen = text[..text.rfind('\n').map_or(0, |end| end + 1)].to_owned();
        assert!(seen.starts_with(&before), "what was decided stays as it is");
        // What waited for a table comes out at once, which takes longer than there is.
        let has_come = !seen.is_empty() || matches!(kind, Kind::Lookup);
        has_decided = kills.number() > 0 && has_come && decided(folder.path()) > 0;
        if kills.number() > 0 && !has_decided {
            kills.take_longer();
        }
        before = seen;
    }
    let (lines, killed) = (before.lines().count(), kills.number());
    println!("{join} {join_type}, seed {seed}: {killed} kills, {lines} rows before the end");
    assert!(killed > 0, "the job is slower than the first kill");
    assert!(
        has_decided,
        "no checkpoint was decided before the last start"
    );
    let said = run(folder.path(), 3);
    // The job may have come to its end between two kills.
    let is_last = said.contains("goes on from checkpoint");
    assert!(
        gone_on > 0 || is_last,
        "no checkpoint was gone on from: {said}"
    );
    check(folder.path(), (kind, keeps(join_type)), sides, join);
    let said = run(folder.path(), 1);
    assert!(said.contains("nothing left to do"), "{said}");
}

/// Decided checkpoints that are kept.
fn decided(folder: &Path) -> usize {
    let output = Command::new(programs().join("wasmill"))
        .args(["checkpoint", "ls", "pipeline.yaml", "--json"])
        .current_dir(folder)
        .output()
        .expect("wasmill starts");
    // It is refused where the job has not come to its first entry.
    let listed: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    listed
        .and_then(|all| all.as_array().map(Vec::len))
        .unwrap_or(0)
}

fn sides(seed: u64) -> [Vec<Row>; 2] {
    [
        rows(seed, 0, (ROWS, KEYS, 2)),
        rows(seed + 1_000, 1_000_000, (ROWS, KEYS, 2)),
    ]
}

#[test]
fn intervals_survive_kills() {
    let kind = Kind::Interval(-300 * SECOND, 900 * SECOND);
    survives(
        11,
        ("interval: { lower: -300s, upper: 900s }", kind, "full"),
    );
}

#[test]
fn windows_survive_kills() {
    let kind = Kind::Window(600 * SECOND, 200 * SECOND);
    let join = "window: { sliding: { size: 600s, every: 200s } }";
    survives(12, (join, kind, "full"));
}

#[test]
fn versions_survive_kills() {
    survives(13, ("as-of: {}", Kind::AsOf(None), "left"));
}

#[test]
fn tables_survive_kills() {
    survives(14, ("lookup: {}", Kind::Lookup, "left"));
}

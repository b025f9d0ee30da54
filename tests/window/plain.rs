//! Counts, sums and means alone, whose panes the engine keeps by column.

use std::fs;
use std::path::Path;

use wasmill_tests::kill::Kills;

use super::{CUMULATIVE, CUTS, Job, SLIDING, TUMBLING, check, command, oracle, run, trickle};
use crate::kill::{CHECKPOINTS, KILLS, KILLS_MAX};
use crate::oracle::{Expected, Windows};
use crate::rows::{Random, Row, rows};

const PLAIN: [&str; 6] = ["n", "given", "total", "cash", "mean", "height"];
/// Where keys leave memory, panes are kept by key: each attempt finds those of the other kind.
const STATES: [&str; 2] = [
    "",
    "state: { backend: rocksdb, cache: 256KiB, directory: spill }\n",
];

/// Writes the job with these aggregates alone.
fn write_document(job: &Job<'_>, folder: &Path) {
    let mut is_within = false;
    let is_kept = |line: &&str| {
        if !line.starts_with("      ") {
            is_within = line.starts_with("    aggregates:");
        }
        let name = line.trim_start().split(':').next().unwrap_or_default();
        !is_within || line.trim_start().starts_with("aggregates:") || PLAIN.contains(&name)
    };
    let document = job.document();
    let lines: Vec<&str> = document.lines().filter(is_kept).collect();
    let text = lines.join("\n");
    assert!(!text.contains("plugin"), "{text}");
    fs::write(folder.join("pipeline.yaml"), text).expect("the folder is writable");
}

/// What plain Rust counts, without the other aggregates.
fn expected(windows: Windows, rows: &[Row]) -> Expected {
    let mut expected = windows.expected(rows, 0);
    let names = oracle::AGGREGATES
        .lines()
        .filter_map(|line| line.split_once(':'));
    let others = names.map(|(name, _)| name.trim()).chain(["folded"]);
    let others: Vec<&str> = others.filter(|name| !PLAIN.contains(name)).collect();
    for row in expected.results.values_mut().flatten() {
        let columns = row.as_object_mut().expect("an object");
        columns.retain(|name, _| !others.contains(&name.as_str()));
        assert!(PLAIN.iter().all(|name| columns.contains_key(*name)));
    }
    expected
}

fn job<'a>(window: &'a str, sources: usize, rows_max: usize) -> Job<'a> {
    Job {
        window,
        more: "",
        top: "checkpoint: off\n",
        sources,
        rows_max,
        is_piped: false,
        fold: "",
    }
}

fn agrees(seed: u64, (window, windows): (&str, Windows)) {
    println!("{window}, seed {seed}");
    for sources in [1, 2] {
        let rows = rows(seed, 3_000, sources);
        let expected = expected(windows, &rows);
        assert!(expected.late > 0, "some rows are too late");
        for (parallelism, rows_max) in CUTS {
            let folder = tempfile::tempdir().expect("a folder for the test's files");
            let job = job(window, sources, rows_max);
            job.write(folder.path(), &rows);
            write_document(&job, folder.path());
            run(folder.path(), parallelism);
            let name = format!("{window}, {sources} sources, {parallelism}, {rows_max}");
            check(folder.path(), &expected, &name);
        }
        if sources == 1 {
            let folder = tempfile::tempdir().expect("a folder for the test's files");
            let job = Job {
                is_piped: true,
                ..job(window, sources, 7)
            };
            write_document(&job, folder.path());
            trickle(folder.path(), &rows, &mut Random(seed));
            check(folder.path(), &expected, window);
        }
    }
}

/// Kills the job again and again, each attempt with the other kind of state than the one before.
fn survives(seed: u64, (window, windows): (&str, Windows)) {
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let rows = rows(seed, 60_000, 2);
    job(window, 2, 64).write(folder.path(), &rows);
    let (mut random, mut kills, mut has_decided) = (Random(seed), Kills::default(), false);
    for number in 0..KILLS_MAX {
        if number >= KILLS && has_decided {
            break;
        }
        let top = format!("{CHECKPOINTS}{}", STATES[number % STATES.len()]);
        let job = Job {
            top: &top,
            ..job(window, 2, 64)
        };
        write_document(&job, folder.path());
        kills.kill(
            &mut command(folder.path(), random.below(4) + 1),
            random.below(1_000),
        );
        let out = fs::read_to_string(folder.path().join("out.jsonl")).unwrap_or_default();
        has_decided = kills.number() > 0 && out.contains('\n');
        if kills.number() > 0 && !has_decided {
            kills.take_longer();
        }
    }
    println!("{window}, seed {seed}: {} kills", kills.number());
    assert!(has_decided, "no checkpoint was gone on from");
    run(folder.path(), 2);
    check(folder.path(), &expected(windows, &rows), window);
}

#[test]
fn counts_and_sums_are_what_plain_rust_counts() {
    agrees(21, TUMBLING);
    agrees(22, SLIDING);
    agrees(23, CUMULATIVE);
}

#[test]
fn counts_and_sums_survive_kills_by_column_and_by_key() {
    survives(24, TUMBLING);
    survives(25, SLIDING);
}

//! Where a source begins, where it ends, and what it finds on the way.

use std::collections::BTreeMap;

use crate::job::{Job, Running, some_time};
use crate::topics::{Record, Topic, name};

/// How often one looks for something that comes within a second.
const LOOKS: usize = 400;

/// A job that writes the values of a topic to a file. `fields` are the source's.
fn copy(topic: &str, fields: &str) -> Job {
    Job::new(&format!(
        "name: copy\n\
         checkpoint: {{ interval: 30ms, storage: checkpoints }}\n\
         sources:\n  in:\n    kafka: {{ brokers: BROKERS, topic: {topic}, {fields} }}\n\
         \x20   format: {{ raw: {{ value: string }} }}\n\
         sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n"
    ))
}

/// The values in a job's output, sorted.
fn values(job: &Job) -> Vec<String> {
    let value = |line: String| {
        let row: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        row["value"].as_str().expect("text").to_owned()
    };
    let mut values: Vec<String> = job.lines("out.jsonl").into_iter().map(value).collect();
    values.sort();
    values
}

fn numbered(stem: &str, numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("{stem}{number:04}")).collect()
}

#[test]
fn a_bounded_source_reads_what_was_there_and_ends() {
    let topic = Topic::new("bounded", 3);
    for partition in 0..2 {
        topic.values(partition, numbered(&format!("{partition}-"), 0..500));
    }
    let job = copy(&topic.name, "stop: end");
    job.finish(2);
    let expected = [numbered("0-", 0..500), numbered("1-", 0..500)].concat();
    assert_eq!(values(&job), expected);
    // It has come to the end that it had at first.
    topic.values(2, ["late"]);
    let said = job.finish(1);
    assert!(said.contains("nothing left to do"), "{said}");
    assert_eq!(values(&job), expected);
}

#[test]
fn a_topic_without_records_ends_at_once() {
    let topic = Topic::new("empty", 2);
    let job = copy(&topic.name, "stop: end");
    job.finish(2);
    assert_eq!(values(&job), Vec::<String>::new());
}

#[test]
fn latest_begins_behind_what_was_there() {
    let topic = Topic::new("latest", 2);
    topic.values(0, numbered("old", 0..10));
    let job = copy(&topic.name, "start: latest");
    let mut running = job.start(2);
    // The first checkpoint holds where both partitions begin, before any record has come.
    job.wait_for_checkpoint(&mut running);
    running.kill();
    topic.values(0, numbered("a", 0..10));
    topic.values(1, numbered("b", 0..10));
    let mut running = job.start(1);
    job.wait_for(&mut running, "out.jsonl", 20);
    running.stop();
    let expected = [numbered("a", 0..10), numbered("b", 0..10)].concat();
    assert_eq!(values(&job), expected);
}

#[test]
fn a_time_begins_with_the_first_record_that_is_not_older() {
    let topic = Topic::new("time", 2);
    let day = 86_400_000;
    let records = |stem: &'static str, days: std::ops::Range<i64>| {
        days.map(move |at| Record {
            time_ms: Some(1_772_323_200_000 + at * day),
            ..Record::of(format!("{stem}{at}"))
        })
    };
    topic.write(0, records("a", 0..5));
    topic.write(1, records("b", 0..2));
    // 2026-03-01 is day 0.
    let job = copy(
        &topic.name,
        "start: { timestamp: \"2026-03-04T00:00:00Z\" }, stop: end",
    );
    job.finish(2);
    assert_eq!(values(&job), ["a3", "a4"]);
}

#[test]
fn offsets_and_groups_say_where_to_begin() {
    let topic = Topic::new("offsets", 2);
    topic.values(0, numbered("a", 0..10));
    topic.values(1, numbered("b", 0..10));
    let start = format!(
        "start: {{ offsets: {{ {}: {{ 0: 7 }} }} }}, stop: end",
        topic.name
    );
    let job = copy(&topic.name, &start);
    job.finish(2);
    let from_seven = [numbered("a", 7..10), numbered("b", 0..10)].concat();
    assert_eq!(values(&job), from_seven);

    let start = format!(
        "start: {{ offsets: {{ {}: {{ 0: 11 }} }} }}, stop: end",
        topic.name
    );
    let (code, said) = copy(&topic.name, &start).fail(1);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("has no offset 11 to begin with: it holds 0 to 10"),
        "{said}"
    );

    let group = name("group");
    topic.commit(&group, 0, 4);
    let job = copy(
        &topic.name,
        &format!("start: {{ group: {group} }}, stop: end"),
    );
    job.finish(2);
    let from_four = [numbered("a", 4..10), numbered("b", 0..10)].concat();
    assert_eq!(values(&job), from_four);
}

#[test]
fn aborted_records_are_never_seen_and_leave_gaps_that_do_not_matter() {
    let topic = Topic::new("aborted", 1);
    let mut expected = Vec::new();
    for round in 0..6 {
        let values = numbered(&format!("{round}-"), 0..20);
        let commits = round % 2 == 0;
        topic.transaction(0, &values, commits);
        if commits {
            expected.extend(values);
        }
    }
    let job = copy(&topic.name, "stop: end");
    job.finish(2);
    assert_eq!(values(&job), expected);
}

#[test]
fn new_partitions_and_topics_are_found_while_the_job_runs() {
    let stem = name("found");
    let pattern = format!("{stem}-[a-z]+");
    let document = |topics: &str| {
        format!(
            "name: found\n\
             checkpoint: {{ interval: 30ms, storage: checkpoints }}\n\
             sources:\n  in:\n    kafka:\n      brokers: BROKERS\n      {topics}\n\
             \x20     start: latest\n      discover-every: 200ms\n      message: {{ at: offset, \
             of: topic, p: partition }}\n\
             \x20   format: {{ raw: {{ value: string }} }}\n\
             sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n"
        )
    };
    let job = Job::new(&document(&format!("topic-pattern: \"{pattern}\"")));
    // Nothing matches yet.
    let mut running = job.start(2);
    job.wait_for_checkpoint(&mut running);
    let first = Topic::named(format!("{stem}-a"), 1);
    let other = Topic::named(format!("{stem}-1"), 1);
    first.values(0, numbered("a", 0..5));
    other.values(0, numbered("no", 0..5));
    job.wait_for(&mut running, "out.jsonl", 5);
    first.grow(3);
    first.values(2, numbered("b", 0..5));
    job.wait_for(&mut running, "out.jsonl", 10);
    running.stop();
    // Made while nobody looked: they begin with their oldest record, too.
    let second = Topic::named(format!("{stem}-b"), 1);
    second.values(0, numbered("c", 0..5));
    first.grow(4);
    first.values(3, numbered("d", 0..5));
    let mut running = job.start(2);
    job.wait_for(&mut running, "out.jsonl", 20);
    running.stop();
    let mut places: BTreeMap<(String, u64), Vec<u64>> = BTreeMap::new();
    for line in job.lines("out.jsonl") {
        let row: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let topic = row["of"].as_str().expect("text").to_owned();
        let place = (topic, row["p"].as_u64().expect("a number"));
        places
            .entry(place)
            .or_default()
            .push(row["at"].as_u64().expect("a number"));
    }
    let all: Vec<u64> = (0..5).collect();
    let expected = [(&first, 0), (&first, 2), (&first, 3), (&second, 0)];
    let expected =
        expected.map(|(topic, partition)| ((topic.name.clone(), partition), all.clone()));
    assert_eq!(places, BTreeMap::from(expected));
}

/// Waits until a group is told these offsets, while the job runs.
fn wait_for_group(running: &mut Running, topic: &Topic, group: &str, offsets: [i64; 2]) {
    let offsets = offsets.map(Some);
    let mut told = Vec::new();
    for _ in 0..LOOKS {
        told = topic.committed(group);
        if told == offsets {
            return;
        }
        assert!(!running.has_ended(), "the job has ended");
        some_time(50);
    }
    assert_eq!(told, offsets, "what `{group}` is told");
}

#[test]
fn a_group_is_shown_the_offsets_and_nothing_is_read_from_it() {
    let topic = Topic::new("shown", 2);
    topic.values(0, numbered("a", 0..10));
    topic.values(1, numbered("b", 0..20));
    let group = name("shown");
    let job = copy(&topic.name, &format!("group: {group}"));
    let mut running = job.start(2);
    wait_for_group(&mut running, &topic, &group, [10, 20]);
    topic.values(1, numbered("b", 20..25));
    wait_for_group(&mut running, &topic, &group, [10, 25]);
    running.stop();
    topic.values(0, numbered("a", 10..15));
    topic.values(1, numbered("b", 25..30));
    // Whoever went by these would read rows again, and leave others out.
    topic.commit(&group, 0, 3);
    topic.commit(&group, 1, 28);
    let mut running = job.start(1);
    wait_for_group(&mut running, &topic, &group, [15, 30]);
    running.stop();
    let expected = [numbered("a", 0..15), numbered("b", 0..30)].concat();
    assert_eq!(values(&job), expected);
}

/// A job that counts the rows of each ten seconds. `fields` are the source's, and `more` is about
/// event times.
fn windows(topic: &Topic, fields: &str, more: &str) -> Job {
    Job::new(&format!(
        "name: windows\n\
         checkpoint: {{ interval: 30ms, storage: checkpoints }}\n\
         sources:\n  in:\n    kafka: {{ brokers: BROKERS, topic: {}{fields} }}\n\
         \x20   format: {{ json: {{ at: timestamp }}, timestamp: seconds }}\n\
         \x20   event-time: {{ column: at{more} }}\n\
         operators:\n  counts:\n    input: in\n    window: {{ tumbling: 10s }}\n\
         \x20   aggregates: {{ n: {{ count: rows }} }}\n\
         sinks:\n  out: {{ input: counts, file: {{ path: out.jsonl }} }}\n",
        topic.name
    ))
}

fn seconds(seconds: impl IntoIterator<Item = u32>) -> impl Iterator<Item = String> {
    let row = |at| format!("{{\"at\":{at}}}");
    seconds.into_iter().map(row)
}

/// How many rows each window has that is out.
fn counts(job: &Job) -> Vec<u64> {
    let lines = job.lines("out.jsonl");
    let count = |line: &String| {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        row["n"].as_u64().expect("a number")
    };
    lines.iter().map(count).collect()
}

/// Writes a row of this second again and again, so that its partition is not idle, until so many
/// windows are out; gives how many rows that took.
fn feed(job: &Job, running: &mut Running, row: impl Fn(), windows: usize) -> u64 {
    let mut rows = 0;
    while counts(job).len() < windows {
        assert!(!running.has_ended(), "the job has ended");
        assert!(rows < LOOKS as u64, "the window is held back");
        row();
        rows += 1;
        some_time(20);
    }
    rows
}

#[test]
fn an_empty_partition_that_is_idle_holds_no_window_back() {
    let topic = Topic::new("idle", 2);
    let row = |partition, second| topic.values(partition, seconds([second]));
    topic.values(0, seconds([1, 2, 3]));
    let job = windows(&topic, "", ", idle-after: 200ms");
    let mut running = job.start(2);
    let second = feed(&job, &mut running, || row(0, 11), 1);
    let third = feed(&job, &mut running, || row(0, 21), 2);
    // Rows come where none were, and now the other one is idle.
    feed(&job, &mut running, || row(1, 31), 3);
    running.stop();
    assert_eq!(counts(&job), [3, second, third]);
}

#[test]
fn an_empty_partition_holds_windows_back_otherwise() {
    let topic = Topic::new("not-idle", 2);
    topic.values(0, seconds([1, 2, 3, 11, 25]));
    let group = name("not-idle");
    let job = windows(&topic, &format!(", group: {group}"), "");
    let mut running = job.start(2);
    // A checkpoint with all rows is decided, and what came out before it stands in the output.
    wait_for_group(&mut running, &topic, &group, [5, 0]);
    job.wait_for_checkpoint(&mut running);
    assert_eq!(counts(&job), Vec::<u64>::new());
    topic.values(1, seconds([12, 13]));
    job.wait_for(&mut running, "out.jsonl", 1);
    running.stop();
    assert_eq!(counts(&job), [3]);
}

//! What goes wrong has a name and a remedy, and nothing is skipped silently.

use std::net::{SocketAddr, TcpListener};

use crate::job::{Job, said};
use crate::topics::{Topic, name};

fn copy(topic: &str, fields: &str) -> Job {
    Job::new(&document(topic, fields))
}

fn document(topic: &str, fields: &str) -> String {
    format!(
        "name: copy\n\
         restart: none\n\
         checkpoint: {{ interval: 30ms, storage: checkpoints }}\n\
         sources:\n  in:\n    kafka: {{ topic: {topic}, {fields} }}\n\
         \x20   format: {{ raw: {{ value: string }} }}\n\
         sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n"
    )
}

fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
}

#[test]
fn a_topic_that_is_not_there() {
    let topic = name("missing");
    let (code, said) = copy(&topic, "brokers: BROKERS").fail(1);
    assert_eq!(code, Some(2), "{said}");
    says(
        &said,
        &["there is no topic", &topic, "make it, or mend its name"],
    );
}

/// Nobody listens there: the port was free a moment ago.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

#[test]
fn a_job_that_waits_for_brokers_can_be_stopped() {
    let address = nobody();
    let job = copy("t", &format!("brokers: \"{address}\""));
    let mut running = job.start(1);
    running.wait_until_said("away");
    let output = running.stop();
    assert_eq!(output.status.code(), Some(143), "{}", said(&output));
}

#[test]
fn brokers_that_do_not_answer() {
    let address = nobody();
    let fields = format!("brokers: \"{address}\", give-up-after: 1s");
    let (code, said) = copy("t", &fields).fail(1);
    // The document may be right.
    assert_eq!(code, Some(1), "{said}");
    says(
        &said,
        &[
            &format!("the cluster `{address}` has been away for"),
            "nothing is lost",
            "`give-up-after`",
            "Connection refused",
        ],
    );
}

#[test]
fn a_login_that_is_refused_fails_at_once() {
    let fields = "brokers: BROKERS, options: { security.protocol: SSL }";
    let (_, said) = copy("t", fields).fail(1);
    says(
        &said,
        &["refuses the connection", "look at `security.protocol`"],
    );
}

#[test]
fn records_that_were_deleted_before_they_were_read() {
    let topic = Topic::new("deleted", 1);
    topic.values(0, (0..10).map(|n| format!("a{n}")));
    let job = copy(&topic.name, "brokers: BROKERS");
    let mut running = job.start(1);
    job.wait_for(&mut running, "out.jsonl", 10);
    running.stop();
    topic.values(0, (0..10).map(|n| format!("b{n}")));
    topic.delete_before(0, 15);
    let (code, said) = job.fail(1);
    assert_eq!(code, Some(2), "{said}");
    let split = format!("`{}/0`", topic.name);
    says(
        &said,
        &[
            &split,
            "has no record 10 to go on with",
            "`retention.ms`",
            "--fresh",
        ],
    );
    assert_eq!(job.lines("out.jsonl").len(), 10);
}

#[test]
fn a_topic_that_is_deleted_while_it_is_read() {
    let topic = Topic::new("gone", 2);
    topic.values(0, (0..10).map(|n| format!("a{n}")));
    let job = copy(&topic.name, "brokers: BROKERS, discover-every: 200ms");
    let mut running = job.start(1);
    job.wait_for(&mut running, "out.jsonl", 10);
    topic.delete();
    let output = running.end();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    says(&said, &[&topic.name, "its topic was deleted", "--fresh"]);
    assert_eq!(job.lines("out.jsonl").len(), 10);
}

#[test]
fn a_topic_that_was_made_anew_and_is_shorter() {
    let name = name("anew");
    let topic = Topic::named(name.clone(), 1);
    topic.values(0, (0..10).map(|n| format!("a{n}")));
    let job = copy(&name, "brokers: BROKERS");
    let mut running = job.start(1);
    job.wait_for(&mut running, "out.jsonl", 10);
    running.stop();
    drop(topic);
    let topic = Topic::named(name, 1);
    topic.values(0, (0..5).map(|n| format!("b{n}")));
    let (code, said) = job.fail(1);
    assert_eq!(code, Some(2), "{said}");
    says(&said, &["the topic was made anew", "--fresh"]);
}

#[test]
fn another_topic_in_place_of_one_that_was_read() {
    let (old, new) = (Topic::new("old", 1), Topic::new("new", 1));
    old.values(0, (0..10).map(|n| format!("a{n}")));
    new.values(0, (0..5).map(|n| format!("b{n}")));
    let job = copy(&old.name, "brokers: BROKERS");
    let mut running = job.start(1);
    job.wait_for(&mut running, "out.jsonl", 10);
    running.stop();
    job.write(&document(&new.name, "brokers: BROKERS"));
    let mut running = job.start(1);
    job.wait_for(&mut running, "out.jsonl", 15);
    let said = said(&running.stop());
    says(&said, &["read no further", &format!("{}/0", old.name)]);
}

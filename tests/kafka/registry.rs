//! Records whose schemas are in a real registry, through a real topic: what one job writes another
//! one reads, beside records of older schemas and of strangers.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::job::{self, Job};
use crate::topics::Topic;

/// Where the registry of all tests is.
fn registry() -> String {
    std::env::var("SCHEMA_REGISTRY_URL").expect(
        "run `cargo xtask test`, or set SCHEMA_REGISTRY_URL to what `cargo xtask registry up` says",
    )
}

/// The registry's address, and the path of its interface.
fn parts() -> (String, String) {
    let url = registry();
    let rest = url.strip_prefix("http://").expect("it is on loopback");
    let (host, base) = rest.split_once('/').unwrap_or((rest, ""));
    (host.into(), base.into())
}

/// What the registry answers; it must be a success.
fn ask(method: &str, path: &str, body: &Value) -> Value {
    let (host, base) = &parts();
    let mut stream = TcpStream::connect(host).expect("the registry is there");
    let body = body.to_string();
    let head = format!(
        "{method} /{base}/{path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {}\r\n\
         Content-Type: application/vnd.schemaregistry.v1+json\r\n\r\n",
        body.len()
    );
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
    assert!(head.contains(" 200 "), "{path}: {answer}");
    serde_json::from_str(body).expect("JSON")
}

/// Registers a schema; gives its number as it stands before a value.
fn register(subject: &str, schema: &Value) -> [u8; 4] {
    let answer = ask("POST", &format!("subjects/{subject}/versions"), schema);
    let number = answer["id"].as_u64().expect("a number");
    u32::try_from(number).expect("a small one").to_be_bytes()
}

/// A number with all its places.
fn exact(text: &str) -> Value {
    serde_json::from_str(text).expect("a number")
}

/// Has a job write rows of these columns into a topic.
fn write(topic: &Topic, format: &str, columns: &str, rows: &[Value]) {
    let job = Job::new(&format!(
        "name: write\ncheckpoint: off\n\
         sources:\n  in:\n    file: {{ path: in.jsonl }}\n    format: {{ json: {{ {columns} }} }}\n\
         sinks:\n  out:\n    input: in\n    delivery: early\n\
         \x20   kafka: {{ brokers: BROKERS, topic: {} }}\n\
         \x20   format: {{ {format}: {{ registry: {{ url: \"{}\" }}, name: shop.Order }} }}\n",
        topic.name,
        registry()
    ));
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(job.path("in.jsonl"), lines).expect("the folder is writable");
    job.finish(1);
}

/// The rows of these columns in a topic, in its order.
fn read(topic: &Topic, format: &str, columns: &str) -> Vec<Value> {
    let job = Job::new(&format!(
        "name: read\ncheckpoint: off\n\
         sources:\n  in:\n    kafka: {{ brokers: BROKERS, topic: {}, stop: end }}\n\
         \x20   format:\n      {format}: {{ {columns} }}\n\
         \x20     registry: {{ url: \"{}\" }}\n\
         sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n",
        topic.name,
        registry()
    ));
    job.finish(1);
    let lines = job.lines("out.jsonl");
    let parse = |line: &String| serde_json::from_str(line).expect("JSON");
    lines.iter().map(parse).collect()
}

const FIRST: &str = "id: u64, gone: i32, amount: \"decimal(12,2)\", at: timestamp";
const SECOND: &str = "note: \"string?\", id: u64, amount: \"decimal(12,2)\", at: timestamp";

/// Rows of a first and of a second schema, and what a stranger wrote, of whose record `stranger`
/// gives the bytes.
fn goes_through(format: &str, stranger: impl FnOnce(&str) -> Vec<u8>) -> Topic {
    let topic = Topic::new(&format!("registry-{format}"), 1);
    let at = |second: u64| format!("2026-03-01T00:00:{second:02}.250000Z");
    let first: Vec<Value> = (0..20)
        .map(|id| json!({ "id": id, "gone": -1, "amount": exact("1.50"), "at": at(id) }))
        .collect();
    write(&topic, format, FIRST, &first);
    topic.values(0, [stranger(&topic.name)]);
    let second = [
        json!({ "note": "n", "id": u64::MAX, "amount": exact("-0.01"), "at": at(30) }),
        json!({ "note": null, "id": 0, "amount": exact("0.00"), "at": at(31) }),
    ];
    write(&topic, format, SECOND, &second);
    let expected = first.iter().map(
        |row| json!({ "note": null, "id": row["id"], "amount": row["amount"], "at": row["at"] }),
    );
    let mut expected: Vec<Value> = expected.collect();
    let time = "1970-01-01T00:00:01.000000Z";
    expected.push(json!({ "note": "h", "id": 3, "amount": exact("1.50"), "at": time }));
    expected.extend(second);
    assert_eq!(read(&topic, format, SECOND), expected);
    topic
}

/// Leads all who come to an address to the registry, as long as it is not closed.
struct Way {
    is_closed: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Way {
    fn open(from: SocketAddr) -> Self {
        let way = Self {
            is_closed: Arc::default(),
            streams: Arc::default(),
        };
        let listener = TcpListener::bind(from).expect("nobody else took it");
        let (is_closed, streams) = (Arc::clone(&way.is_closed), Arc::clone(&way.streams));
        run(move || {
            for near in listener.incoming() {
                let near = near.expect("a connection");
                if is_closed.load(Ordering::Acquire) {
                    continue;
                }
                let far = TcpStream::connect(parts().0).expect("the registry is there");
                let clone = |stream: &TcpStream| stream.try_clone().expect("a handle");
                for (mut from, mut to) in
                    [(&near, &far), (&far, &near)].map(|(from, to)| (clone(from), clone(to)))
                {
                    run(move || {
                        // Either side may go at any time.
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
                streams.lock().expect("nobody panics").push(near);
            }
        });
        way
    }

    /// Nobody comes through until it is reopened.
    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for stream in self.streams.lock().expect("nobody panics").drain(..) {
            // It may be over.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn reopen(&self) {
        self.is_closed.store(false, Ordering::Release);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the threads end with the test's process"
)]
fn run(body: impl FnOnce() + Send + 'static) {
    thread::spawn(body);
}

/// Nobody listens there: the port was free a moment ago.
fn nobody() -> (SocketAddr, String) {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let nobody = nobody.expect("a free port");
    (nobody, format!("http://{nobody}/{}", parts().1))
}

#[test]
fn a_registry_that_is_away_is_waited_for() {
    const ROWS: usize = 20;
    let topic = Topic::new("registry-away", 1);
    let rows: Vec<Value> = (0..ROWS).map(|id| json!({ "id": id })).collect();
    write(&topic, "avro", "id: u64", &rows);
    let (nobody, url) = nobody();
    let document = |patience: &str| {
        format!(
            "name: away\nrestart: none\ncheckpoint: {{ interval: 50ms, storage: checkpoints }}\n\
             sources:\n  in:\n    kafka: {{ brokers: BROKERS, topic: {}, stop: end }}\n\
             \x20   format:\n      avro: {{ id: u64 }}\n\
             \x20     registry: {{ url: \"{url}\"{patience} }}\n\
             sinks:\n  out: {{ input: in, file: {{ path: out.jsonl }} }}\n",
            topic.name
        )
    };
    let job = Job::new(&document(", give-up-after: 1s"));
    let (code, said) = job.fail(1);
    assert_eq!(code, Some(1), "{said}");
    for part in [&url[..], "was away for 1s", "`give-up-after`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(job.lines("out.jsonl").len(), 0);
    job.write(&document(""));
    let mut running = job.start(1);
    running.wait_until_said("is away; trying again");
    Way::open(nobody);
    let output = running.end();
    assert!(output.status.success(), "{}", job::said(&output));
    let expected: Vec<String> = rows.iter().map(Value::to_string).collect();
    assert_eq!(job.lines("out.jsonl"), expected);
}

#[test]
fn a_sink_whose_registry_is_away_begins_when_it_is_back() {
    let topic = Topic::new("registry-of-sink", 1);
    let (nobody, url) = nobody();
    let document = |patience: &str| {
        format!(
            "name: {}
restart: none
checkpoint: {{ interval: 50ms, storage: checkpoints }}
sources:
  in: {{ generator: {{ records: 2000, columns: {{ id: sequence }} }} }}
sinks:
  out:
    input: in
    kafka: {{ brokers: BROKERS, topic: {}, decides: true }}
    format: {{ avro: {{ registry: {{ url: \"{url}\"{patience} }} }} }}
",
            topic.name, topic.name
        )
    };
    let job = Job::new(&document(", give-up-after: 1s"));
    let (_, said) = job.fail(1);
    for part in [&url[..], "was away for 1s", "`give-up-after`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(topic.count(), 0);
    job.write(&document(""));
    let mut running = job.start(1);
    running.wait_until_said("is away; trying again");
    Way::open(nobody);
    let output = running.end();
    assert!(output.status.success(), "{}", job::said(&output));
    let expected: Vec<Value> = (0..2000).map(|id| json!({ "id": id })).collect();
    assert_eq!(read(&topic, "avro", "id: u64"), expected);
}

/// A schema that is new comes while the registry is away, in a job that runs and writes exactly
/// once.
#[test]
fn a_registry_that_goes_away_while_a_job_runs_loses_and_doubles_nothing() {
    let (from, to) = (
        Topic::new("registry-gone", 1),
        Topic::new("registry-gone-out", 1),
    );
    let (nobody, url) = nobody();
    let way = Way::open(nobody);
    let row = |id: u64| json!({ "id": id });
    let job = Job::new(&format!(
        "name: {}
restart: none
checkpoint: {{ interval: 50ms, storage: checkpoints }}
sources:
  in:
    kafka: {{ brokers: BROKERS, topic: {} }}
    format:
      avro: {{ id: u64 }}
      registry: {{ url: \"{url}\" }}
sinks:
  out:
    input: in
    kafka: {{ brokers: BROKERS, topic: {}, decides: true }}
    format: {{ avro: {{ registry: {{ url: \"{url}\" }} }} }}
",
        from.name, from.name, to.name
    ));
    write(
        &from,
        "avro",
        "id: u64",
        &(0..50).map(row).collect::<Vec<_>>(),
    );
    let mut running = job.start(2);
    while to.count() < 50 {
        assert!(!running.has_ended(), "it follows its topic");
    }
    way.close();
    let more = |id: u64| json!({ "id": id, "more": "m" });
    let rows: Vec<Value> = (50..100).map(more).collect();
    write(&from, "avro", "id: u64, more: string", &rows);
    running.wait_until_said("is away; trying again");
    way.reopen();
    while to.count() < 100 {
        assert!(!running.has_ended(), "it waits for the registry");
    }
    let output = running.stop();
    assert_eq!(output.status.code(), Some(143), "{}", job::said(&output));
    assert_eq!(
        read(&to, "avro", "id: u64"),
        (0..100).map(row).collect::<Vec<_>>()
    );
}

#[test]
fn avro_goes_through_a_topic() {
    goes_through("avro", |topic| {
        let schema = json!({ "type": "record", "name": "Stranger", "fields": [
            { "name": "note", "type": ["null", "string"] },
            { "name": "id", "type": "long" },
            { "name": "amount", "type": "string" },
            { "name": "more", "type": { "type": "array", "items": "int" } },
            { "name": "at", "type": { "type": "long", "logicalType": "timestamp-millis" } } ] });
        let schema = json!({ "schema": schema.to_string() });
        let number = register(&format!("{topic}-stranger"), &schema);
        [
            &[0][..],
            &number,
            b"\x02\x02h\x06\x081.50\x02\x0A\0\xD0\x0F",
        ]
        .concat()
    });
}

#[test]
fn protobuf_goes_through_a_topic() {
    let topic = goes_through("protobuf", |topic| {
        // The file that the stranger's imports is a subject of its own.
        let imported = format!("{topic}-imported");
        let text = "syntax = \"proto3\"; package shop; enum Kind { NONE = 0; SOME = 1; }";
        register(
            &imported,
            &json!({ "schemaType": "PROTOBUF", "schema": text }),
        );
        let text = "syntax = \"proto3\";
            package shop;
            import \"shop/kind.proto\";
            import \"google/protobuf/timestamp.proto\";
            message Other { string x = 1; }
            message Stranger {
              string note = 9;
              uint64 id = 2;
              string amount = 5;
              google.protobuf.Timestamp at = 12;
              shop.Kind kind = 13;
            }";
        let reference = json!({ "name": "shop/kind.proto", "subject": imported, "version": 1 });
        let schema = json!({ "schemaType": "PROTOBUF", "schema": text, "references": [reference] });
        let number = register(&format!("{topic}-stranger"), &schema);
        // One index, which is 1: the second message of the file.
        let message = b"\x02\x02\x62\x02\x08\x01\x2A\x041.50\x4A\x01h\x10\x03\x68\x01";
        [&[0][..], &number, message].concat()
    });
    // The second schema has taken the numbers of the first over, and gives none of them away.
    let path = format!("subjects/{}-value/versions/latest", topic.name);
    let newest = ask("GET", &path, &json!({}));
    assert_eq!(newest["version"], 2, "{newest}");
    let text = newest["schema"].as_str().expect("a text");
    let fields = [
        "reserved 2",
        "reserved \"gone\"",
        "id = 1",
        "amount = 3",
        "note = 5",
    ];
    for part in fields {
        assert!(text.contains(part), "{part}: {text}");
    }
}

mod real;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use wasmill_core::duration::DurationText;

use super::*;

/// Something on loopback that answers each request with what it is told to.
pub(crate) fn answering(
    answer: impl Fn(&str) -> (u16, String) + Send + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    spawn::thread("answering", move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.expect("a connection");
            let mut request = vec![0; 64 << 10];
            let len = stream.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..len]).into_owned();
            counted.fetch_add(1, Ordering::SeqCst);
            let (status, body) = answer(&text);
            let len = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(format!("{head}{body}").as_bytes()).ok();
        }
    });
    (url, asked)
}

pub(crate) fn document(url: &str) -> RegistryDocument {
    RegistryDocument {
        url: url.into(),
        user: None,
        password: None,
        ca: None,
        give_up_after: Some(DurationText(Duration::from_millis(300))),
    }
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

fn open(url: &str) -> Arc<Registry> {
    Registry::open(&document(url)).expect("it can be asked")
}

fn check(status: u16, body: &str, part: &str) {
    let body = body.to_string();
    let (url, _) = answering(move |_| (status, body.clone()));
    let error = wait(open(&url).schema(7))
        .expect_err("it is no answer")
        .to_string();
    assert!(error.contains(part) && error.contains(&url), "{error}");
}

#[test]
fn answers_that_no_registry_gives_are_named() {
    check(
        200,
        "<html>",
        "is no schema registry: it answers `schemas/ids/7`",
    );
    check(200, "{}", "`schemas/ids/7` has no `schema`");
    check(200, "[1]", "no schema registry");
    check(404, "not here", "no schema registry");
    check(404, "{}", "no schema registry");
    check(401, "", "lets nobody in");
    check(
        403,
        r#"{ "error_code": 403, "message": "no" }"#,
        "says `no` (403)",
    );
    check(503, "", "was away for 300ms: 503");
    check(302, "", "no schema registry");
    let large = format!("{{ \"schema\": \"{}\" }}", "x".repeat(9 << 20));
    check(200, &large, "longer than");
}

#[test]
fn a_registry_that_is_away_is_waited_for() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", gone.local_addr().expect("it is bound"));
    drop(gone);
    let error = wait(open(&url).schema(1)).expect_err("nobody is there");
    assert!(matches!(error, RegistryError::Away { .. }), "{error}");
    assert!(!error.is_lasting());
    assert!(
        error.to_string().contains("say a longer `give-up-after`"),
        "{error}"
    );
    let count = AtomicUsize::new(0);
    let (url, asked) = answering(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => (500, String::new()),
        1 => (429, String::new()),
        _ => (200, r#"{ "schema": "\"int\"" }"#.into()),
    });
    let registry = Registry::open(&RegistryDocument {
        give_up_after: None,
        ..document(&url)
    });
    let registry = registry.expect("it can be asked");
    let known = wait(registry.schema(1)).expect("it came back");
    assert!(matches!(known, Known::Schema(text) if text.text == "\"int\""));
    wait(registry.schema(1)).expect("it is known");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn whoever_waits_is_woken_by_a_stop() {
    let (url, _) = answering(|_| (500, String::new()));
    let registry = Registry::open(&RegistryDocument {
        give_up_after: None,
        ..document(&url)
    });
    let registry = registry.expect("it can be asked");
    registry.stop();
    let error = wait(registry.schema(1)).expect_err("it was stopped");
    assert!(matches!(error, RegistryError::Stopped { .. }), "{error}");
}

#[test]
fn numbers_without_a_schema_are_no_failure() {
    let (url, asked) = answering(|_| {
        let body = r#"{ "error_code": 40403, "message": "Schema not found" }"#;
        (404, body.into())
    });
    let registry = open(&url);
    for _ in 0..2 {
        let known = wait(registry.schema(9)).expect("an answer");
        let Known::Nothing(reason) = known else {
            panic!("{known:?}");
        };
        assert!(
            reason.contains("no schema 9: it says `Schema not found`"),
            "{reason}"
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn references_come_before_those_that_need_them() {
    let (url, _) = answering(|request| {
        let refers = |name: &str| {
            format!(r#"[{{ "name": "{name}", "subject": "s/{name}", "version": 1 }}]"#)
        };
        let body = match request.split(' ').nth(1).expect("a path") {
            "/schemas/ids/1" => {
                format!(r#"{{ "schema": "one", "references": {} }}"#, refers("b"))
            }
            "/subjects/s%2Fb/versions/1" => {
                format!(r#"{{ "schema": "two", "references": {} }}"#, refers("c"))
            }
            "/subjects/s%2Fc/versions/1" => r#"{ "schema": "three" }"#.into(),
            other => panic!("{other}"),
        };
        (200, body)
    });
    let known = wait(open(&url).schema(1)).expect("an answer");
    let Known::Schema(text) = known else {
        panic!("{known:?}");
    };
    let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
    assert_eq!(text.references, [pair("c", "three"), pair("b", "two")]);
}

#[test]
fn incompatible_schemas_are_named() {
    let (url, _) = answering(|request| match request.contains("/versions ") {
        true => (
            409,
            r#"{ "error_code": 409, "message": "`x` is gone" }"#.into(),
        ),
        false => (
            404,
            r#"{ "error_code": 40401, "message": "no subject" }"#.into(),
        ),
    });
    let mut schema = Registration {
        subject: "t-value".into(),
        language: "AVRO",
        text: "\"int\"".into(),
        add: true,
    };
    let error = wait(open(&url).register(schema.clone()))
        .expect_err("409")
        .to_string();
    assert!(
        error.contains("cannot follow the one that `t-value` has"),
        "{error}"
    );
    schema.add = false;
    let error = wait(open(&url).register(schema))
        .expect_err("404")
        .to_string();
    assert!(
        error.contains("register it, or remove `register`"),
        "{error}"
    );
}

#[test]
fn the_newest_version_of_a_subject_is_there_or_not() {
    let (url, _) = answering(|request| match request.split(' ').nth(1).expect("a path") {
        "/subjects/new/versions/latest" => (
            404,
            r#"{ "error_code": 40401, "message": "no subject" }"#.into(),
        ),
        "/subjects/old/versions/latest" => (
            200,
            r#"{ "schema": "x", "schemaType": "PROTOBUF", "id": 7 }"#.into(),
        ),
        _ => (422, r#"{ "error_code": 422, "message": "what?" }"#.into()),
    });
    let registry = open(&url);
    assert_eq!(wait(registry.latest("new".into())), Ok(None));
    let found = wait(registry.latest("old".into())).expect("an answer");
    assert_eq!(found.expect("it is there").language, "PROTOBUF");
    let error = wait(registry.latest("other".into())).expect_err("it refuses");
    assert!(
        error.to_string().contains("refuses `subjects/other"),
        "{error}"
    );
}

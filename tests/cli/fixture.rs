//! `wasmill plugin test`: fixtures with rows, state and timers before and after.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use wasmill_tests::root;

use crate::program::{Ran, component, run};

/// Holds a component against a folder's fixtures.
fn test(folder: &Path, plugin: &str) -> Ran {
    let component = component(plugin).display().to_string();
    let folder = folder.display().to_string();
    run(
        &root(),
        &["plugin", "test", &folder, "--plugin", &component],
    )
}

#[test]
fn every_plugin_holds_its_fixtures() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("plugins")).expect("plugins") {
        let folder = entry.expect("an entry").path();
        if folder.join("tests").is_dir() {
            let name = folder
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let ran = test(&folder, &name).ended(0);
            assert!(
                ran.out.starts_with("ok     ") && ran.out.ends_with("1 passed, 0 failed\n"),
                "{}",
                ran.out
            );
            count += 1;
        }
    }
    assert!(count >= 7, "{count} plugins have fixtures");
}

/// What is wrong about a fixture.
type Change = fn(&mut Json);

/// The fixture of count-by-key after a change.
fn changed(change: impl FnOnce(&mut Json)) -> Ran {
    changed_of("count-by-key", "total.json", change)
}

/// A plugin's fixture after a change; in a folder of its own.
fn changed_of(plugin: &str, file: &str, change: impl FnOnce(&mut Json)) -> Ran {
    let text = fs::read_to_string(root().join(format!("plugins/{plugin}/tests/{file}")));
    let mut fixture: Json = serde_json::from_str(&text.expect("the fixture")).expect("JSON");
    change(&mut fixture);
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("tests")).expect("ours");
    let file = folder.path().join("tests").join(file);
    fs::write(file, fixture.to_string()).expect("ours");
    test(folder.path(), plugin)
}

#[test]
fn an_aggregate_holds_its_fixture_in_parts_too() {
    let ran = test(
        &root().join("examples/custom-aggregate/plugin"),
        "median-gap",
    )
    .ended(0);
    assert!(ran.out.ends_with("1 passed, 0 failed\n"), "{}", ran.out);
}

#[test]
fn fixtures_name_the_input_that_their_rows_are_of() {
    let folder = root().join("examples/rules-as-data/plugin");
    let ran = test(&folder, "rules-as-data").ended(0);
    assert!(ran.out.ends_with("2 passed, 0 failed\n"), "{}", ran.out);
    let ran = changed(|f| f["input"] = json!("paymnts")).ended(1);
    assert!(ran.out.contains("input"), "{}", ran.out);
    // Rows that go to every subtask belong to no key.
    let fixture = fs::read_to_string(folder.join("tests/rule.json")).expect("the fixture");
    let mut fixture: Json = serde_json::from_str(&fixture).expect("JSON");
    fixture["key-by"] = json!(["rule"]);
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("tests")).expect("ours");
    fs::write(folder.path().join("tests/rule.json"), fixture.to_string()).expect("ours");
    let ran = test(folder.path(), "rules-as-data").ended(1);
    assert!(ran.out.contains("remove `key-by`"), "{}", ran.out);
}

#[test]
fn a_difference_fails_and_is_told() {
    let cases: [(Change, &str); 4] = [
        (
            |f| f["expect"]["outputs"]["total"][1]["sum"] = json!(2),
            "outputs.total[1]: expected",
        ),
        (
            |f| f["expect"]["state"][0]["values"]["tally"]["count"] = json!(9),
            "tally",
        ),
        (
            |f| f["expect"]["rejected"] = json!([{ "row": 0, "reason": "no" }]),
            r#"rejected[0]: {"row":0,"reason":"no"} is missing"#,
        ),
        (
            |f| f["expect"]["fault"] = json!("overflow"),
            "expected a fault with `overflow`",
        ),
    ];
    for (change, message) in cases {
        let ran = changed(change).ended(1);
        assert!(ran.out.starts_with("failed "), "{}", ran.out);
        assert!(ran.out.contains(message), "{message}: {}", ran.out);
    }
}

#[test]
fn timers_that_differ_are_told_as_a_fixture_writes_them() {
    let ran = changed_of("tumbling-count", "windows.json", |f| {
        f["expect"]["timers"][0]["time"] = json!("2026-01-31T10:03:00Z");
    });
    let ran = ran.ended(1);
    for (time, told) in [("10:03", "is missing"), ("10:02", "was not expected")] {
        let time = format!("2026-01-31T{time}:00Z");
        let timer = json!({ "key": { "page": "/a" }, "timer": "close", "time": time });
        let line = format!("timers: {timer} {told}");
        assert!(ran.out.contains(&line), "{line}: {}", ran.out);
    }
}

#[test]
fn the_state_before_is_what_the_plugin_sees() {
    let ran = changed(|f| f["state"] = json!([])).ended(1);
    assert!(
        ran.out.contains("outputs.total[0]: expected"),
        "{}",
        ran.out
    );
}

#[test]
fn each_mistake_in_a_fixture_is_a_line_with_its_place() {
    let ran = changed(|f| {
        f["expct"] = f["expect"].take();
        f.as_object_mut().expect("an object").remove("expect");
    })
    .ended(2);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.err);
    for (line, message) in lines.iter().zip([
        "total.json:1:1: the field `expect` is missing",
        "expct: there is no field `expct` here; did you mean `expect`?",
    ]) {
        assert!(
            line.starts_with("wasmill: /") && line.contains("total.json:1:"),
            "{line}"
        );
        assert!(line.ends_with(message), "{line}");
    }
    let ran = changed(|f| f["expect"]["rejected"] = json!([{ "row": 0, "reason": "no" }])).ended(1);
    assert!(
        ran.err.ends_with("wasmill: 1 fixture failed\n"),
        "{}",
        ran.err
    );
}

#[test]
fn a_mistake_in_a_fixture_has_its_place() {
    let cases: [(Change, &str); 5] = [
        (|f| f["expct"] = json!({}), "did you mean `expect`?"),
        (|f| f["fixture"] = json!(2), "fixture"),
        (|f| f["rows"][0]["acount"] = json!(1), "acount"),
        (|f| f["rows"][0]["account"] = json!("one"), "account"),
        (
            |f| f["state"][0]["values"] = json!({ "taly": null }),
            "did you mean `tally`?",
        ),
    ];
    for (change, message) in cases {
        let ran = changed(change);
        assert!(ran.code == 1 || ran.code == 2, "{ran:?}");
        assert!(
            ran.out.contains(message) || ran.err.contains(message),
            "{message}: {ran:?}"
        );
    }
}

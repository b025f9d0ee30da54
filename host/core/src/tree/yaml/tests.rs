use super::super::{Path, parse};
use super::*;

fn json(text: &str) -> String {
    parse(text)
        .unwrap_or_else(|e| panic!("{text}: {e}"))
        .to_json()
        .to_string()
}

#[test]
fn scalars_follow_the_core_schema() {
    assert_eq!(
        json("[1, -2, +3, 1.50, 0x1f, 007, .5, 1e3, 12345678901234567890123]"),
        "[1,-2,3,1.50,31,7,0.5,1e+3,12345678901234567890123]"
    );
    assert_eq!(
        json("[~, true, 'true', \"1\", 1a, 1.2.3, --, null]"),
        r#"[null,true,"true","1","1a","1.2.3","--",null]"#
    );
}

#[test]
fn json_is_read_as_it_is() {
    let text = "{\n\t\"a\": [1, {\"b\": null}],\n\t\"c\": \"x\\u00e9\\n\"\n}";
    assert_eq!(json(text), r#"{"a":[1,{"b":null}],"c":"xé\n"}"#);
}

#[test]
fn every_node_knows_its_place() {
    let tree = parse("a:\n  - x\n  - b: 1\n").expect("a document");
    let place = tree.locate(&Path::keys(&["a"]).index(1).key("b"));
    assert_eq!((place.line, place.column), (3, 8));
    assert_eq!(
        tree.locate(&Path::keys(&["a", "nowhere"])),
        Position { line: 1, column: 1 }
    );
}

#[test]
fn mistakes_are_told_with_their_place() {
    let check = |text: &str, line: u32, part: &str| {
        let error = parse(text).expect_err(text);
        assert_eq!(error.position.line, line, "{text}: {error}");
        assert!(error.message.contains(part), "{error}");
    };
    check("a: 1\na: 2\n", 2, "stands twice");
    check("a: 1\n---\nb: 2\n", 2, "second");
    check("", 1, "empty");
    check("a: !!binary x", 1, "tag");
    check("a: [b: {\n", 2, "node content");
    check("? [a]\n: 1\n", 1, "key must be text");
    check(&"[".repeat(100), 1, "nests deeper");
}

#[test]
fn aliases_cannot_blow_a_document_up() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{items}]\n");
    }
    let error = parse(&bomb).expect_err("a bomb");
    assert!(error.message.contains("more than"), "{error}");
    assert_eq!(
        json("a: &x {k: 1}\nb: *x\n"),
        r#"{"a":{"k":1},"b":{"k":1}}"#
    );
}

mod joins;
mod windows;

use serde_json::{Value as Json, json};

use super::*;

/// Descriptors of plugins that exist only here, by the name that documents give them.
pub(crate) fn plugin(name: &str) -> Result<Arc<Descriptor>, String> {
    let columns = |list: &[(&str, &str)]| -> Json {
        let column = |(name, of): &(&str, &str)| json!({ "name": name, "type": of });
        list.iter().map(column).collect()
    };
    let row = columns(&[("account", "u64"), ("amount", "decimal(14,2)")]);
    let input =
        |time: bool, columns: &Json| json!([{ "name": "rows", "time": time, "columns": columns }]);
    let mut json = json!({
        "descriptor": 1, "name": "p", "version": "1.0.0", "inputs": input(false, &row),
        "outputs": [{ "name": "out", "columns": row }, { "name": "side", "columns": row }],
    });
    match name {
        "filter.wasm" => {}
        "rules.wasm" => {
            json["states"] = json!([{ "name": "n", "kind": "value", "type": "u64" }]);
            json["config"] = json!({
                "type": "object", "additionalProperties": false,
                "properties": { "max": { "type": "integer", "minimum": 1, "default": 5 } },
            });
        }
        "timers.wasm" => json["timers"] = json!([{ "name": "flush" }]),
        "features.wasm" => {
            let row = columns(&[
                ("account", "u64"),
                ("spent", "decimal(38,2)"),
                ("note", "string?"),
            ]);
            json["inputs"] = input(true, &row);
            json["features"] = json!([{ "name": "spent", "sum": "amount", "over": "1h" }]);
        }
        "spread.wasm" | "ranked.wasm" => {
            json["inputs"] = input(false, &columns(&[("value", "decimal(38,2)")]));
            json["outputs"] = json!([]);
            json["aggregate"] = json!({
                "accumulator": "list<i64>", "result": "f64?", "merges": name == "spread.wasm",
            });
        }
        "nothing.wasm" => json["outputs"] = json!([]),
        "changelog.wasm" => json["inputs"][0]["changelog"] = json!(true),
        "join.wasm" => {
            json["inputs"] = json!([
                { "name": "left", "columns": row }, { "name": "right", "columns": row }]);
        }
        other => return Err(format!("there is no file `{other}`")),
    }
    Ok(Arc::new(
        Descriptor::parse(&json.to_string()).unwrap_or_else(|e| panic!("{e}")),
    ))
}

pub(crate) const SOURCE: &str = "\
name: test
sources:
  transactions:
    file: { path: in.jsonl }
    format:
      json: { account: u32, amount: \"decimal(12,2)\", at: timestamp, tags: { type: \"list<string>?\" } }
    event-time: { column: at, out-of-orderness: 5s }
    on-error: { dead-letter: rejects }
sinks:
  rejects: { file: { path: rejects.jsonl } }
  alerts: { input: rules, stdout: {} }
operators:
  rules:
    input: transactions
    key-by: [account]
    plugin: rules.wasm
";

pub(crate) fn pipeline(text: &str) -> Result<Pipeline, PipelineErrors> {
    parse(text)?.validate(&plugin)
}

fn pipeline_of(text: &str) -> Result<Pipeline, PipelineErrors> {
    pipeline(text)
}

fn sound(text: &str) -> Pipeline {
    pipeline(text).unwrap_or_else(|e| panic!("{e}"))
}

/// The source, with a change, must give an error that contains `part`.
fn check(from: &str, to: &str, part: &str) {
    assert!(SOURCE.contains(from), "{from}");
    let text = SOURCE.replacen(from, to, 1);
    let errors = pipeline(&text).map(|_| ()).expect_err(part).to_string();
    assert!(errors.contains(part), "{errors}");
}

#[test]
fn a_sound_document_becomes_a_graph() {
    let pipeline = sound(SOURCE);
    let rules = &pipeline.operators[0];
    assert_eq!(
        rules.plugin().expect("a plugin").config,
        json!({ "max": 5 })
    );
    assert!(rules.inputs[0].columns[0].widened, "u32 is read as u64");
    assert_eq!(rules.inputs[0].key_columns, [0]);
    let names: Vec<&str> = pipeline.streams.iter().map(|s| s.name.as_str()).collect();
    let wanted = [
        "dead letters of rejects",
        "transactions",
        "transactions.late",
        "rules",
        "rules.side",
    ];
    assert_eq!(names, wanted);
    assert_eq!(
        pipeline.sources[0].on_error,
        Policy::DeadLetter(StreamId(0))
    );
    assert_eq!(pipeline.warnings.len(), 1, "{:?}", pipeline.warnings);
}

#[test]
fn json_is_the_same_document() {
    let tree = tree::parse(SOURCE).expect("a document");
    let json = serde_json::to_string_pretty(&tree.to_json()).expect("JSON");
    assert_eq!(sound(&json).streams.len(), sound(SOURCE).streams.len());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn every_mistake_has_its_place_and_the_nearest_word() {
    check(
        "input: transactions",
        "input: transaction",
        "14:12: operators.rules.input: there is no stream `transaction`; did you mean `transactions`?",
    );
    check(
        "key-by: [account]",
        "key-by: [acount]",
        "15:14: operators.rules.key-by[0]: there is no column `acount`; did you mean `account`?",
    );
    check(
        "key-by: [account]",
        "key_by: [account]",
        "did you mean `key-by`?",
    );
    check("    key-by: [account]\n", "", "add `key-by: [COLUMN]`");
    check("column: at", "column: att", "did you mean `at`?");
    check(
        "column: at",
        "column: amount",
        "event time is a `timestamp`, and `amount` is decimal(12,2)",
    );
    check("input: rules", "input: rule", "did you mean `rules`?");
    check(
        "input: rules",
        "input: [rules, transactions]",
        "equal columns",
    );
    check(
        "input: rules",
        "input: transactions.late, file: {path: x}",
        "here stand `file`, `stdout`",
    );
    check(
        "dead-letter: rejects",
        "dead-letter: alerts",
        "has an `input`",
    );
    check(
        "dead-letter: rejects",
        "dead-letter: reject",
        "did you mean `rejects`?",
    );
    check(
        "account: u32",
        "account: u33",
        "there is no type `u33`; did you mean `u32`?",
    );
    check(
        "amount: \"decimal(12,2)\"",
        "amount: decimal(12,2)",
        "in quotes",
    );
    check(
        "account: u32",
        "account: f64",
        "the plugin reads `account` as u64, and the stream has f64",
    );
    check("account: u32", "account: u32?", "may be null");
    check("orderness: 5s", "orderness: 300", "add a unit");
    check("account: u32", "acct: u32", "there is no column `account`");
    check(
        "rules.wasm",
        "rule.wasm",
        "16:13: operators.rules.plugin: there is no file `rule.wasm`",
    );
    check(
        "rules.wasm",
        "rules.wasm\n    config: { max: 0 }",
        "17:20: operators.rules.config.max: 0 is out of range; at least 1",
    );
    check(
        "rules.wasm",
        "rules.wasm\n    config: { mx: 1 }",
        "did you mean `max`?",
    );
    check("rules.wasm", "changelog.wasm", "unstable: true");
    check(
        "rules.wasm",
        "join.wasm",
        "write a mapping from `left`, `right`",
    );
    check(
        "file: { path: in.jsonl }",
        "pulsar: {}",
        "there is no field `pulsar` here; use one of `file`",
    );
    check(
        "file: { path: in.jsonl }",
        "stdin: {}\n    file: {path: x}",
        "keep one of them",
    );
    check("  rules:\n", "  Rules:\n", "is not a name");
    check("  rules:\n", "  transactions:\n", "already");
    check(
        "name: test",
        "name: test\nname: again",
        "`name` stands twice",
    );
    check(
        "in.jsonl }",
        "in.jsonl, compresion: gzip }",
        "did you mean `compression`?",
    );
    check(
        "alerts: {",
        "again: { file: {path: rejects.jsonl}, input: rules}\n  alerts: {",
        "another sink writes to",
    );
}

#[test]
fn several_mistakes_are_told_at_once() {
    let text = SOURCE
        .replace("column: at", "column: att")
        .replace("input: rules", "input: rule");
    let errors = pipeline(&text).expect_err("two mistakes");
    assert!(errors.0.len() >= 2, "{errors}");
    let blamed = errors.to_string();
    assert!(
        !blamed.contains("no stream `transactions`"),
        "a broken source is blamed once: {blamed}"
    );
}

#[test]
fn order_and_timers_need_event_time() {
    check(
        "rules.wasm",
        "rules.wasm\n    order: event-tme",
        "did you mean `event-time`?",
    );
    let without = SOURCE.replace("    event-time: { column: at, out-of-orderness: 5s }\n", "");
    let errors = pipeline(&without.replace("rules.wasm", "timers.wasm")).expect_err("no time");
    assert!(
        errors.to_string().contains("follows event time"),
        "{errors}"
    );
    let text = without.replace("rules.wasm", "rules.wasm\n    order: event-time");
    let errors = pipeline(&text).expect_err("no time");
    assert!(
        errors.to_string().contains("use `order: arrival`"),
        "{errors}"
    );
    let text = SOURCE.replace("rules.wasm", "rules.wasm\n    order: event-time");
    assert!(
        sound(&text)
            .streams
            .iter()
            .any(|stream| stream.name == "rules.late")
    );
}

#[test]
fn features_reach_the_plugin_as_columns() {
    let pipeline = sound(&SOURCE.replace("rules.wasm", "features.wasm"));
    let columns = &pipeline.operators[0].inputs[0].columns;
    assert_eq!(columns[1].origin, ColumnOrigin::Feature(0));
    assert_eq!(columns[2].origin, ColumnOrigin::Null);
    check(
        "rules.wasm",
        "rules.wasm\n    features: { at: { count: rows, over: 1m } }",
        "has a column `at` already",
    );
    check(
        "rules.wasm",
        "rules.wasm\n    features: { f: { sum: amonut, over: 1m } }",
        "operators.rules.features.f.sum: feature `f`: there is no column `amonut`; did you mean `amount`?",
    );
}

#[test]
fn streams_do_not_run_in_a_circle() {
    let text = SOURCE.to_owned()
        + "  a: { input: b, plugin: filter.wasm }\n  b: { input: a.side, plugin: filter.wasm }\n";
    let errors = pipeline(&text).expect_err("a circle").to_string();
    assert!(errors.contains("run in a circle: "), "{errors}");
}

#[test]
fn what_nobody_reads_is_a_warning() {
    let text = SOURCE.replace("input: rules", "input: transactions");
    let pipeline = sound(&text);
    let warnings: Vec<String> = pipeline
        .warnings
        .iter()
        .map(PipelineError::to_string)
        .collect();
    assert!(
        warnings.iter().any(|w| w.contains("nobody reads `rules`")),
        "{warnings:?}"
    );
}

#[test]
fn generators_compute_columns() {
    let text = "\
name: g
sources:
  rows:
    generator:
      records: 10
      splits: 2
      columns:
        account: { hash-mod: 100 }
        amount: { mod: 1000, type: \"decimal(12,2)\" }
        merchant: { text: \"m{mod 50}-{sequence}\" }
        at: { time: { step: 1ms } }
        n: sequence
        rate: { mod: 10, type: f64, scale: 0.25 }
        c: { constant: 1.5 }
    event-time: { column: at }
sinks:
  out: { input: rows, discard: {} }
";
    let pipeline = sound(text);
    let SourceKind::Generator(generator, None) = &pipeline.sources[0].kind else {
        panic!("a generator");
    };
    let types: Vec<String> = generator
        .columns
        .iter()
        .map(|c| crate::data_type::print(c.field.data_type(), c.field.is_nullable()))
        .collect();
    assert_eq!(
        types,
        [
            "u64",
            "decimal(12,2)",
            "string",
            "timestamp",
            "u64",
            "f64",
            "f64"
        ]
    );
    assert_eq!(
        Counter::HashMod(1000).at(1, 0),
        0x9E37_79B9_7F4A_7C15 % 1000
    );
    let wrong = text.replace("{mod 50}", "{mood 50}");
    let errors = pipeline_of(&wrong).expect_err("mood").to_string();
    assert!(errors.contains("`{mood 50}` is not understood"), "{errors}");
}

#[test]
fn a_generator_computes_text_for_a_format() {
    let text = "\
name: test
sources:
  rows:
    generator: { columns: { line: { text: '{{\"k\":{mod 3}}' } } }
    format: { json: { k: u64, absent: string? } }
sinks:
  out: { input: rows, discard: {} }
";
    let pipeline = sound(text);
    let source = &pipeline.sources[0];
    let SourceKind::Generator(generator, Some(_)) = &source.kind else {
        panic!("a generator with a format");
    };
    let parts = [
        TextPart::Literal("{\"k\":".into()),
        TextPart::Number(Counter::Mod(3)),
        TextPart::Literal("}".into()),
    ];
    assert_eq!(
        generator.columns[0].value,
        GeneratorValue::Text(parts.into())
    );
    let names: Vec<&str> = source
        .schema
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    assert_eq!(names, ["k", "absent"]);
    let wrong = text.replace("columns: {", "columns: { n: sequence,");
    let errors = pipeline_of(&wrong).expect_err("two columns").to_string();
    assert!(errors.contains("only where it computes text"), "{errors}");
}

#[test]
fn the_schema_describes_every_field() {
    let schema = schema();
    let text = schema.to_string();
    for field in [
        "key-by",
        "out-of-orderness",
        "dead-letter",
        "error-budget",
        "cpu-per-batch",
    ] {
        assert!(text.contains(field), "{field}");
    }
    assert_eq!(schema["additionalProperties"], json!(false));
}

#[test]
fn what_the_repository_shows_is_a_document() {
    let root =
        std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
            .join("../..");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).expect("a text");
    let manual = read(&root.join("docs/pipeline.md"));
    let fenced = manual.split("```yaml\n").nth(1).expect("an example");
    let mut documents = vec![fenced.split("```").next().expect("its end").to_owned()];
    let template = "host/src/cli/plugin/template/pipeline.yaml.txt";
    documents.push(read(&root.join(template)).replace("NAME", "my-plugin"));
    for example in root
        .join("examples")
        .read_dir()
        .expect("examples")
        .flatten()
    {
        let files = example.path().read_dir().into_iter().flatten().flatten();
        let files = files.map(|file| file.path());
        documents.extend(
            files
                .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
                .map(|p| read(&p)),
        );
    }
    for document in documents {
        parse(&document).unwrap_or_else(|e| panic!("{document}\n{e}"));
    }
}

/// The lines of a document's mistakes, and all of them as text.
fn mistakes(text: &str) -> (Vec<u32>, String) {
    let errors = pipeline(text).map(|_| ()).expect_err(text);
    let lines = errors.0.iter().map(|error| error.position.line);
    (lines.collect(), errors.to_string())
}

#[test]
fn mistakes_of_every_kind_are_told_at_once() {
    let text = SOURCE
        .replace(
            "u32, amount: \"decimal(12,2)\"",
            "u23, amount: \"decimal(2,12)\"",
        )
        .replace("name: test", "nme: test")
        .replace("stdout: {}", "stdot: {}, include: { account: row-id }")
        .replace("plugin: rules.wasm", "plugin: rulse.wasm")
        + "  odd:\n    input: nowhere\n    key_by: [account]\n    plugin: rules.wasm\n    \
           config: { max: 0 }\n";
    let (lines, all) = mistakes(&text);
    // The root lacks a name and has an unknown field; two types; an unknown field of a sink; a
    // plugin that is not there; an unknown stream, an unknown field and a wrong setting.
    assert_eq!(lines, [1, 1, 6, 6, 11, 16, 18, 19, 21], "{all}");
}

#[test]
fn nothing_is_said_twice_of_what_is_cut_out() {
    for (from, to, line) in [
        ("key-by: [account]", "key_by: [account]", 15),
        ("input: transactions", "inptu: transactions", 14),
        ("json: {", "jsn: {", 6),
        ("out-of-orderness: 5s", "out-of-orderness: soon", 7),
        ("rejects: { file: { path", "rejects: { file: { pth", 10),
        ("name: test", "name: [test]", 1),
    ] {
        assert!(SOURCE.contains(from), "{from}");
        let (lines, all) = mistakes(&SOURCE.replacen(from, to, 1));
        assert!(lines.iter().all(|found| *found == line), "{to}: {all}");
    }
}

#[test]
fn what_the_surroundings_show_is_told_with_the_rest() {
    let mut written = parse(&SOURCE.replace("[account]", "[acount]")).expect("a document");
    let path = Path::keys(&["sources", "transactions", "file", "path"]);
    written.wrong(&path, "it is not there".into(), None);
    let errors = written
        .validate(&plugin)
        .map(|_| ())
        .expect_err("two mistakes");
    let lines: Vec<u32> = errors.0.iter().map(|error| error.position.line).collect();
    assert_eq!(lines, [4, 15], "{errors}");
}

#[test]
fn late_rows_that_nobody_reads_are_a_warning() {
    let warnings = |text: &str| -> Vec<String> {
        let warnings = sound(text).warnings;
        let late = warnings.iter().filter(|w| w.message.contains("late"));
        late.map(ToString::to_string).collect()
    };
    assert_eq!(warnings(SOURCE), [""; 0]);
    let ordered = format!("{SOURCE}    order: event-time\n");
    let wanted = "13:3: operators.rules: rows that come late are left out, and nobody reads \
                  `rules.late`; give a sink `input: rules.late`, if only `discard: {}`";
    assert_eq!(warnings(&ordered), [wanted]);
    for stream in ["rules.late", "transactions.late"] {
        let sink = format!("sinks:\n  late: {{ input: {stream}, discard: {{}} }}\n");
        assert_eq!(
            warnings(&ordered.replace("sinks:\n", &sink)),
            [""; 0],
            "{stream}"
        );
    }
}

use super::*;
use crate::pipeline::tests::{SOURCE, pipeline};
use crate::plan::plan;

fn drawn(render: fn(&Pipeline, &Plan) -> String) -> String {
    let pipeline = pipeline(SOURCE).unwrap_or_else(|e| panic!("{e}"));
    let plan = plan(&pipeline, 2);
    let picture = render(&pipeline, &plan);
    assert_eq!(
        picture,
        render(&pipeline, &plan),
        "the same plan, the same picture"
    );
    picture
}

#[test]
fn text_says_what_runs_where() {
    assert_eq!(
        drawn(text),
        "\
test: parallelism 2, 128 key groups

1. transactions ×2
   source transactions: file in.jsonl
   -> 2: transactions by account
   -> 3: dead letters of rejects to one

2. transactions by account ×2
   operator rules: rules.wasm
   -> 4: rules to one

3. rejects ×1
   sink rejects: file rejects.jsonl

4. alerts ×1
   sink alerts: standard output
"
    );
}

#[test]
fn dot_and_svg_name_every_task() {
    for picture in [drawn(dot), drawn(svg)] {
        for name in [
            "transactions by account",
            "operator rules: rules.wasm",
            "rejects.jsonl",
        ] {
            assert!(picture.contains(name), "{picture}");
        }
    }
    assert!(drawn(svg).ends_with("</svg>\n"));
}

#[test]
fn features_are_told_in_words() {
    let pipeline = pipeline(&SOURCE.replace("rules.wasm", "features.wasm"));
    let pipeline = pipeline.unwrap_or_else(|e| panic!("{e}"));
    let text = text(&pipeline, &plan(&pipeline, 1));
    assert!(
        text.contains("feature spent: sum of amount over 1h"),
        "{text}"
    );
}

#[test]
fn names_cannot_break_out_of_a_picture() {
    let text = SOURCE.replace("in.jsonl", "'<b>\"&'");
    let pipeline = pipeline(&text).unwrap_or_else(|e| panic!("{e}"));
    let plan = plan(&pipeline, 1);
    assert!(svg(&pipeline, &plan).contains("&lt;b&gt;&quot;&amp;"));
    assert!(dot(&pipeline, &plan).contains("<b>\\\"&"));
}

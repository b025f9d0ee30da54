//! All pipelines fit the plugins as they describe themselves, without building a component.

use std::sync::Arc;

use plugin_fraud_rules::FraudRules;
use plugin_fraud_scorer::FraudScorer;
use wasmill_core::descriptor::Descriptor;
use wasmill_core::pipeline::{self, Pipeline};
use wasmill_core::plan;
use wasmill_sdk::testing::Harness;

fn validate(document: &str) -> Pipeline {
    let describe = |path: &str| {
        let descriptor = match path.rsplit('/').next() {
            Some("fraud-rules.wasm") => Harness::<FraudRules>::new("{}").descriptor(),
            Some("fraud-scorer.wasm") => Harness::<FraudScorer>::new("{}").descriptor(),
            _ => return Err(format!("there is no {path}")),
        };
        let descriptor = Descriptor::parse(&descriptor.to_string());
        descriptor.map(Arc::new).map_err(|error| error.to_string())
    };
    let written = pipeline::parse(document).unwrap_or_else(|errors| panic!("{errors}"));
    written
        .validate(&describe)
        .unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_pipelines_fit_their_plugins() {
    for document in [
        include_str!("../../pipeline.yaml"),
        include_str!("../../pipeline-event-time.yaml"),
        include_str!("../../pipeline-kafka.yaml"),
    ] {
        let pipeline = validate(document);
        let warnings: Vec<String> = pipeline.warnings.iter().map(ToString::to_string).collect();
        assert!(warnings.is_empty(), "{warnings:?}");
        let tasks = plan::plan(&pipeline, 2).tasks.len();
        assert!(tasks >= 3, "{tasks} tasks");
    }
}

//! Which programs follow the orders of the scenarios that go through Kafka.
//!
//! `wasmill-bench SCENARIO --beside COMMAND...` starts one with topics, guarantee and interval, and
//! counts what it wrote: the same for all of them.

/// A program beside ours.
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    /// The class of a Java program; without one it is librdkafka alone.
    pub(crate) class: Option<&'static str>,
}

const RIVALS: &[Rival] = &[
    Rival {
        name: "flink 2.2.0",
        class: Some("FlinkPeer"),
    },
    Rival {
        name: "kafka streams 4.2.0",
        class: Some("StreamsPeer"),
    },
    Rival {
        name: "librdkafka alone",
        class: None,
    },
];

impl Rival {
    pub(crate) fn is_java(&self) -> bool {
        self.class.is_some()
    }
}

/// Whether a scenario needs a broker.
pub(crate) fn is_kafka(scenario: &str) -> bool {
    scenario.starts_with("kafka-")
}

/// The programs of a scenario. Beside the flagship librdkafka alone passes on as many records as
/// there are alerts.
pub(crate) fn of(scenario: &str) -> &'static [Rival] {
    match is_kafka(scenario) {
        true => RIVALS,
        false => &[],
    }
}

#[test]
fn scenarios_through_kafka_have_three_programs_beside_them() {
    let names: Vec<_> = of("kafka-passthrough").iter().map(|it| it.name).collect();
    let wanted = ["flink 2.2.0", "kafka streams 4.2.0", "librdkafka alone"];
    assert_eq!(names, wanted);
    assert!(of("keyed-10k").is_empty());
}

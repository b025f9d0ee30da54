//! Which programs follow the orders of the scenarios that go through Kafka.
//!
//! `wasmill-bench SCENARIO --beside COMMAND...` starts one with topics, guarantee and interval, and
//! counts what it wrote: the same for all of them.

/// A program beside ours.
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    /// The class of a Java program; without one it is librdkafka alone.
    pub(crate) class: Option<&'static str>,
    /// Whether it can only do the jobs that look for fraud.
    only_fraud: bool,
}

const RIVALS: &[Rival] = &[
    Rival {
        name: "flink 2.2.0",
        class: Some("FlinkPeer"),
        only_fraud: false,
    },
    Rival {
        name: "kafka streams 4.2.0",
        class: Some("StreamsPeer"),
        only_fraud: true,
    },
    Rival {
        name: "librdkafka alone",
        class: None,
        only_fraud: false,
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
pub(crate) fn of(scenario: &str) -> Vec<&'static Rival> {
    let is_fraud = scenario != "kafka-passthrough";
    let can_follow = |rival: &&Rival| is_fraud || !rival.only_fraud;
    RIVALS.iter().filter(can_follow).collect()
}

#[test]
fn each_scenario_has_the_programs_that_can_follow_it() {
    let names = |scenario| {
        of(scenario)
            .iter()
            .map(|rival| rival.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("kafka-passthrough"),
        ["flink 2.2.0", "librdkafka alone"]
    );
    assert_eq!(names("kafka-fraud").len(), 3);
    assert_eq!(names("kafka-flagship-p99").len(), 3);
    assert!(is_kafka("kafka-fraud") && !is_kafka("keyed-10k"));
}

//! The table of scenarios and what a round of one gives.

use anyhow::Result;

use crate::{
    big_file, durable, flagship, join, kafka, latency, sandbox, throughput,
    windows::{self, SESSION, SLIDING, TUMBLING},
};

/// One thing that is measured.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Whether a run without names measures it.
    pub(crate) by_default: bool,
    /// One round of at least so many seconds.
    pub(crate) run: fn(f64) -> Result<Measured>,
}

/// What one round gave.
pub(crate) struct Measured {
    /// Records from the first to the last.
    pub(crate) records: u64,
    /// Seconds between them.
    pub(crate) seconds: f64,
    /// The result: a rate (`records/s`) is better when higher, all else when lower.
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// CPU seconds of the process for a million records, where a process does nothing else.
    pub(crate) cpu: Option<f64>,
}

impl Measured {
    /// Records per second.
    pub(crate) fn rate(records: u64, seconds: f64) -> Self {
        Self {
            records,
            seconds,
            value: records as f64 / seconds,
            unit: "records/s",
            cpu: None,
        }
    }

    /// The line that `cargo xtask bench` reads.
    pub(crate) fn line(&self, scenario: &str) -> String {
        let mut line = serde_json::json!({
            "scenario": scenario,
            "records": self.records,
            "seconds": self.seconds,
            "value": self.value,
            "unit": self.unit,
        });
        if let Some(cpu) = self.cpu {
            line["cpu"] = cpu.into();
        }
        line.to_string()
    }
}

/// Every scenario, in the order in which it is measured.
pub(crate) const SCENARIOS: &[Scenario] = &[
    usual("stateless", throughput::stateless),
    usual("keyed-10k", |seconds| throughput::keyed(10_000, seconds)),
    usual("keyed-1m", |seconds| throughput::keyed(1_000_000, seconds)),
    usual("keyed-10k-checkpoint", |seconds| {
        durable::keyed((10_000, true), None, seconds)
    }),
    usual("keyed-10k-rocksdb", |seconds| {
        durable::keyed((10_000, false), Some("512MiB"), seconds)
    }),
    usual("keyed-1m-rocksdb-checkpoint", |seconds| {
        durable::keyed((1_000_000, true), Some("512MiB"), seconds)
    }),
    // A key takes some 90 bytes of memory, and a quarter of the cache is not for keys.
    usual("keyed-1m-rocksdb-tenth", |seconds| {
        durable::keyed((1_000_000, true), Some("12MiB"), seconds)
    }),
    usual("json", throughput::json),
    usual("json-decode", throughput::json_decode),
    usual("sandbox-tax", sandbox::tax),
    usual("boundary-1", |seconds| sandbox::boundary(1, seconds)),
    usual("boundary-8", |seconds| sandbox::boundary(8, seconds)),
    usual("boundary-64", |seconds| sandbox::boundary(64, seconds)),
    usual("boundary-1024", |seconds| sandbox::boundary(1_024, seconds)),
    usual("latency-p50", |seconds| latency::alone(50.0, seconds)),
    usual("latency-p99", |seconds| latency::alone(99.0, seconds)),
    usual("latency-p999", |seconds| latency::alone(99.9, seconds)),
    usual("latency-neighbours-p99", |seconds| {
        latency::beside_neighbours(99.0, seconds)
    }),
    usual("rules-fanout-1", |seconds| throughput::fanout(1, seconds)),
    usual("rules-fanout-10", |seconds| throughput::fanout(10, seconds)),
    usual("rules-fanout-100", |seconds| {
        throughput::fanout(100, seconds)
    }),
    usual("rules-fanout-1000", |seconds| {
        throughput::fanout(1_000, seconds)
    }),
    usual("features", throughput::features),
    usual("interval-join", join::interval),
    usual("tumbling", |seconds| windows::rate(TUMBLING, seconds)),
    usual("sliding", |seconds| windows::rate(SLIDING, seconds)),
    usual("session", |seconds| windows::rate(SESSION, seconds)),
    usual("flagship", flagship::rate),
    usual("flagship-p99", |seconds| flagship::latency(99.0, seconds)),
    usual("barrier-stall", |seconds| latency::stalled(99.0, seconds)),
    usual("barrier-stall-without", |seconds| {
        latency::unstalled(99.0, seconds)
    }),
    usual("kafka-passthrough", |seconds| {
        kafka::ours("kafka-passthrough", seconds)
    }),
    usual("kafka-fraud", |seconds| kafka::ours("kafka-fraud", seconds)),
    usual("kafka-fraud-all", |seconds| {
        kafka::ours("kafka-fraud-all", seconds)
    }),
    usual("kafka-latency-p50", |seconds| {
        kafka::ours("kafka-latency-p50", seconds)
    }),
    usual("kafka-latency-p99", |seconds| {
        kafka::ours("kafka-latency-p99", seconds)
    }),
    usual("kafka-latency-p999", |seconds| {
        kafka::ours("kafka-latency-p999", seconds)
    }),
    usual("kafka-latency-exactly-once-p99", |seconds| {
        kafka::ours("kafka-latency-exactly-once-p99", seconds)
    }),
    usual("kafka-flagship", |seconds| {
        kafka::ours("kafka-flagship", seconds)
    }),
    usual("kafka-flagship-p99", |seconds| {
        kafka::ours("kafka-flagship-p99", seconds)
    }),
    Scenario {
        name: "recovery",
        by_default: false,
        run: durable::recovery,
    },
    Scenario {
        name: "soak-spill",
        by_default: false,
        run: durable::soak_spill,
    },
    Scenario {
        name: "soak-ttl",
        by_default: false,
        run: durable::soak_ttl,
    },
    Scenario {
        name: "big-file",
        by_default: false,
        run: big_file::memory,
    },
];

/// A scenario that is measured unless others are named.
const fn usual(name: &'static str, run: fn(f64) -> Result<Measured>) -> Scenario {
    Scenario {
        name,
        by_default: true,
        run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(name: &str) -> Measured {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
        let run = scenario.map(|scenario| scenario.run);
        let run = run.unwrap_or_else(|| panic!("no scenario {name}"));
        run(0.05).unwrap_or_else(|error| panic!("{name}: {error:#}"))
    }

    #[test]
    fn a_round_of_each_job_loses_no_row() {
        for name in [
            "stateless",
            "keyed-10k",
            "keyed-10k-checkpoint",
            "keyed-1m-rocksdb-tenth",
            "json",
            "features",
            "interval-join",
            "rules-fanout-10",
            "tumbling",
            "sliding",
            "session",
        ] {
            let measured = round(name);
            assert!(measured.records > 0, "{name}");
            assert_eq!(measured.unit, "records/s", "{name}");
        }
    }

    #[test]
    fn a_round_of_the_boundary_counts_its_records() {
        let measured = round("boundary-8");
        assert!(measured.records.is_multiple_of(8) && measured.records > 0);
    }

    #[test]
    fn a_line_is_json_that_says_what_was_measured() {
        let line = Measured::rate(1_000, 2.0).line("keyed-10k");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["scenario"], "keyed-10k");
        assert_eq!(line["value"], 500.0);
    }
}

//! What a round gives, and the line that several rounds become.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// One round of one program.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// Completed checkpoints, where a peer takes some.
    pub(crate) checkpoints: Option<u64>,
    /// CPU seconds of the process for a million records, where it says so.
    pub(crate) cpu: Option<f64>,
}

impl Sample {
    /// Reads the last line that a program printed: `records`, `seconds`, `value`, `unit`, and
    /// perhaps `checkpoints` and `cpu`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let line = text.lines().last().context("the program printed nothing")?;
        let sample: Value =
            serde_json::from_str(line).with_context(|| format!("no JSON line: {line}"))?;
        let number = |name: &str| {
            sample[name]
                .as_f64()
                .with_context(|| format!("no `{name}`: {line}"))
        };
        let (seconds, value) = (number("seconds")?, number("value")?);
        let unit = sample["unit"]
            .as_str()
            .with_context(|| format!("no `unit`: {line}"))?;
        if !value.is_finite() || value < 0.0 {
            bail!("the value is no measurement: {line}");
        }
        Ok(Self {
            seconds,
            value,
            unit: unit.to_owned(),
            checkpoints: sample["checkpoints"].as_u64(),
            cpu: sample["cpu"].as_f64(),
        })
    }
}

/// The result of a scenario, with or without a peer.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    scenario: String,
    unit: String,
    ours: Spread,
    /// The median of the CPU seconds.
    cpu: Option<f64>,
    versus: Option<Versus>,
}

#[derive(Clone, Debug)]
struct Versus {
    peer: String,
    value: f64,
    ratio: f64,
    cpu: Option<f64>,
}

/// Median, least and greatest of the rounds.
#[derive(Clone, Debug)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
    runs: usize,
}

impl Spread {
    fn of(samples: &[Sample]) -> Self {
        Self::of_values(samples.iter().map(|sample| sample.value).collect())
    }

    /// The median CPU time, if every round tells its own.
    fn cpu(samples: &[Sample]) -> Option<f64> {
        let values: Option<Vec<f64>> = samples.iter().map(|sample| sample.cpu).collect();
        values.map(|values| Self::of_values(values).median)
    }

    fn of_values(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
        Self {
            median: f64::midpoint(values[low], values[high]),
            min: values[0],
            max: values[values.len() - 1],
            runs: values.len(),
        }
    }
}

impl Line {
    /// The line of our own rounds, of which there is at least one.
    pub(crate) fn new(scenario: &str, samples: &[Sample]) -> Self {
        let unit = samples[0].unit.clone();
        Self {
            scenario: scenario.to_owned(),
            unit,
            ours: Spread::of(samples),
            cpu: Spread::cpu(samples),
            versus: None,
        }
    }

    /// Adds a peer's rounds. A ratio above 1 says that ours is better, whatever the unit.
    pub(crate) fn versus(mut self, peer: &str, samples: &[Sample]) -> Self {
        let (ours, theirs) = (self.ours.median, Spread::of(samples).median);
        let ratio = if is_rate(&self.unit) {
            ours / theirs
        } else {
            theirs / ours
        };
        self.versus = Some(Versus {
            peer: peer.to_owned(),
            value: theirs,
            ratio,
            cpu: Spread::cpu(samples),
        });
        self
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> String {
        let mut line = Map::new();
        line.insert("scenario".into(), json!(self.scenario));
        line.insert("value".into(), number(self.ours.median));
        line.insert("unit".into(), json!(self.unit));
        line.insert("runs".into(), json!(self.ours.runs));
        line.insert("min".into(), number(self.ours.min));
        line.insert("max".into(), number(self.ours.max));
        line.insert("machine".into(), json!(machine()));
        if let Some(cpu) = self.cpu {
            line.insert("cpu".into(), number(cpu));
        }
        if let Some(versus) = &self.versus {
            line.insert("peer".into(), json!(versus.peer));
            line.insert("peer_value".into(), number(versus.value));
            line.insert("ratio".into(), number(versus.ratio));
            if let Some((ours, theirs)) = self.cpu.zip(versus.cpu) {
                line.insert("peer_cpu".into(), number(theirs));
                line.insert("cpu_ratio".into(), number(theirs / ours));
            }
        }
        Value::Object(line).to_string()
    }

    /// One line for a person.
    pub(crate) fn text(&self) -> String {
        let Spread {
            median,
            min,
            max,
            runs,
        } = &self.ours;
        let mut text = format!(
            "{:<24} {} {} ({} to {}, {runs} runs)",
            self.scenario,
            shown(*median),
            self.unit,
            shown(*min),
            shown(*max)
        );
        if let Some(cpu) = self.cpu {
            text.push_str(&format!(", {cpu:.3} CPU s/million"));
        }
        if let Some(versus) = &self.versus {
            let Versus {
                peer,
                value,
                ratio,
                cpu,
            } = versus;
            text.push_str(&format!("; {peer} {}: ratio {ratio:.2}", shown(*value)));
            if let Some((ours, theirs)) = self.cpu.zip(*cpu) {
                let ratio = theirs / ours;
                text.push_str(&format!(", {theirs:.3} CPU s/million: ratio {ratio:.2}"));
            }
        }
        text
    }
}

/// Whether more is better.
fn is_rate(unit: &str) -> bool {
    unit.ends_with("/s")
}

/// A number for JSON with six significant digits: a measurement has no more.
fn number(value: f64) -> Value {
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    json!(rounded)
}

/// A number for people: digits in groups of three, or a few decimals where it is small.
fn shown(value: f64) -> String {
    if value < 1_000.0 {
        return format!("{value:.3}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The processor and how many of it: figures of two machines must not be mixed unnoticed.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or(std::env::consts::ARCH, |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{model} x {cores}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64], unit: &str) -> Vec<Sample> {
        values
            .iter()
            .map(|value| Sample {
                seconds: 10.0,
                value: *value,
                unit: unit.to_owned(),
                checkpoints: None,
                cpu: None,
            })
            .collect()
    }

    #[test]
    fn the_value_is_the_median() {
        let spread = Spread::of(&samples(&[5.0, 1.0, 9.0], "records/s"));
        assert_eq!(
            (spread.median, spread.min, spread.max, spread.runs),
            (5.0, 1.0, 9.0, 3)
        );
        assert_eq!(Spread::of(&samples(&[4.0, 2.0], "ms")).median, 3.0);
    }

    #[test]
    fn a_ratio_above_one_is_better_for_rates_and_latencies() {
        let rate = Line::new("keyed", &samples(&[8.0], "records/s"))
            .versus("flink", &samples(&[2.0], "records/s"));
        let latency =
            Line::new("latency", &samples(&[2.0], "ms")).versus("flink", &samples(&[8.0], "ms"));
        for line in [rate, latency] {
            let json: Value = serde_json::from_str(&line.json()).unwrap();
            assert_eq!(json["ratio"].as_f64(), Some(4.0));
            assert_eq!(json["peer"], "flink");
        }
    }

    #[test]
    fn without_a_peer_there_are_no_peer_fields() {
        let line = Line::new("features", &samples(&[1.0], "records/s")).json();
        assert!(!line.contains("peer") && !line.contains("ratio"), "{line}");
    }

    #[test]
    fn the_cpu_times_are_compared_where_both_tell_theirs() {
        let with = |cpu: f64| {
            let mut samples = samples(&[1.0], "records/s");
            samples[0].cpu = Some(cpu);
            samples
        };
        let line = Line::new("kafka", &with(0.5)).versus("flink", &with(2.0));
        let json: Value = serde_json::from_str(&line.json()).unwrap();
        assert_eq!(
            (json["cpu"].as_f64(), json["cpu_ratio"].as_f64()),
            (Some(0.5), Some(4.0))
        );
        assert!(line.text().ends_with("2.000 CPU s/million: ratio 4.00"));
        let silent = Line::new("kafka", &with(0.5)).versus("raw", &samples(&[1.0], "records/s"));
        assert!(!silent.json().contains("peer_cpu"));
    }

    #[test]
    fn a_sample_is_the_last_line() {
        let text = "noise\n{\"records\":5,\"seconds\":2.0,\"value\":2.5,\"unit\":\"records/s\"}\n";
        let sample = Sample::parse(text).unwrap();
        assert_eq!((sample.seconds, sample.value), (2.0, 2.5));
        assert!(Sample::parse("").is_err());
        assert!(Sample::parse("{\"seconds\":1,\"value\":null,\"unit\":\"s\"}").is_err());
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(shown(1_234_567.4), "1,234,567");
        assert_eq!(shown(9.5), "9.500");
    }
}

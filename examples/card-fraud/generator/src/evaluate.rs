//! Alerts held against the labels.
//!
//! An incident is found if an alert of its account lies between its first and its last record.
//! An alert is true if it lies inside an incident of its account. Everything else is a false
//! alarm, also an alert a minute after the last fraud. A false alarm is of no kind of fraud, so the
//! precision of a kind is told as its lower bound: all false alarms of the rules that found it
//! count against it. An alert inside two incidents counts for both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::io::{BufRead, Error as IoError, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::label::Label;

/// Why alerts could not be held against labels.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file stopped in the middle.
    #[error("the {file} cannot be read after line {line}")]
    Read {
        /// `alerts` or `labels`.
        file: &'static str,
        /// Lines read before.
        line: usize,
        /// What the system says.
        source: IoError,
    },
    /// A line does not say what is needed.
    #[error("line {line} of the {file} does not fit: it needs the fields {fields}")]
    Line {
        /// `alerts` or `labels`.
        file: &'static str,
        /// Counted from 1.
        line: usize,
        /// What the line must hold.
        fields: &'static str,
        /// What the decoder says.
        source: serde_json::Error,
    },
    /// A label or an alert has a time that is none.
    #[error("line {line} of the {file} has the time {text:?}, which is not RFC 3339")]
    Time {
        /// `alerts` or `labels`.
        file: &'static str,
        /// Counted from 1.
        line: usize,
        /// The time as it stands there.
        text: String,
    },
}

/// What was found, and what was false alarm.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// All alerts.
    pub alerts: u64,
    /// Alerts inside an incident of their account.
    pub alerts_true: u64,
    /// Share of the alerts that are true; 1 without alerts.
    pub precision: f64,
    /// Alerts of each rule, by its name.
    pub rules: BTreeMap<String, RuleCount>,
    /// Incidents of each kind, by its name.
    pub kinds: BTreeMap<&'static str, KindCount>,
}

/// The alerts of one rule.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct RuleCount {
    /// All of them.
    pub alerts: u64,
    /// Those inside an incident of their account.
    pub alerts_true: u64,
    /// Share of the true ones.
    pub precision: f64,
    /// Incidents that this rule found, each counted once.
    pub incidents: u64,
}

/// The incidents of one kind.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct KindCount {
    /// All that were planted.
    pub incidents: u64,
    /// Those with an alert.
    pub found: u64,
    /// Share of the found ones; 1 without incidents.
    pub recall: f64,
    /// Alerts inside them.
    pub alerts_true: u64,
    /// Share of these among them and all false alarms of the rules that found the kind; 1 without
    /// either. No way to share a rule's false alarms out among the kinds that it found gives less.
    pub precision_min: f64,
}

/// What an alert must say; further fields are the operator's own business.
#[derive(Debug, Deserialize)]
struct Alert {
    account: u64,
    at: String,
    rule: String,
}

/// The planted incidents of each account.
#[derive(Debug, Default)]
pub(crate) struct Incidents(HashMap<u64, Vec<Incident>>);

#[derive(Debug)]
struct Incident {
    first_us: i64,
    last_us: i64,
    kind: &'static str,
    found_by: Vec<String>,
    alerts: u64,
}

/// Reads both files, of one JSON object a line, and judges.
///
/// # Errors
/// If a file cannot be read or a line lacks what is needed; the error names the line.
pub fn evaluate(alerts: impl BufRead, labels: impl BufRead) -> Result<Evaluation, Error> {
    let mut incidents = Incidents::read(labels)?;
    let mut evaluation = Evaluation::default();
    each_line::<Alert>("alerts", "account, at and rule", alerts, |line, alert| {
        let at_us = time_us("alerts", line, &alert.at)?;
        evaluation.note(&alert.rule, at_us, incidents.of(alert.account));
        Ok(())
    })?;
    evaluation.conclude(incidents.0.values().flatten());
    Ok(evaluation)
}

const LABEL_FIELDS: &str = "incident, kind, account, first_at, last_at and records";

impl Incidents {
    pub(crate) fn read(labels: impl BufRead) -> Result<Self, Error> {
        let mut incidents = Self::default();
        each_line::<Label>("labels", LABEL_FIELDS, labels, |line, label| {
            let incident = Incident {
                first_us: time_us("labels", line, &label.first_at)?,
                last_us: time_us("labels", line, &label.last_at)?,
                kind: label.kind.name(),
                found_by: Vec::new(),
                alerts: 0,
            };
            incidents.0.entry(label.account).or_default().push(incident);
            Ok(())
        })?;
        Ok(incidents)
    }

    /// Whether an incident of the account covers this moment.
    pub(crate) fn covers(&self, account: u64, at_us: i64) -> bool {
        let own = self.0.get(&account).map_or(&[][..], Vec::as_slice);
        own.iter().any(|incident| incident.covers(at_us))
    }

    fn of(&mut self, account: u64) -> &mut [Incident] {
        self.0.get_mut(&account).map_or(&mut [], Vec::as_mut_slice)
    }
}

impl Incident {
    fn covers(&self, at_us: i64) -> bool {
        (self.first_us..=self.last_us).contains(&at_us)
    }
}

impl Evaluation {
    /// Writes the counts as tables that people read.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let head = ["incidents", "found", "recall", "true", "precision"];
        write_row(out, "kind of fraud", head)?;
        for (kind, of) in &self.kinds {
            let [incidents, found, inside] = [of.incidents, of.found, of.alerts_true].map(count);
            let recall = thousandths(of.recall);
            let precision = format!(">={}", thousandths(of.precision_min));
            write_row(out, kind, [incidents, found, recall, inside, precision])?;
        }
        writeln!(out)?;
        write_row(out, "rule", ["alerts", "true", "precision", "incidents"])?;
        for (rule, of) in &self.rules {
            let [alerts, inside, incidents] = [of.alerts, of.alerts_true, of.incidents].map(count);
            let precision = thousandths(of.precision);
            write_row(out, rule, [alerts, inside, precision, incidents])?;
        }
        let [alerts, inside] = [self.alerts, self.alerts_true].map(count);
        write_row(out, "all", [alerts, inside, thousandths(self.precision)])
    }

    fn note(&mut self, rule: &str, at_us: i64, incidents: &mut [Incident]) {
        let mut is_true = false;
        let mut found = 0;
        for incident in incidents {
            if !incident.covers(at_us) {
                continue;
            }
            is_true = true;
            incident.alerts += 1;
            if incident.found_by.iter().all(|by| by != rule) {
                incident.found_by.push(rule.to_owned());
                found += 1;
            }
        }
        self.alerts += 1;
        self.alerts_true += u64::from(is_true);
        let count = self.rules.entry(rule.to_owned()).or_default();
        count.alerts += 1;
        count.alerts_true += u64::from(is_true);
        count.incidents += found;
    }

    fn conclude<'a>(&mut self, incidents: impl Iterator<Item = &'a Incident>) {
        let mut found_by: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for incident in incidents {
            let count = self.kinds.entry(incident.kind).or_default();
            count.incidents += 1;
            count.found += u64::from(!incident.found_by.is_empty());
            count.alerts_true += incident.alerts;
            let rules = incident.found_by.iter().map(String::as_str);
            found_by.entry(incident.kind).or_default().extend(rules);
        }
        self.precision = share(self.alerts_true, self.alerts);
        for count in self.rules.values_mut() {
            count.precision = share(count.alerts_true, count.alerts);
        }
        for (kind, count) in &mut self.kinds {
            let rules = found_by.get(kind).into_iter().flatten();
            let rules = rules.filter_map(|rule| self.rules.get(*rule));
            let alarms: u64 = rules.map(|rule| rule.alerts - rule.alerts_true).sum();
            count.recall = share(count.found, count.incidents);
            count.precision_min = share(count.alerts_true, count.alerts_true + alarms);
        }
    }
}

/// A line of a table: a name, then numbers below each other.
fn write_row<const N: usize>(
    out: &mut impl Write,
    name: &str,
    cells: [impl Display; N],
) -> std::io::Result<()> {
    write!(out, "{name:<20}")?;
    for cell in cells {
        write!(out, " {cell:>9}")?;
    }
    writeln!(out)
}

fn count(number: u64) -> String {
    number.to_string()
}

fn thousandths(share: f64) -> String {
    format!("{share:.3}")
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

fn each_line<T: for<'de> Deserialize<'de>>(
    file: &'static str,
    fields: &'static str,
    lines: impl BufRead,
    mut take: impl FnMut(usize, T) -> Result<(), Error>,
) -> Result<(), Error> {
    for (line, text) in lines.lines().enumerate() {
        let text = text.map_err(|source| Error::Read { file, line, source })?;
        let line = line + 1;
        if text.trim().is_empty() {
            continue;
        }
        let value = serde_json::from_str(&text).map_err(|source| Error::Line {
            file,
            line,
            fields,
            source,
        })?;
        take(line, value)?;
    }
    Ok(())
}

fn time_us(file: &'static str, line: usize, text: &str) -> Result<i64, Error> {
    let time = text.parse::<Timestamp>();
    time.map(|time| time.as_microsecond())
        .map_err(|_| Error::Time {
            file,
            line,
            text: text.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Kind;

    /// One incident of half an hour for each of two accounts.
    fn labels() -> String {
        let label = |account: u64| Label {
            incident: format!("cash_out-{account}"),
            kind: Kind::CashOut,
            account,
            first_at: "2026-01-26T10:00:00Z".to_owned(),
            last_at: "2026-01-26T10:30:00Z".to_owned(),
            records: 4,
        };
        let line = |account| serde_json::to_string(&label(account)).unwrap() + "\n";
        [7, 8].map(line).concat()
    }

    fn alert(account: u64, time: &str, rule: &str) -> String {
        format!("{{\"account\":{account},\"at\":\"2026-01-26T{time}Z\",\"rule\":\"{rule}\"}}\n")
    }

    #[test]
    fn alerts_count_only_inside_an_incident_of_their_account() {
        let alerts = [
            alert(7, "10:00:00", "score"),
            alert(7, "10:30:00.000000", "score"),
            alert(7, "10:30:00.000001", "score"),
            alert(9, "10:10:00", "velocity"),
        ];
        let found = evaluate(alerts.concat().as_bytes(), labels().as_bytes()).unwrap();
        assert_eq!(
            (found.alerts, found.alerts_true, found.precision),
            (4, 2, 0.5)
        );
        let cash_out = &found.kinds["cash_out"];
        assert_eq!(
            (cash_out.incidents, cash_out.found, cash_out.recall),
            (2, 1, 0.5)
        );
        // Two alerts of `score` inside, one behind; no alert of `velocity` found anything.
        assert_eq!(
            (cash_out.alerts_true, cash_out.precision_min),
            (2, 2.0 / 3.0)
        );
        assert_eq!(
            (found.rules["score"].alerts, found.rules["score"].incidents),
            (3, 1)
        );
        assert_eq!(
            found.rules["velocity"].precision.to_bits(),
            0.0_f64.to_bits()
        );
    }

    #[test]
    fn without_alerts_nothing_is_found_and_nothing_is_false() {
        let found = evaluate(&b""[..], labels().as_bytes()).unwrap();
        assert_eq!(
            (found.precision, found.kinds["cash_out"].recall),
            (1.0, 0.0)
        );
    }

    #[test]
    fn mistakes_name_their_line() {
        let error = evaluate(&b"\n{\"account\":7}"[..], labels().as_bytes()).unwrap_err();
        assert!(
            error.to_string().starts_with("line 2 of the alerts"),
            "{error}"
        );
        let alerts = alert(7, "later", "score");
        let error = evaluate(alerts.as_bytes(), labels().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("2026-01-26TlaterZ"), "{error}");
    }
}

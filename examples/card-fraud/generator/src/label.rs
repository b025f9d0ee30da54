//! What was planted: one label for each incident.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::calendar;
use crate::incident::Kind;
use crate::transaction::Transaction;

/// One planted incident, a line of the labels file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Names the incident.
    pub incident: String,
    /// What kind of fraud it is.
    pub kind: Kind,
    /// The account that suffers it.
    pub account: u64,
    /// Event time of its first record, as RFC 3339.
    pub first_at: String,
    /// Event time of its last record, as RFC 3339.
    pub last_at: String,
    /// Records of the incident.
    pub records: u64,
}

/// Incidents that are under way.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    records_left: u64,
    account: u64,
    span_us: Option<(i64, i64)>,
    records: u64,
}

impl Labels {
    pub(crate) fn open(&mut self, incident: u64, kind: Kind, account: u64, records: u64) {
        let open = Open {
            kind,
            records_left: records,
            account,
            span_us: None,
            records: 0,
        };
        self.open.insert(incident, open);
    }

    /// Notes a record of the incident that is written; returns the label with the last one.
    pub(crate) fn note(&mut self, incident: u64, row: &Transaction) -> Option<Label> {
        let open = self.open.get_mut(&incident)?;
        let (first, last) = open.span_us.unwrap_or((row.at_us, row.at_us));
        open.span_us = Some((first.min(row.at_us), last.max(row.at_us)));
        open.records += 1;
        open.records_left = open.records_left.saturating_sub(1);
        if open.records_left > 0 {
            return None;
        }
        self.open
            .remove(&incident)
            .and_then(|open| open.label(incident))
    }

    /// Labels of the incidents that the end of the file cut off, with what was written of them.
    pub(crate) fn cut_off(&mut self) -> Vec<Label> {
        let open = std::mem::take(&mut self.open);
        open.into_iter()
            .filter_map(|(incident, open)| open.label(incident))
            .collect()
    }
}

impl Open {
    fn label(self, incident: u64) -> Option<Label> {
        let (first_us, last_us) = self.span_us?;
        Some(Label {
            incident: format!("{}-{incident:06}", self.kind.name()),
            kind: self.kind,
            account: self.account,
            first_at: calendar::text(first_us),
            last_at: calendar::text(last_us),
            records: self.records,
        })
    }
}

//! The line that shows how far a job is, where a person watches.

use std::{fs, io::IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};
use wasmill_core::pipeline::{Pipeline, SourceKind};

use crate::{
    job::Live,
    metrics::{Extent, NodeKind, SplitMetrics},
};

/// Of an input with an end.
const BAR: &str = "{bar:30} {percent:>3} %  {msg}, {eta} left";
/// Of one that goes on.
const SPINNER: &str = "{spinner} {elapsed} {msg}";

/// The line, and the job that it shows.
pub(super) struct Progress(Option<(ProgressBar, Live)>);

impl Progress {
    /// Nothing is shown where standard error is no terminal.
    pub(super) fn new(pipeline: &Pipeline, job: Live) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let has_end = pipeline.sources.iter().all(|source| has_end(&source.kind));
        let whole = has_end.then(|| part_read(&job)).flatten();
        let (bar, template) = match whole {
            Some((_, whole)) => (ProgressBar::new(whole), BAR),
            None => (ProgressBar::new_spinner(), SPINNER),
        };
        let style = ProgressStyle::with_template(template).ok();
        Self(style.map(|style| (bar.with_style(style), job)))
    }

    /// Shows how far it is now.
    pub(super) fn show(&self) {
        let Some((bar, job)) = &self.0 else { return };
        let sources = job
            .nodes
            .iter()
            .filter(|node| node.kind == NodeKind::Source);
        let rows: u64 = sources.map(|node| node.metrics.records_in.get()).sum();
        let rate = rows as f64 / bar.elapsed().as_secs_f64().max(0.001);
        bar.set_message(format!("{rows} records, {rate:.0}/s"));
        match part_read(job).filter(|_| bar.length().is_some()) {
            Some((read, _)) => bar.set_position(read),
            None => bar.tick(),
        }
    }

    /// Takes the line away.
    pub(super) fn finish(&self) {
        if let Some((bar, _)) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Whether a source ends by itself.
fn has_end(source: &SourceKind) -> bool {
    match source {
        SourceKind::File(files, _) => !files.follow,
        SourceKind::Generator(generator, _) => generator.records.is_some(),
        SourceKind::Stdin(_) | SourceKind::Kafka(..) => false,
    }
}

/// How much of the input is read, and how much there is, each split in bytes or rows; none where
/// nobody knows of one.
fn part_read(job: &Live) -> Option<(u64, u64)> {
    let sources = job.tasks.iter().filter_map(|task| task.source.as_ref());
    let splits = sources.flat_map(|(_, source)| source.splits());
    let parts: Option<Vec<(u64, u64)>> = splits.map(|split| part_of(&split)).collect();
    let parts = parts?.into_iter();
    let sum = parts.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    (sum.1 > 0).then_some(sum)
}

fn part_of(split: &SplitMetrics) -> Option<(u64, u64)> {
    let (read, whole) = match split.extent() {
        Extent::Rows(rows) => (split.rows(), rows),
        Extent::File(path) => (split.bytes(), fs::metadata(path).ok()?.len()),
        Extent::Unknown => return None,
    };
    let read = if split.is_end() {
        whole
    } else {
        read.min(whole)
    };
    Some((read, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_that_has_ended_is_read_whole() {
        let split = SplitMetrics::default();
        assert_eq!(part_of(&split), None, "nobody knows how long it is");
        split.measure(Extent::Rows(10));
        split.reach(4, 400);
        assert_eq!(part_of(&split), Some((4, 10)));
        split.end();
        assert_eq!(part_of(&split), Some((10, 10)));
    }
}

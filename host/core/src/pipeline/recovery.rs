//! Whether a job takes checkpoints, and what becomes of it when it fails.

use super::build::Builder;
use super::document::{CheckpointDocument, Delivery};
use super::{Checkpointing, Sink, SinkKind, Source};
use crate::restart::{Backoff, RestartPolicy};
use crate::tree::Path;

impl Builder<'_> {
    /// How checkpoints are taken, if they are. Where the document is silent, a job takes them that
    /// they are of use to: one whose input can be read again, and of whose output something lasts.
    /// What only shows rows, or reads what somebody types, begins anew each time, as any filter
    /// does.
    pub(super) fn checkpointing(
        &mut self,
        sources: &[Source],
        sinks: &[Sink],
    ) -> Option<Checkpointing> {
        let document = self.document;
        match &document.checkpoint {
            Some(CheckpointDocument::Off(_)) => return None,
            Some(CheckpointDocument::On(written)) => {
                let storage = self.storage(written.storage.as_deref(), written.s3.as_ref());
                return Some(Checkpointing {
                    storage,
                    ..written.into()
                });
            }
            None => {}
        }
        let mut written = self.document.sinks.values();
        let is_promised = written.any(|sink| sink.delivery == Some(Delivery::ExactlyOnce));
        let lasts = |sink: &Sink| !matches!(sink.kind, SinkKind::Stdout(_) | SinkKind::Discard);
        let is_replayable = sources.iter().all(|source| source.kind.is_replayable());
        let is_of_use = is_replayable && sinks.iter().any(lasts);
        (is_promised || is_of_use).then(Checkpointing::default)
    }

    /// What becomes of the job when it fails. With checkpoints it is restarted again and again,
    /// since that costs nothing but time, and less and less often, so that it does not get in the
    /// way of whoever mends what is broken. Without them there is nothing to go on from.
    pub(super) fn restart(&mut self, checkpointing: Option<&Checkpointing>) -> RestartPolicy {
        let written = self.document.restart.as_ref().map(RestartPolicy::from);
        match (written, checkpointing) {
            (Some(RestartPolicy::None) | None, None) => RestartPolicy::None,
            (Some(_), None) => {
                let message = "without checkpoints a restart would bring rows out again";
                let remedy = "add `checkpoint: {}` to the document, or say `restart: none`";
                self.wrong(&Path::keys(&["restart"]), message, Some(remedy));
                RestartPolicy::None
            }
            (Some(written), Some(_)) => written,
            (None, Some(_)) => RestartPolicy::Exponential(Backoff::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::document::Delivery;
    use crate::pipeline::tests::pipeline;
    use crate::restart::{Backoff, RestartPolicy};

    fn document(top: &str, source: &str, sink: &str) -> String {
        format!(
            "name: test\n{top}sources:\n  s: {{ {source} }}\nsinks:\n  \
             out: {{ input: s, {sink} }}\n"
        )
    }

    const FILE: &str = "file: { path: in.jsonl }";
    const OUT: &str = "file: { path: out.jsonl }";

    #[test]
    fn a_job_takes_checkpoints_that_they_are_of_use_to() {
        for (top, source, sink, wanted) in [
            ("", FILE, OUT, Some(10_000_000)),
            (
                "",
                "generator: { columns: { n: sequence } }",
                OUT,
                Some(10_000_000),
            ),
            ("", FILE, "stdout: {}", None),
            ("", FILE, "discard: {}", None),
            ("", "stdin: {}", OUT, None),
            ("checkpoint: off\n", FILE, OUT, None),
            ("checkpoint: {}\n", FILE, "stdout: {}", Some(10_000_000)),
            (
                "checkpoint: { interval: 1s }\n",
                "stdin: {}",
                OUT,
                Some(1_000_000),
            ),
        ] {
            let text = document(top, source, sink);
            let pipeline = pipeline(&text).unwrap_or_else(|errors| panic!("{text}{errors}"));
            let interval = pipeline.checkpoint.as_ref().map(|it| it.interval_us);
            assert_eq!(interval, wanted, "{text}");
            let delivery = match (wanted, sink == OUT, source == "stdin: {}") {
                (Some(_), true, false) => Delivery::ExactlyOnce,
                _ => Delivery::AtLeastOnce,
            };
            assert_eq!(pipeline.sinks[0].delivery, delivery, "{text}");
        }
    }

    #[test]
    fn a_job_with_checkpoints_is_restarted_with_growing_times() {
        let usual = RestartPolicy::Exponential(Backoff::default());
        let restart = |top: &str| pipeline(&document(top, FILE, OUT)).map(|it| it.restart);
        let sound = |top: &str| restart(top).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(sound(""), usual);
        assert_eq!(sound("restart: { exponential: {} }\n"), usual);
        assert_eq!(sound("checkpoint: off\n"), RestartPolicy::None);
        assert_eq!(sound("restart: none\n"), RestartPolicy::None);
        let fixed = RestartPolicy::Fixed {
            attempts: 3,
            delay_us: 5_000_000,
        };
        assert_eq!(
            sound("restart: { fixed: { attempts: 3, delay: 5s } }\n"),
            fixed
        );
        let rate = RestartPolicy::FailureRate {
            failures: 3,
            per_us: 300_000_000,
            delay_us: 1_000_000,
        };
        assert_eq!(
            sound("restart: { failure-rate: { failures: 3, per: 5m } }\n"),
            rate
        );
        for (top, wanted) in [
            (
                "checkpoint: off\nrestart: { exponential: {} }\n",
                "without checkpoints a restart would bring rows out again",
            ),
            (
                "restart: { exponential: { factor: 0.5 } }\n",
                "0.5 is out of range",
            ),
            ("restart: { fixed: { delay: 5s } }\n", "attempts"),
            ("restart: never\n", "none"),
            ("checkpoint: of\n", "off"),
            ("checkpoint: { intervall: 1s }\n", "interval"),
        ] {
            let errors = restart(top).expect_err(top).to_string();
            assert!(errors.contains(wanted), "{top}{errors}");
        }
    }
}

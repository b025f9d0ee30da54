//! How often a row stands in a sink's output if the job fails and goes on.

use std::collections::HashSet;

use super::{Delivery, Sink, SinkKind};
use crate::pipeline::build::Builder;
use crate::pipeline::document::CheckpointDocument;
use crate::pipeline::{Operator, Policy, Producer, Source, SourceId, StreamId};
use crate::tree::Path;

impl Builder<'_> {
    /// Gives each sink the delivery that its document says, or the best that it can.
    pub(in crate::pipeline) fn deliveries(
        &mut self,
        sources: &[Source],
        operators: &[Operator],
        (sinks, takes_checkpoints): (&mut [Sink], bool),
    ) {
        for sink in sinks {
            let said = self.document.sinks[&sink.name].delivery;
            let path = Path::keys(&["sinks", &sink.name]);
            self.early(&path, sink, said);
            let is_off = matches!(self.document.checkpoint, Some(CheckpointDocument::Off(_)));
            if said.is_none() && sink.kind.is_transactional() && !is_off {
                self.once_only(&path, self.read_once(sink, sources, operators));
            }
            if !takes_checkpoints {
                if said == Some(Delivery::ExactlyOnce) {
                    let message = "without checkpoints nothing tells which rows are out";
                    let remedy = "leave out `checkpoint: off`, or say `at-least-once`";
                    self.wrong(&path.key("delivery"), message, Some(remedy));
                }
                let early = said.filter(|said| *said == Delivery::Early);
                sink.delivery = early.unwrap_or(Delivery::AtLeastOnce);
                continue;
            }
            let read_once = self.read_once(sink, sources, operators);
            sink.delivery = match (said, &read_once) {
                (Some(Delivery::AtLeastOnce), _) => Delivery::AtLeastOnce,
                (Some(Delivery::Early), _) => Delivery::Early,
                (said, _) if !sink.kind.can_follow() => {
                    if said.is_some() {
                        let message = "this kind of sink cannot hold each row exactly once";
                        let remedy =
                            "use `file`, `kafka`, `sqlite` or `postgres`, or say `at-least-once`";
                        self.wrong(&path.key("delivery"), message, Some(remedy));
                    }
                    Delivery::AtLeastOnce
                }
                (_, None) => Delivery::ExactlyOnce,
                (Some(_), Some(source)) => {
                    let message = format!(
                        "`{source}` reads standard input, which cannot be read again after \
                         a failure"
                    );
                    let remedy = "say `at-least-once`, or read files";
                    self.wrong(&path.key("delivery"), &message, Some(remedy));
                    Delivery::AtLeastOnce
                }
                // It is refused already.
                (None, Some(_)) if sink.kind.is_transactional() => Delivery::AtLeastOnce,
                (None, Some(source)) => {
                    let message = format!(
                        "`{source}` reads standard input, which cannot be read again: after a \
                         failure rows may be missing or stand twice"
                    );
                    let remedy = "say `delivery: at-least-once` if that is good enough, or read \
                                  files";
                    self.warn(&path, &message, Some(remedy));
                    Delivery::AtLeastOnce
                }
            };
        }
    }

    /// Whoever writes into a database or a topic means each row to stand there once, and is asked
    /// where it cannot be so.
    fn once_only(&mut self, path: &Path, source: Option<String>) {
        if let Some(source) = source {
            let message = format!(
                "`{source}` reads standard input, which cannot be read again: after a failure \
                 rows may be missing or stand twice"
            );
            let remedy = "say `delivery: at-least-once` if that is good enough, or read files";
            self.wrong(path, &message, Some(remedy));
        }
    }

    /// One sink may decide, and only what it delivers exactly once.
    pub(in crate::pipeline) fn one_decider(&mut self, sinks: &[Sink]) {
        let says = |sink: &&Sink| matches!(&sink.kind, SinkKind::Kafka(it, _) if it.decides);
        let mut decider = None;
        for sink in sinks.iter().filter(says) {
            let path = Path::keys(&["sinks", &sink.name, "kafka", "decides"]);
            if !sink.decides() {
                let message = "only the transactions of an `exactly-once` sink can decide";
                let remedy = "remove it, or `delivery`";
                self.wrong(&path, message, Some(remedy));
            } else if let Some(other) = decider.replace(&sink.name) {
                let message = format!("`{other}` decides already");
                let remedy = "let one sink decide: the others follow";
                self.wrong(&path, &message, Some(remedy));
            }
        }
    }

    /// Only a sink that sends rows by itself can send them early.
    fn early(&mut self, path: &Path, sink: &Sink, said: Option<Delivery>) {
        if said == Some(Delivery::Early) && !matches!(sink.kind, SinkKind::Kafka(..)) {
            let message = "this kind of sink has no early rows";
            let remedy = "use `kafka`, or say `at-least-once`";
            self.wrong(&path.key("delivery"), message, Some(remedy));
        }
    }

    /// A source that the sink's rows go back to and that can be read only once.
    fn read_once(&self, sink: &Sink, sources: &[Source], operators: &[Operator]) -> Option<String> {
        let mut left: Vec<StreamId> = sink.inputs.clone();
        let mut seen: HashSet<StreamId> = HashSet::new();
        while let Some(stream) = left.pop() {
            if !seen.insert(stream) {
                continue;
            }
            let of = |operator: &Operator| -> Vec<StreamId> {
                operator.inputs.iter().map(|input| input.stream).collect()
            };
            match self.streams[stream.0].producer {
                Producer::Source(SourceId(id)) | Producer::SourceLate(SourceId(id)) => {
                    if let Some(source) = sources.get(id)
                        && !source.kind.is_replayable()
                    {
                        return Some(source.name.clone());
                    }
                }
                Producer::Output(id, _) | Producer::OperatorLate(id) => {
                    left.extend(operators.get(id.0).map(of).unwrap_or_default());
                }
                Producer::DeadLetters(_) => {
                    let here = Policy::DeadLetter(stream);
                    let failing = sources.iter().filter(|source| source.on_error == here);
                    left.extend(failing.map(|source| source.stream));
                    let failing = operators.iter().filter(|it| it.on_error() == here);
                    left.extend(failing.flat_map(of));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::Pipeline;
    use crate::pipeline::document::Delivery;
    use crate::pipeline::tests::pipeline;

    /// Three ways from two sources to sinks, one of them by dead letters.
    const DOCUMENT: &str = "\
name: test
checkpoint: {}
sources:
  once:
    stdin: {}
    format: { json: { account: u64, amount: \"decimal(12,2)\" } }
    on-error: { dead-letter: letters }
  again:
    file: { path: in.jsonl }
    format: { json: { account: u64, amount: \"decimal(12,2)\" } }
operators:
  large: { input: [again, once], plugin: filter.wasm }
  small: { input: again, plugin: filter.wasm, on-error: { dead-letter: failures } }
sinks:
  letters: { file: { path: letters.jsonl } }
  failures: { sqlite: { path: out.db, table: failures } }
  mixed: { input: large, file: { path: mixed.jsonl } }
  sound: { input: small, file: { path: sound.jsonl } }
  shown: { input: small, stdout: {} }
";

    fn sound(text: &str) -> Pipeline {
        pipeline(text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn is_warned(pipeline: &Pipeline, sink: &str) -> bool {
        let start = format!("sinks.{sink}: `once` reads standard input");
        let mut warnings = pipeline.warnings.iter();
        warnings.any(|warning| warning.to_string().contains(&start))
    }

    #[test]
    fn a_sink_gets_the_best_that_its_sources_allow() {
        let pipeline = sound(DOCUMENT);
        let sinks = pipeline.sinks.iter();
        let found: Vec<_> = sinks.map(|sink| (&*sink.name, sink.delivery)).collect();
        let wanted = [
            ("letters", Delivery::AtLeastOnce),
            ("failures", Delivery::ExactlyOnce),
            ("mixed", Delivery::AtLeastOnce),
            ("sound", Delivery::ExactlyOnce),
            ("shown", Delivery::AtLeastOnce),
        ];
        assert_eq!(found, wanted);
        let names = wanted.map(|(name, _)| name).into_iter();
        let warned: Vec<&str> = names.filter(|name| is_warned(&pipeline, name)).collect();
        assert_eq!(warned, ["letters", "mixed"]);
    }

    #[test]
    fn what_is_said_holds_or_is_refused() {
        let say = |sink: &str, delivery: &str| {
            let from = format!("{sink} }}\n");
            assert!(DOCUMENT.contains(&from), "{from}");
            let to = format!("{sink}, delivery: {delivery} }}\n");
            pipeline(&DOCUMENT.replacen(&from, &to, 1))
        };
        let accepted = say("mixed.jsonl }", "at-least-once").expect("it is sound");
        assert!(is_warned(&accepted, "letters") && !is_warned(&accepted, "mixed"));
        let plain = say("sound.jsonl }", "at-least-once").expect("it is sound");
        assert_eq!(plain.sinks[3].delivery, Delivery::AtLeastOnce);
        say("sound.jsonl }", "exactly-once").expect("it is sound");
        for (sink, part) in [
            (
                "mixed.jsonl }",
                "`once` reads standard input, which cannot be read again",
            ),
            (
                "letters.jsonl }",
                "`once` reads standard input, which cannot be read again",
            ),
            (
                "stdout: {}",
                "this kind of sink cannot hold each row exactly once",
            ),
        ] {
            let errors = say(sink, "exactly-once").expect_err(part).to_string();
            assert!(errors.contains(part), "{errors}");
        }
    }

    #[test]
    fn a_table_is_asked_for_where_rows_come_once() {
        for top in ["checkpoint: {}\n", ""] {
            let text = DOCUMENT.replace("checkpoint: {}\n", top);
            let table = "table: { input: large, sqlite: { path: out.db";
            let text = text.replace("failures: { sqlite: { path: out.db", table);
            let text = text.replace(", on-error: { dead-letter: failures }", "");
            let errors = pipeline(&text).expect_err("rows come once").to_string();
            let wanted = "sinks.table: `once` reads standard input, which cannot be read again";
            assert!(errors.contains(wanted), "{errors}");
            let said = text.replace(
                "table: failures }",
                "table: failures }, delivery: at-least-once",
            );
            sound(&said);
            if top.is_empty() {
                sound(&format!("checkpoint: off\n{text}"));
            }
        }
    }

    #[test]
    fn without_checkpoints_rows_go_out_as_they_come() {
        let without = DOCUMENT.replace("checkpoint: {}\n", "checkpoint: off\n");
        let plain = sound(&without);
        let deliveries = plain.sinks.iter().map(|sink| sink.delivery);
        assert!(deliveries.clone().all(|it| it == Delivery::AtLeastOnce));
        assert!(!is_warned(&plain, "letters"), "nothing was promised");
        let said = without.replace("sound.jsonl }", "sound.jsonl }, delivery: exactly-once");
        let errors = pipeline(&said).expect_err("nothing decides").to_string();
        assert!(errors.contains("leave out `checkpoint: off`"), "{errors}");
    }

    #[test]
    fn the_markers_table_is_not_for_rows() {
        let text = DOCUMENT.replace("table: failures", "table: Wasmill_Commits");
        let errors = pipeline(&text).expect_err("a reserved name").to_string();
        assert!(errors.contains("choose another name"), "{errors}");
    }
}

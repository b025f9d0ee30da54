//! `wasmill dlq`: dead letters in a topic.

mod shape;

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use wasmill_core::pipeline::{
    EncodeSpec, Pipeline, Sink, SinkKind, SourceKind,
    document::{KafkaSink, KafkaSource},
};

use super::{
    checkpoint::{pretty, time},
    failure::Failure,
    load,
    table::Table,
};
use crate::connector::kafka::{Letter, Redriven, read_letters, redrive, would_redrive};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Count dead letters, by where and why rows failed: reasons that differ in values are one.
    Ls(ListArguments),
    /// Show dead letters with all that is known of them.
    Show(ShowArguments),
    /// Bring the original records back to the topics that they were read from, each once.
    Redrive(RedriveArguments),
}

/// Which letters.
#[derive(Args)]
struct Which {
    /// The pipeline document.
    pipeline: PathBuf,
    /// The sink that takes the dead letters; needed where several do.
    sink: Option<String>,
    /// Only those of this kind: `decode`, `reject` or `fault`.
    #[arg(long)]
    kind: Option<String>,
    /// Only those that failed at this source or operator.
    #[arg(long)]
    at: Option<String>,
}

#[derive(Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    which: Which,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct ShowArguments {
    #[command(flatten)]
    which: Which,
    /// So many at most, the newest of each partition.
    #[arg(long, default_value_t = 10)]
    limit: usize,
}

#[derive(Args)]
pub(super) struct RedriveArguments {
    #[command(flatten)]
    which: Which,
    /// Tell what would be brought back, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Ls(arguments) => list(arguments),
        Command::Show(arguments) => show(arguments),
        Command::Redrive(arguments) => bring_back(arguments),
    }
}

impl Which {
    fn pipeline(&self) -> Result<Pipeline, Failure> {
        Ok(load::load(&self.pipeline, load::Inputs::Unread)?.pipeline)
    }

    /// The sink of dead letters.
    fn sink<'a>(
        &self,
        pipeline: &'a Pipeline,
    ) -> Result<(&'a Sink, &'a KafkaSink, &'a EncodeSpec), Failure> {
        let of_letters = pipeline.sinks.iter().filter_map(|sink| match &sink.kind {
            SinkKind::Kafka(kafka, format) if sink.is_for_dead_letters => {
                Some((sink, &**kafka, format))
            }
            _ => None,
        });
        let wanted = |name: &str| self.sink.as_deref().is_none_or(|sink| sink == name);
        let found: Vec<_> = of_letters.filter(|it| wanted(&it.0.name)).collect();
        match found[..] {
            [one] => Ok(one),
            [] => Err(Failure::Invalid(
                "no sink takes dead letters into a topic; name one with `on-error: { dead-letter: \
                 SINK }` and `kafka`"
                    .into(),
            )),
            _ => {
                let names: Vec<&str> = found.iter().map(|it| &*it.0.name).collect();
                Err(Failure::Invalid(format!(
                    "several sinks take dead letters: say which of {}",
                    names.join(", ")
                )))
            }
        }
    }

    /// The letters that are asked for; says so if that is none of those that are there.
    fn letters(&self, sink: (&KafkaSink, &EncodeSpec)) -> Result<Vec<Letter>, Failure> {
        let (mut letters, mut all) = (Vec::new(), 0);
        let is =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        let read = read_letters(sink, |letter| {
            all += 1;
            if is(&self.kind, &letter.kind) && is(&self.at, &letter.at) {
                letters.push(letter);
            }
        });
        read.map_err(Failure::failed)?;
        if letters.is_empty() && all > 0 {
            let all = super::count(all, "letter");
            super::complain(&format!(
                "wasmill: of {all} none is what --at and --kind ask for"
            ));
        }
        Ok(letters)
    }
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let pipeline = arguments.which.pipeline()?;
    let (_, kafka, format) = arguments.which.sink(&pipeline)?;
    // Of each group how many there are, and the newest reason.
    let mut groups: BTreeMap<[String; 3], (u64, String)> = BTreeMap::new();
    for letter in arguments.which.letters((kafka, format))? {
        let [at, kind, reason] =
            [letter.at, letter.kind, letter.reason].map(Option::unwrap_or_default);
        let group = groups.entry([at, kind, shape::shape(&reason)]).or_default();
        *group = (group.0 + 1, reason);
    }
    if arguments.json {
        let rows = groups.into_iter().map(|([at, kind, shape], group)| {
            let (count, newest) = group;
            json!({ "at": at, "kind": kind, "reason": shape, "letters": count, "newest": newest })
        });
        return super::print(&pretty(&rows.collect()));
    }
    let mut table = Table::new(&["at", "kind", "#letters", "reason"]);
    for ([at, kind, shape], (count, newest)) in groups {
        // One alone is told as it is.
        let reason = if count == 1 { newest } else { shape };
        table.row([at, kind, count.to_string(), reason]);
    }
    super::print(&table.text())
}

fn show(arguments: &ShowArguments) -> Result<(), Failure> {
    let pipeline = arguments.which.pipeline()?;
    let (_, kafka, format) = arguments.which.sink(&pipeline)?;
    let letters = arguments.which.letters((kafka, format))?;
    let newest = letters.len().saturating_sub(arguments.limit);
    let rows = letters[newest..].iter().map(told);
    super::print(&pretty(&rows.collect()))
}

/// A letter as JSON; bytes that are no text as base64.
fn told(letter: &Letter) -> Json {
    let octets = |octets: &Option<Vec<u8>>| match octets {
        None => Json::Null,
        Some(octets) => match std::str::from_utf8(octets) {
            Ok(text) => text.into(),
            Err(_) => json!({ "base64": super::base64(octets) }),
        },
    };
    let headers = letter
        .headers
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": octets(value) }));
    json!({
        "partition": letter.place.0,
        "offset-there": letter.place.1,
        "at": letter.at,
        "kind": letter.kind,
        "reason": letter.reason,
        "plugin": letter.plugin,
        "log": letter.log,
        "cpu-us": letter.cpu_us,
        "split": letter.split,
        "offset": letter.offset,
        "time": letter.time_us.map(time),
        "key": octets(&letter.key),
        "headers": headers.collect::<Vec<_>>(),
        "original": octets(&letter.original),
        "row": letter.row,
    })
}

fn bring_back(arguments: &RedriveArguments) -> Result<(), Failure> {
    let pipeline = arguments.which.pipeline()?;
    let (sink, kafka, format) = arguments.which.sink(&pipeline)?;
    let letters = arguments.which.letters((kafka, format))?;
    let (mut strange, mut without) = (0, 0);
    let mut by_source: BTreeMap<usize, Vec<Letter>> = BTreeMap::new();
    for letter in letters {
        match source_of(&pipeline, &letter) {
            Some(source) => by_source.entry(source).or_default().push(letter),
            None if letter.origin().is_none() => without += 1,
            None => strange += 1,
        }
    }
    for (source, letters) in &by_source {
        let name = &pipeline.sources[*source].name;
        let Some(kafka) = topics(&pipeline, *source) else {
            continue;
        };
        let of = (&*pipeline.name, &*sink.name);
        let (done, would) = match arguments.dry_run {
            true => (would_redrive(kafka, of, letters), "would be "),
            false => (redrive(kafka, of, letters), ""),
        };
        let Redriven { sent, before } = done.map_err(Failure::failed)?;
        super::print(&format!(
            "{name}: {sent} {would}brought back, {before} had been before\n"
        ))?;
    }
    if without > 0 {
        super::complain(&format!(
            "wasmill: {} left alone: nothing in them says where their rows stood; have the sink \
             write the columns `split` and `offset`, as headers or in its rows",
            super::count(without, "letter")
        ));
    }
    if strange > 0 {
        super::complain(&format!(
            "wasmill: {} left alone: no topic of this pipeline holds their rows",
            super::count(strange, "letter")
        ));
    }
    Ok(())
}

fn topics(pipeline: &Pipeline, source: usize) -> Option<&KafkaSource> {
    match &pipeline.sources[source].kind {
        SourceKind::Kafka(input, _) => Some(&input.kafka),
        _ => None,
    }
}

/// The source whose topic a letter's row was read from; of several the one where it failed.
fn source_of(pipeline: &Pipeline, letter: &Letter) -> Option<usize> {
    let (topic, _) = letter.origin()?;
    let reads = |source: usize| {
        let kafka = topics(pipeline, source);
        kafka.is_some_and(|kafka| match &kafka.topic {
            Some(topics) => topics.iter().any(|it| it == topic),
            None => true,
        })
    };
    let own = |source: &usize| Some(&pipeline.sources[*source].name) == letter.at.as_ref();
    let mut all = 0..pipeline.sources.len();
    let at = all.clone().filter(own).find(|source| reads(*source));
    at.or_else(|| all.find(|source| reads(*source)))
}

//! `wasmill checkpoint`: what was decided, what is in it, whether it is whole.

mod show;

use clap::{Args, Subcommand};
use serde_json::json;
use wasmill_core::{
    checkpoint::{CheckpointId, Manifest, Reason},
    data_type, encoding, watermark,
};

use super::{
    failure::Failure,
    table::{Table, bytes, span},
    target::{self, failure},
};
use crate::{
    clock,
    inspection::{Which, verify},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the decided checkpoints of a job that are kept.
    Ls(ListArguments),
    /// Tell what a checkpoint holds.
    Show(ListArguments),
    /// Read everything that a checkpoint names, and tell every damage; exit code 1 if there is any.
    Verify(VerifyArguments),
}

#[derive(Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    target: target::Arguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct VerifyArguments {
    #[command(flatten)]
    target: target::Arguments,
    /// Verify every checkpoint that is kept.
    #[arg(long, conflicts_with = "checkpoint")]
    all: bool,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Ls(arguments) => list(arguments),
        Command::Show(arguments) => {
            let found = arguments.target.find()?;
            let manifest = found.manifest()?;
            let text = match arguments.json {
                true => pretty(&serde_json::to_value(&*manifest).expect("a manifest is JSON")),
                false => show::text(&manifest),
            };
            super::print(&text)
        }
        Command::Verify(arguments) => check(arguments),
    }
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let found = arguments.target.find()?;
    let listed = found.log.listed().map_err(failure)?;
    let is_wanted = |number: CheckpointId| found.checkpoint.is_none_or(|it| it == number);
    let kept: Vec<&Manifest> = listed.kept.iter().map(|kept| &*kept.manifest).collect();
    let kept: Vec<&Manifest> = kept
        .into_iter()
        .filter(|manifest| is_wanted(manifest.checkpoint))
        .collect();
    if arguments.json {
        let rows = kept.iter().map(|manifest| {
            json!({
                "checkpoint": manifest.checkpoint,
                "reason": reason(manifest.reason),
                "written-us": manifest.place.written_us,
                "duration-us": manifest.place.written_us - manifest.triggered_us,
                "bytes": size(manifest),
                "attempt": manifest.place.attempt,
                "is-finished": manifest.is_finished,
            })
        });
        let damaged = listed.damaged.iter().map(
            |damage| json!({ "checkpoint": damage.decided.checkpoint, "damage": damage.reason }),
        );
        let rows: Vec<_> = rows.chain(damaged).collect();
        return super::print(&pretty(&rows.into()));
    }
    let mut table = Table::new(&[
        "#checkpoint",
        "reason",
        "when",
        "#age",
        "#size",
        "#took",
        "finished",
    ]);
    let now = clock::wall_us();
    for manifest in kept {
        let written = manifest.place.written_us;
        table.row([
            manifest.checkpoint.to_string(),
            reason(manifest.reason).into(),
            time(written),
            span(now.saturating_sub(written)),
            bytes(size(manifest)),
            span(written.saturating_sub(manifest.triggered_us)),
            if manifest.is_finished { "yes" } else { "no" }.into(),
        ]);
    }
    super::print(&table.text())?;
    for damage in &listed.damaged {
        let number = damage.decided.checkpoint;
        super::complain(&format!(
            "wasmill: checkpoint {number} cannot be read: {}",
            damage.reason
        ));
    }
    Ok(())
}

fn check(arguments: &VerifyArguments) -> Result<(), Failure> {
    let found = arguments.target.find()?;
    let which = match (arguments.all, found.checkpoint) {
        (true, _) => Which::All,
        (false, Some(number)) => Which::Number(number),
        (false, None) => Which::Newest,
    };
    let verified = verify(&found.log, which).map_err(failure)?;
    for damage in &verified.damages {
        super::print(&format!("{}: {}\n", damage.place, damage.what))?;
    }
    let numbers = verified.checkpoints.iter().map(CheckpointId::to_string);
    let numbers: Vec<String> = numbers.collect();
    let read = format!(
        "checkpoint {}: {} of the log, {} of {}, {} of state",
        match numbers.is_empty() {
            true => "?".to_owned(),
            false => numbers.join(", "),
        },
        super::count(verified.entries, "entry").replace("entrys", "entries"),
        super::count(verified.objects, "object"),
        bytes(verified.bytes),
        super::count(verified.rows, "row"),
    );
    match verified.damages.len() as u64 {
        0 => super::print(&format!("{read}: whole\n")),
        count => Err(Failure::Failed(format!(
            "{read}: {}",
            super::count(count, "damage")
        ))),
    }
}

/// The bytes of all objects that a checkpoint names, each once.
fn size(manifest: &Manifest) -> u64 {
    let mut objects: Vec<_> = manifest.objects().collect();
    objects.sort_unstable();
    objects.dedup();
    objects.iter().map(|object| object.bytes).sum()
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Periodic => "periodic",
        Reason::Savepoint => "savepoint",
        Reason::Final => "final",
    }
}

/// Microseconds since 1970, as people say it.
pub(super) fn time(us: i64) -> String {
    let text = encoding::to_json(&data_type::timestamp(), false, &us.to_le_bytes());
    let text = text.ok();
    let text = text.as_ref().and_then(|text| text.as_str());
    text.map_or_else(|| us.to_string(), str::to_owned)
}

/// A watermark, as people say it.
fn clock_text(us: i64) -> String {
    match us {
        watermark::START => "none yet".into(),
        i64::MAX => "the end".into(),
        us => time(us),
    }
}

/// JSON with line ends.
pub(super) fn pretty(json: &serde_json::Value) -> String {
    let text = serde_json::to_string_pretty(json).expect("it is JSON");
    text + "\n"
}

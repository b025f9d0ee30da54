//! A manifest, for people.

use wasmill_core::checkpoint::{Manifest, OperatorState, SegmentKind};

use super::{clock_text, reason, size, time};
use crate::cli::table::{Table, bytes, span};

pub(super) fn text(manifest: &Manifest) -> String {
    let place = &manifest.place;
    let since = manifest.since.map_or_else(
        || "nothing".to_owned(),
        |checkpoint| format!("checkpoint {checkpoint}"),
    );
    let mut text = format!(
        "checkpoint {} of `{}`, {}{}\n  decided    {}, after {}, by attempt {}\n  since      \
         {since}\n  watermark  {}\n  key groups {}\n  size       {}\n",
        manifest.checkpoint,
        place.job,
        reason(manifest.reason),
        match manifest.is_finished {
            true => ", the input has come to its end",
            false => "",
        },
        time(place.written_us),
        span(place.written_us.saturating_sub(manifest.triggered_us)),
        place.attempt,
        clock_text(manifest.watermark),
        manifest.key_hash.groups,
        bytes(size(manifest)),
    );
    sources(manifest, &mut text);
    for (uid, state) in &manifest.operators {
        operator(uid, state, &mut text);
    }
    sinks(manifest, &mut text);
    text
}

fn sources(manifest: &Manifest, text: &mut String) {
    for (name, source) in &manifest.sources {
        text.push_str(&format!("\nsource `{name}`\n"));
        let mut table = Table::new(&["  split", "watermark", "position"]);
        for (split, state) in &source.splits {
            table.row([
                format!("  {split}"),
                clock_text(state.watermark),
                state.position.to_string(),
            ]);
        }
        text.push_str(&table.text());
    }
}

fn operator(uid: &str, state: &OperatorState, text: &mut String) {
    text.push_str(&format!("\noperator `{uid}`\n"));
    match state.identity.plugin {
        Some(plugin) => text.push_str(&format!("  plugin     {plugin}\n")),
        None => text.push_str("  plugin     none, it is built in\n"),
    }
    if let Some(key) = &state.identity.key {
        text.push_str(&format!("  key        {key}\n"));
    }
    text.push_str(&format!("  watermark  {}\n", clock_text(state.watermark)));
    for (name, schema) in &state.identity.states {
        text.push_str(&format!("  state      `{name}`: {schema}\n"));
        text.push_str(&format!("             schema {}\n", schema.id));
    }
    for segment in &state.segments {
        let kind = match segment.kind {
            SegmentKind::Base => "base ",
            SegmentKind::Delta => "delta",
        };
        text.push_str(&format!(
            "  {kind}      key groups {} to {}, {}, {}\n",
            segment.range.start,
            segment.range.end.saturating_sub(1),
            bytes(segment.object.bytes),
            segment.object.name,
        ));
    }
    for part in &state.parts {
        let objects: u64 = part.objects.iter().map(|object| object.bytes).sum();
        text.push_str(&format!(
            "  subtask {:<2} {}, {} in objects\n",
            part.subtask,
            shortened(&part.state),
            bytes(objects),
        ));
    }
}

fn sinks(manifest: &Manifest, text: &mut String) {
    for (name, sink) in &manifest.sinks {
        text.push_str(&format!("\nsink `{name}`\n"));
        for part in &sink.parts {
            text.push_str(&format!(
                "  subtask {}  {}\n",
                part.subtask,
                shortened(&part.state)
            ));
            for object in &part.objects {
                text.push_str(&format!("    {}, {}\n", object.name, bytes(object.bytes)));
            }
        }
    }
}

/// A part's own terms; what is long is left to `--json`.
fn shortened(state: &serde_json::Value) -> String {
    const CHARS_MAX: usize = 100;
    let text = state.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

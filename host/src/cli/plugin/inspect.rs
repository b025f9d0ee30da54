//! `wasmill plugin inspect`: what a component says about itself, and what that means for its speed.

use std::fmt::Write;

use arrow_schema::{Field, Schema};
use serde_json::Value as Json;
use wasmill_core::{
    data_type,
    descriptor::{Descriptor, Kind, Order, TimeDomain},
    duration,
};

use super::InspectArguments;
use crate::cli::{self, failure::Failure};
use crate::plugin_store::{self, Loaded};
use crate::wasm::World;

pub(super) fn run(arguments: &InspectArguments) -> Result<(), Failure> {
    let engine = plugin_store::engine().map_err(Failure::failed)?;
    let loaded = plugin_store::load(&engine, &arguments.plugin).map_err(Failure::invalid)?;
    if arguments.json {
        return cli::print(&format!("{}\n", loaded.plugin.descriptor()));
    }
    cli::print(&describe(&loaded))
}

fn describe(loaded: &Loaded) -> String {
    let descriptor = &loaded.descriptor;
    let world = match loaded.plugin.world() {
        World::Batch => "batch-operator",
        World::Record => "single-record-operator",
        World::Aggregate => "window-aggregate",
    };
    let mut text = format!(
        "{} {}\n{}\ndigest   {}\nworld    {world}\n",
        descriptor.name,
        descriptor.version,
        descriptor.doc,
        loaded.plugin.digest()
    );
    body(descriptor, &mut text).expect("text takes everything");
    let written = serde_json::from_str(loaded.plugin.descriptor());
    settings(&written.unwrap_or_default(), &mut text).expect("text takes everything");
    text
}

/// What `config` may hold, by the JSON Schema in the descriptor as it is written.
fn settings(written: &Json, text: &mut String) -> std::fmt::Result {
    let config = &written["config"];
    let is_required = |name: &str| {
        let required = config["required"].as_array();
        required.is_some_and(|names| names.iter().any(|it| it == name))
    };
    for (name, setting) in config["properties"].as_object().into_iter().flatten() {
        write!(text, "config   {name}: {}", type_of(setting))?;
        match setting.get("default") {
            Some(default) => writeln!(text, ", {default} if not given")?,
            None if is_required(name) => writeln!(text, ", required")?,
            None => writeln!(text)?,
        }
        for line in setting["description"]
            .as_str()
            .into_iter()
            .flat_map(str::lines)
        {
            writeln!(text, "           {line}")?;
        }
    }
    Ok(())
}

/// What a setting may be, as people say it.
fn type_of(setting: &Json) -> String {
    let words = |of: &Json| -> Option<String> {
        let words = of.as_array()?.iter();
        let words = words.map(|it| it.as_str().map_or_else(|| it.to_string(), Into::into));
        Some(words.collect::<Vec<String>>().join("|"))
    };
    match (setting["format"].as_str(), &setting["type"]) {
        (Some("wasmill-duration"), _) => "duration".into(),
        (_, Json::String(of)) => of.clone(),
        (_, of) => words(&setting["enum"])
            .or_else(|| words(of))
            .unwrap_or_else(|| "any".into()),
    }
}

fn body(descriptor: &Descriptor, text: &mut String) -> std::fmt::Result {
    for input in &descriptor.inputs {
        let time = if input.time { " with event time" } else { "" };
        writeln!(
            text,
            "input    {}{time}: {}",
            input.name,
            columns(&input.schema)
        )?;
    }
    for output in &descriptor.outputs {
        writeln!(
            text,
            "output   {}: {}",
            output.name,
            columns(&output.schema)
        )?;
    }
    if let Some(aggregate) = &descriptor.aggregate {
        let of = |field: &Field| data_type::print(field.data_type(), field.is_nullable());
        writeln!(text, "keeps    {}", of(&aggregate.accumulator))?;
        writeln!(text, "           schema {}", aggregate.schema_id)?;
        writeln!(text, "result   {}", of(&aggregate.result))?;
        let merges = match aggregate.merges {
            true => "in windows of every kind",
            false => "no: in tumbling and global windows without corrections only",
        };
        return writeln!(text, "merges   {merges}");
    }
    match (&descriptor.keys[..], descriptor.keyed) {
        ([], true) => writeln!(text, "key      needs key-by")?,
        ([], false) => writeln!(text, "key      needs none")?,
        (keys, _) => writeln!(text, "key      {}", columns(&Schema::new(keys.to_vec())))?,
    }
    let order = match descriptor.order {
        Order::Arrival => "arrival",
        Order::EventTime => "event-time",
    };
    writeln!(text, "order    {order}")?;
    states(descriptor, text)?;
    for timer in &descriptor.timers {
        writeln!(
            text,
            "timer    {} in {} time",
            timer.name,
            domain(timer.time)
        )?;
    }
    for (name, _) in &descriptor.features {
        writeln!(text, "feature  {name}")?;
    }
    for what in &descriptor.unstable {
        writeln!(text, "unstable {what}")?;
    }
    Ok(())
}

fn states(descriptor: &Descriptor, text: &mut String) -> std::fmt::Result {
    for state in &descriptor.states {
        let of = data_type::print(state.value.data_type(), state.value.is_nullable());
        write!(
            text,
            "state    {}: {} of {of}",
            state.name,
            state.kind.name()
        )?;
        if let Some(ttl) = state.ttl {
            let after = std::time::Duration::from_micros(ttl.after_us.unsigned_abs());
            let after = duration::print(after);
            write!(
                text,
                ", forgotten {after} after the last write in {} time",
                domain(ttl.time)
            )?;
        }
        match (state.kind, state.column) {
            (Kind::Map, Some(column)) => {
                let name = descriptor.inputs[0].schema.field(column).name();
                writeln!(text, ", entries ride with the batch by column `{name}`")?;
            }
            (Kind::Map, None) => {
                writeln!(
                    text,
                    ", each access that is not prefetched is a call of the host"
                )?;
            }
            _ => writeln!(text)?,
        }
        writeln!(text, "           schema {}", state.schema_id)?;
        for older in &state.migrations {
            let of = data_type::print(older.value.data_type(), older.value.is_nullable());
            let key = older.key.as_ref();
            let key = key.map(|key| data_type::print(key.data_type(), key.is_nullable()) + " ");
            let (key, kind) = (key.unwrap_or_default(), state.kind.name());
            writeln!(text, "           migrates from {kind} {key}{of}")?;
            writeln!(text, "             schema {}", older.schema_id)?;
        }
    }
    Ok(())
}

fn domain(domain: TimeDomain) -> &'static str {
    match domain {
        TimeDomain::Event => "event",
        TimeDomain::Processing => "processing",
    }
}

fn columns(schema: &Schema) -> String {
    let column = |field: &std::sync::Arc<Field>| {
        let of = data_type::print(field.data_type(), field.is_nullable());
        format!("{}: {of}", field.name())
    };
    let columns: Vec<String> = schema.fields().iter().map(column).collect();
    columns.join(", ")
}

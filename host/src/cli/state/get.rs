//! `wasmill state get`.

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::{
    cli::{
        self,
        checkpoint::{pretty, time},
        failure::Failure,
        target::{self, failure},
    },
    inspection::{KeptOf, KeyRow, Table, Tables},
    segment::Address,
};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    target: target::Arguments,
    /// The operator.
    operator: String,
    /// The key: a value, a JSON list or object of the key's columns, or `column=value`, several
    /// with commas between.
    key: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let found = arguments.target.find()?;
    let manifest = found.manifest()?;
    let names = found.key_names(&manifest);
    let tables = Tables::new(&found.log, &manifest, &names).map_err(failure)?;
    let uid = arguments.operator.as_str();
    let operator = tables.operator(uid).map_err(failure)?;
    let columns = tables.of(uid).next().map(|table| table.key.clone());
    let columns = columns.filter(|columns| !columns.fields().is_empty());
    let columns = columns.ok_or_else(|| {
        Failure::Invalid(format!(
            "operator `{uid}` keeps nothing by key in this checkpoint"
        ))
    })?;
    let key = columns.parse(&arguments.key).map_err(failure)?;
    let mut told = json!({
        "checkpoint": manifest.checkpoint,
        "operator": uid,
        "key": columns.to_json(&key),
        "key-group": columns.group(&key, manifest.key_hash),
    });
    let mut is_there = false;
    let own = [uid].into_iter().chain(found.gates_of(uid, &manifest));
    let mut features = Vec::new();
    let (mut states, mut timers) = (Map::new(), Vec::new());
    for of in own {
        for (table, address, row) in tables.of_key(of, &key).map_err(failure)? {
            is_there = true;
            match table.kept {
                KeptOf::Timers => timers.push(json!({
                    "timer": address.name,
                    "at": row.time.map(time),
                })),
                KeptOf::Features => features.push(feature(&address, row)),
                _ => put(&mut states, table, row),
            }
        }
    }
    if !is_there {
        let key = &told["key"];
        return Err(Failure::Failed(format!(
            "operator `{uid}` keeps nothing of key {key} in checkpoint {}",
            manifest.checkpoint
        )));
    }
    told["watermark"] = time(operator.watermark).into();
    told["states"] = states.into();
    told["timers"] = timers.into();
    told["features"] = features.into();
    cli::print(&pretty(&told))
}

fn feature(address: &Address, row: KeyRow) -> Json {
    let memory = serde_json::from_str(&address.name);
    json!({
        "memory": memory.unwrap_or_else(|_| Json::String(address.name.clone())),
        "remembers": row.value,
    })
}

/// Adds a row to its state.
fn put(states: &mut Map<String, Json>, table: &Table, row: KeyRow) {
    let state = states.entry(table.name.clone()).or_insert_with(|| {
        let schema = table.state.as_ref().map(ToString::to_string);
        json!({ "type": schema })
    });
    let value = row.value.unwrap_or_default();
    let written = |at: &mut Json| {
        if let Some(us) = row.time {
            at["written"] = time(us).into();
        }
    };
    match table.kept {
        KeptOf::List => match state["items"].as_array_mut() {
            Some(items) => items.push(value),
            None => {
                state["items"] = vec![value].into();
                written(state);
            }
        },
        KeptOf::Windows => match state["windows"].as_array_mut() {
            Some(windows) => windows.push(value),
            None => state["windows"] = vec![value].into(),
        },
        KeptOf::Map => {
            let mut entry = json!({ "key": row.entry, "value": value });
            written(&mut entry);
            match state["entries"].as_array_mut() {
                Some(entries) => entries.push(entry),
                None => state["entries"] = vec![entry].into(),
            }
        }
        _ => {
            state["value"] = value;
            written(state);
        }
    }
}

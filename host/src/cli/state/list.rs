//! `wasmill state ls`.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::ListArguments;
use crate::{
    cli::{
        self,
        checkpoint::pretty,
        failure::Failure,
        table::{self, bytes},
        target::failure,
    },
    inspection::{GroupUsage, KeptOf, StateUsage, Table, Tables, usage},
};

/// What there is of an operator.
struct Listed<'a> {
    uid: &'a str,
    states: Vec<(&'a Table, StateUsage)>,
    groups: BTreeMap<u16, GroupUsage>,
    /// Rows that wait for the watermark.
    held: u64,
}

pub(super) fn run(arguments: &ListArguments) -> Result<(), Failure> {
    let found = arguments.target.find()?;
    let manifest = found.manifest()?;
    let names = found.key_names(&manifest);
    let tables = Tables::new(&found.log, &manifest, &names).map_err(failure)?;
    let mut listed = Vec::new();
    for (uid, state) in &manifest.operators {
        let (used, groups) = usage(&tables, uid).map_err(failure)?;
        let rows = state.parts.iter();
        let rows = rows.filter_map(|part| part.state.get("held-rows")?.get("rows")?.as_u64());
        let states = tables.of(uid).zip(used);
        // What no state declares is told where there is some.
        let is_told = |(table, used): &(&Table, StateUsage)| table.state.is_some() || used.rows > 0;
        listed.push(Listed {
            uid,
            states: states.filter(is_told).collect(),
            groups,
            held: rows.sum(),
        });
    }
    let text = match arguments.json {
        true => {
            let rows: Vec<Json> = listed
                .iter()
                .map(|it| it.json(arguments.key_groups))
                .collect();
            pretty(&json!({ "checkpoint": manifest.checkpoint, "operators": rows }))
        }
        false => text(&listed, arguments.key_groups),
    };
    cli::print(&text)
}

fn text(listed: &[Listed<'_>], key_groups: bool) -> String {
    let mut table = table::Table::new(&["operator", "state", "type", "#keys", "#rows", "#size"]);
    for operator in listed {
        for (of, used) in &operator.states {
            table.row([
                operator.uid.into(),
                of.name.clone(),
                kind(of),
                match of.kept {
                    KeptOf::Subtask => String::new(),
                    _ => used.keys.to_string(),
                },
                used.rows.to_string(),
                bytes(used.bytes),
            ]);
        }
        if operator.held > 0 {
            table.row([
                operator.uid.into(),
                String::new(),
                "rows that wait for the watermark".into(),
                String::new(),
                operator.held.to_string(),
                String::new(),
            ]);
        }
    }
    let mut text = table.text();
    if key_groups {
        let mut table = table::Table::new(&["operator", "#key group", "#keys", "#rows", "#size"]);
        for operator in listed {
            for (group, used) in &operator.groups {
                table.row([
                    operator.uid.into(),
                    group.to_string(),
                    used.keys.to_string(),
                    used.rows.to_string(),
                    bytes(used.bytes),
                ]);
            }
        }
        text = text + "\n" + &table.text();
    }
    text
}

fn kind(table: &Table) -> String {
    match (&table.state, table.kept) {
        (Some(schema), _) => schema.to_string(),
        (None, KeptOf::Features) => "what features remember".into(),
        (None, _) => "pending timers".into(),
    }
}

impl Listed<'_> {
    fn json(&self, key_groups: bool) -> Json {
        let states = self.states.iter().map(|(of, used)| {
            let mut state = json!({
                "name": of.name,
                "keys": used.keys,
                "rows": used.rows,
                "bytes": used.bytes,
            });
            match &of.state {
                Some(schema) => {
                    state["kind"] = schema.kind.as_str().into();
                    state["type"] = schema.value.as_str().into();
                    if let Some(key) = &schema.key {
                        state["key"] = key.as_str().into();
                    }
                }
                None => state["kind"] = of.name.as_str().into(),
            }
            state
        });
        let mut operator = json!({
            "operator": self.uid,
            "states": states.collect::<Vec<_>>(),
            "held-rows": self.held,
        });
        if key_groups {
            let groups = self.groups.iter().map(|(group, used)| {
                json!({
                    "key-group": group,
                    "keys": used.keys,
                    "rows": used.rows,
                    "bytes": used.bytes,
                })
            });
            operator["key-groups"] = groups.collect::<Vec<_>>().into();
        }
        operator
    }
}

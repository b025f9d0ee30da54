//! State as tables of typed columns.

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, SchemaRef};
use serde_json::Value as Json;
use wasmill_core::{
    checkpoint::{Manifest, OperatorState, StateSchema},
    data_type, encoding, spelling,
};

use super::{
    InspectionError, KeyColumns, Log,
    columns::Columns,
    pending::{Pending, unkeyed},
    stretch::Stretches,
    windows,
};
use crate::{
    feature, join,
    segment::{Address, Kind, Row},
    window,
};

/// The names of key columns, by operator's uid.
pub type KeyNames = BTreeMap<String, Vec<String>>;

/// What a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptOf {
    /// A value of each key.
    Value,
    /// The items of each key's list.
    List,
    /// The entries of each key's map.
    Map,
    /// A value of each subtask.
    Subtask,
    /// Pending timers.
    Timers,
    /// What features remember.
    Features,
    /// What windows keep.
    Windows,
}

/// A state, the pending timers, or what features remember of one operator.
#[derive(Debug, Clone)]
pub struct Table {
    /// The operator's uid.
    pub operator: String,
    /// The state's name; `timers` and `features` for those.
    pub name: String,
    /// What it holds.
    pub kept: KeptOf,
    /// The state's schema; none for timers and features.
    pub state: Option<StateSchema>,
    /// Its columns.
    pub schema: SchemaRef,
    /// The columns of its key.
    pub key: KeyColumns,
    pub(super) entry: Option<Field>,
    pub(super) value: Option<Field>,
    /// How what windows keep is read, if it is of windows.
    pub(super) windows: Option<Arc<window::Definition>>,
}

/// The tables of a checkpoint.
pub struct Tables<'a> {
    log: &'a Log,
    /// The checkpoint.
    pub manifest: &'a Manifest,
    /// All of them, by operator.
    pub tables: Vec<Table>,
}

impl<'a> Tables<'a> {
    /// The tables of a checkpoint's state.
    ///
    /// # Errors
    /// If the manifest's schemas are none.
    pub fn new(
        log: &'a Log,
        manifest: &'a Manifest,
        names: &KeyNames,
    ) -> Result<Self, InspectionError> {
        let mut tables = Vec::new();
        for (uid, operator) in &manifest.operators {
            let names = names.get(uid).map(Vec::as_slice);
            let key = KeyColumns::new(uid, &operator.identity, names)?;
            for (name, schema) in &operator.identity.states {
                match &*schema.kind {
                    // It has no rows: it stands for the join's definition.
                    join::STATE => {}
                    window::STATE => tables.push(Table::windows((uid, name), schema, &key)),
                    _ => tables.push(Table::of_state((uid, name), schema, &key)?),
                }
            }
            if !key.fields().is_empty() {
                let is_free = |name: &str| !operator.identity.states.contains_key(name);
                tables.push(Table::timers(uid, &key, is_free("timers")));
                tables.push(Table::features(uid, &key, is_free("features")));
            }
        }
        Ok(Self {
            log,
            manifest,
            tables,
        })
    }

    /// An operator's state as the manifest names it.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn operator(&self, uid: &str) -> Result<&'a OperatorState, InspectionError> {
        self.manifest.operators.get(uid).ok_or_else(|| {
            let names = self.manifest.operators.keys().map(String::as_str);
            let hint = spelling::hint(uid, names);
            InspectionError::NoOperator {
                operator: uid.to_owned(),
                hint: hint.unwrap_or_else(|| "it holds none".into()),
            }
        })
    }

    /// The tables of an operator.
    pub fn of(&self, uid: &str) -> impl Iterator<Item = &Table> {
        self.tables
            .iter()
            .filter(move |table| table.operator == uid)
    }

    /// A table of an operator.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn table(&self, uid: &str, name: &str) -> Result<&Table, InspectionError> {
        self.operator(uid)?;
        let found = self.of(uid).find(|table| table.name == name);
        found.ok_or_else(|| {
            let names = self.of(uid).map(|table| table.name.as_str());
            InspectionError::NoState {
                operator: uid.to_owned(),
                state: name.to_owned(),
                hint: spelling::hint(name, names).unwrap_or_default(),
            }
        })
    }

    /// Hands on the rows of some tables of one operator, as record batches of bounded size.
    ///
    /// # Errors
    /// If the state is damaged, or `take` fails.
    pub fn read(
        &self,
        uid: &str,
        tables: &[&Table],
        take: &mut dyn FnMut(&Table, RecordBatch) -> Result<(), InspectionError>,
    ) -> Result<(), InspectionError> {
        let state = self.operator(uid)?;
        let mut pending: Vec<Pending> = tables.iter().map(|_| Pending::default()).collect();
        let is_keyed = |table: &&&Table| table.kept != KeptOf::Subtask;
        if tables.iter().any(|table| is_keyed(&table)) {
            let stretches = self.stretches(uid)?;
            stretches.all(&mut |address, row| {
                let Some(at) = tables.iter().position(|table| table.holds(address)) else {
                    return Ok(());
                };
                pending[at].push(address, row);
                match pending[at].is_full() {
                    true => take(tables[at], pending[at].finish(tables[at])?),
                    false => Ok(()),
                }
            })?;
        }
        for (table, mut pending) in tables.iter().zip(pending) {
            if table.kept == KeptOf::Subtask {
                unkeyed(table, &state.parts, &mut pending)?;
            }
            if pending.len() > 0 {
                take(table, pending.finish(table)?)?;
            }
        }
        Ok(())
    }

    /// The keyed state of an operator, its digests checked.
    pub(super) fn stretches(&self, uid: &str) -> Result<Stretches<'a>, InspectionError> {
        let state = self.operator(uid)?;
        let key_hash = self.manifest.key_hash;
        Stretches::open(&self.log.store, &self.log.scope, (uid, state), key_hash)
    }

    /// Everything that is kept of one key: the rows of an operator as JSON, with what they are
    /// about.
    ///
    /// # Errors
    /// If the state is damaged.
    pub fn of_key(
        &self,
        uid: &str,
        key: &[u8],
    ) -> Result<Vec<(&Table, Address, KeyRow)>, InspectionError> {
        self.operator(uid)?;
        let Some(first) = self.of(uid).next() else {
            return Ok(Vec::new());
        };
        let start = first.key.group(key, self.manifest.key_hash);
        let end = start + 1;
        let mut rows = Vec::new();
        let range = wasmill_core::key::KeyGroupRange { start, end };
        self.stretches(uid)?.rows(range, &mut |address, row| {
            if row.key == key
                && let Some(table) = self.of(uid).find(|table| table.holds(address))
            {
                rows.push((table, address.clone(), table.row(address, row)?));
            }
            Ok(())
        })?;
        Ok(rows)
    }
}

/// A row of a key, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRow {
    /// A map's key.
    pub entry: Option<Json>,
    /// The value; what features remember. None for a timer.
    pub value: Option<Json>,
    /// When the value was written, or a timer is due. Microseconds.
    pub time: Option<i64>,
}

impl Table {
    fn of_state(
        (uid, name): (&str, &str),
        schema: &StateSchema,
        key: &KeyColumns,
    ) -> Result<Self, InspectionError> {
        let wrong = |reason: String| InspectionError::Schema {
            operator: uid.to_owned(),
            reason: format!("state `{name}` {reason}"),
        };
        let field = |name: &str, text: &str| {
            let field = data_type::parse_field(name, text);
            field.map_err(|error| wrong(format!("has no type: {error}")))
        };
        let kept = match schema.kind.as_str() {
            "value" | "reducing" | "aggregating" => KeptOf::Value,
            "list" => KeptOf::List,
            "map" => KeptOf::Map,
            "operator" | "broadcast" => KeptOf::Subtask,
            other => return Err(wrong(format!("is of a kind `{other}` that is not known"))),
        };
        let value = field("value", &schema.value)?;
        let entry = schema.key.as_deref();
        let entry = entry.map(|text| field("entry", text)).transpose()?;
        let mut columns = Columns::default();
        if kept == KeptOf::Subtask {
            columns.add("subtask", &Field::new("subtask", DataType::UInt16, false));
        } else {
            key.fields()
                .iter()
                .for_each(|field| columns.add("key", field));
        }
        if kept == KeptOf::List {
            let position = Field::new("position", DataType::UInt32, false);
            columns.add("list", &position);
        }
        if let Some(entry) = &entry {
            columns.add_value("entry", entry);
        }
        columns.add_value("value", &value);
        if kept != KeptOf::Subtask {
            columns.add(
                "state",
                &Field::new("written", data_type::timestamp(), true),
            );
        }
        Ok(Self {
            operator: uid.to_owned(),
            name: name.to_owned(),
            kept,
            state: Some(schema.clone()),
            schema: columns.finish(),
            key: key.clone(),
            entry,
            value: Some(value),
            windows: None,
        })
    }

    fn timers(uid: &str, key: &KeyColumns, is_free: bool) -> Self {
        let columns = [
            Field::new("timer", DataType::Utf8, false),
            Field::new("at", data_type::timestamp(), false),
        ];
        Self::beside(uid, key, (KeptOf::Timers, "timers", is_free), &columns)
    }

    fn windows((uid, name): (&str, &str), schema: &StateSchema, key: &KeyColumns) -> Self {
        let definition = window::Definition::new(&schema.value);
        let fields = windows::fields().into_iter().chain(definition.fields());
        let columns: Vec<Field> = fields.collect();
        Self {
            state: Some(schema.clone()),
            windows: Some(Arc::new(definition)),
            ..Self::beside(uid, key, (KeptOf::Windows, name, true), &columns)
        }
    }

    fn features(uid: &str, key: &KeyColumns, is_free: bool) -> Self {
        let columns = [
            Field::new("memory", DataType::Utf8, false),
            Field::new("remembers", DataType::Utf8, false),
        ];
        Self::beside(uid, key, (KeptOf::Features, "features", is_free), &columns)
    }

    /// A table that no state declares. A state may have its name; then it is called otherwise.
    fn beside(
        uid: &str,
        key: &KeyColumns,
        (kept, name, is_free): (KeptOf, &str, bool),
        own: &[Field],
    ) -> Self {
        let mut columns = Columns::default();
        key.fields()
            .iter()
            .for_each(|field| columns.add("key", field));
        own.iter().for_each(|field| columns.add(name, field));
        Self {
            operator: uid.to_owned(),
            name: match is_free {
                true => name.to_owned(),
                false => format!("{name}.pending"),
            },
            kept,
            state: None,
            schema: columns.finish(),
            key: key.clone(),
            entry: None,
            value: None,
            windows: None,
        }
    }

    /// Whether rows about an address are the table's.
    pub fn holds(&self, address: &Address) -> bool {
        match (self.kept, address.kind) {
            (KeptOf::Value, Kind::Value)
            | (KeptOf::List, Kind::List)
            | (KeptOf::Map | KeptOf::Windows, Kind::Map) => self.name == address.name,
            (KeptOf::Timers, Kind::Timer) | (KeptOf::Features, Kind::Feature) => true,
            _ => false,
        }
    }

    /// What is wrong with a row, if something is.
    pub(super) fn check(&self, address: &Address, row: &Row<'_>) -> Result<(), String> {
        let of = |field: &Field, bytes: Option<&[u8]>, what: &str| {
            let bytes = bytes.ok_or_else(|| format!("has no {what}"))?;
            let valid = encoding::validate(field.data_type(), field.is_nullable(), bytes);
            valid.map_err(|error| format!("has a {what} that is not of its type: {error}"))
        };
        let nothing = |bytes: Option<&[u8]>, what: &str| match bytes {
            None => Ok(()),
            Some(_) => Err(format!("has {what} that does not belong there")),
        };
        match self.kept {
            KeptOf::Timers => {
                nothing(row.value, "a value")?;
                row.time.map(drop).ok_or("has no time")?;
            }
            KeptOf::Features => {
                let value = row.value.ok_or("has no value")?;
                let told = feature::describe(&address.name, value);
                told.map(drop).ok_or("is not what its definition says")?;
            }
            KeptOf::Windows => {
                let entry = row.entry.ok_or("has no entry")?;
                let value = row.value.ok_or("has no value")?;
                let definition = self.windows.as_deref();
                let told = definition.and_then(|it| it.describe(entry, value));
                told.map(drop).ok_or("is not what windows keep")?;
            }
            KeptOf::Value | KeptOf::List | KeptOf::Map | KeptOf::Subtask => {
                if let Some(value) = &self.value {
                    of(value, row.value, "value")?;
                }
                match (&self.entry, self.kept) {
                    (Some(entry), _) => of(entry, row.entry, "map key")?,
                    (None, KeptOf::List) => {
                        let position = row.entry.and_then(|entry| <[u8; 4]>::try_from(entry).ok());
                        position.map(drop).ok_or("has no position of four bytes")?;
                    }
                    (None, _) => nothing(row.entry, "an entry")?,
                }
            }
        }
        Ok(())
    }

    /// The place of a row, for messages.
    pub(super) fn place(&self, key: &[u8]) -> String {
        let key = self.key.to_json(key);
        format!("operator `{}`, `{}` of key {key}", self.operator, self.name)
    }

    fn row(&self, address: &Address, row: &Row<'_>) -> Result<KeyRow, InspectionError> {
        self.check(address, row)
            .map_err(|reason| InspectionError::Value {
                place: self.place(row.key),
                reason,
            })?;
        let json = |field: &Field, bytes: &[u8]| {
            encoding::to_json(field.data_type(), field.is_nullable(), bytes).ok()
        };
        let value = match (self.kept, &self.value) {
            (KeptOf::Features, _) => row
                .value
                .and_then(|it| feature::describe(&address.name, it)),
            (KeptOf::Windows, _) => {
                let definition = self.windows.as_deref();
                let row = definition.zip(row.entry.zip(row.value));
                row.and_then(|(it, (entry, value))| windows::to_json(it, entry, value))
            }
            (_, Some(field)) => row.value.and_then(|value| json(field, value)),
            _ => None,
        };
        let entry = self.entry.as_ref();
        Ok(KeyRow {
            entry: entry.and_then(|field| json(field, row.entry?)),
            value,
            time: row.time,
        })
    }
}

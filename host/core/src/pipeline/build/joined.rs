//! Binds a join to its two streams.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{Field, Schema};

use super::{Builder, windowed};
use crate::join::{ColumnFrom, JoinDocument, JoinKind, JoinSpec, JoinType, JoinedColumn, Side};
use crate::pipeline::document::{InputDocument, KeyBy, OperatorDocument, OrderWord};
use crate::pipeline::{
    Batching, ColumnBinding, ColumnOrigin, InputBinding, Operator, OperatorId, OperatorKind,
    Producer, Stream, StreamId,
};
use crate::spelling;
use crate::tree::Path;

/// A sound join with its streams; none, with the mistakes noted, if there are any.
pub(super) fn operator(
    builder: &mut Builder<'_>,
    (index, name): (usize, &str),
    (document, join): (&OperatorDocument, &JoinDocument),
) -> Option<Operator> {
    let path = Path::keys(&["operators", name]);
    let errors_before = builder.errors.len();
    windowed::only_of_plugins(builder, &path, document, false);
    windowed::only_of_windows(builder, &path, document);
    let kind = kind(builder, &path.key("join"), join);
    let streams = sides(builder, &path.key("input"), &document.input)?;
    let mut binding = Binding {
        schemas: streams.map(|stream| builder.streams[stream.0].schema.clone()),
        builder,
        path,
        document,
        streams,
    };
    let keys = binding.keys();
    let kind = kind?;
    let join_type = join.join_type.map_or(JoinType::Inner, Into::into);
    binding.fits(kind, join_type);
    let keys = keys?;
    let selected = binding.selected(&keys, join_type);
    if binding.builder.errors.len() > errors_before {
        return None;
    }
    let columns = binding.fields(&selected, join_type)?;
    let (inputs, places) = binding.inputs(&keys, &selected);
    let columns = columns.into_iter().zip(places);
    let spec = JoinSpec {
        kind,
        join_type,
        columns: columns
            .map(|(field, from)| JoinedColumn { field, from })
            .collect(),
    };
    let (output, late) = binding.outputs((OperatorId(index), name), &spec);
    let [late, late_right] = late;
    Some(Operator {
        name: name.into(),
        inputs,
        key_by: document.key_by.to_vec(),
        order: match kind.is_timed() {
            true => OrderWord::EventTime,
            false => OrderWord::Arrival,
        },
        batch: document
            .batch
            .as_ref()
            .map(Batching::from)
            .unwrap_or_default(),
        outputs: vec![output],
        late,
        late_right,
        kind: OperatorKind::Join(Box::new(spec)),
    })
}

/// Which rows meet.
fn kind(builder: &mut Builder<'_>, path: &Path, join: &JoinDocument) -> Option<JoinKind> {
    builder.exactly_one(path, "a join", &join.kinds())?;
    if let Some(window) = &join.window {
        builder.exactly_one(&path.key("window"), "a window", &window.kinds())?;
    }
    let within = match join.window {
        Some(_) => path.key("window"),
        None => path.clone(),
    };
    let kind = join.kind().map_err(|mistake| {
        let [kind, field] = mistake.field;
        let path = within.key(kind);
        let path = match builder.tree.at(&path.key(field)) {
            Some(_) => path.key(field),
            None => path,
        };
        builder.wrong(&path, &mistake.message, Some(mistake.remedy));
    });
    kind.ok()
}

/// The streams of the left and the right side.
fn sides(builder: &mut Builder<'_>, path: &Path, input: &InputDocument) -> Option<[StreamId; 2]> {
    let remedy = "write `input: { left: STREAM, right: STREAM }`";
    let InputDocument::Named(map) = input else {
        builder.wrong(path, "a join has two sides", Some(remedy));
        return None;
    };
    for side in map.keys() {
        if side != "left" && side != "right" {
            let message = format!("a join has no side `{side}`");
            builder.wrong(&path.key(side), &message, Some(remedy));
        }
    }
    let found = Side::BOTH.map(|side| match map.get(side.name()) {
        Some(stream) => builder.find(&path.key(side.name()), stream),
        None => {
            let message = format!("the {} side has no stream", side.name());
            builder.wrong(path, &message, Some(remedy));
            None
        }
    });
    match found {
        [Some(left), Some(right)] => Some([left, right]),
        _ => None,
    }
}

/// Where a column of the output is, among all columns of the sides.
#[derive(Debug, Clone)]
struct Selected {
    name: String,
    from: ColumnFrom,
}

/// A join whose streams are known.
struct Binding<'a, 'b> {
    builder: &'a mut Builder<'b>,
    path: Path,
    document: &'a OperatorDocument,
    streams: [StreamId; 2],
    schemas: [Arc<Schema>; 2],
}

impl Binding<'_, '_> {
    /// The key columns of both sides, which have to have the same types.
    fn keys(&mut self) -> Option<[Vec<usize>; 2]> {
        let path = self.path.key("key-by");
        let names = match &self.document.key_by {
            KeyBy::Columns(names) => [names.clone(), names.clone()],
            KeyBy::Sides(sides) => [sides.left.clone(), sides.right.clone()],
        };
        if names.iter().any(Vec::is_empty) {
            let message = "rows of a join meet by their keys";
            self.builder.wrong(&path, message, Some("add `key-by`"));
            return None;
        }
        let errors_before = self.builder.errors.len();
        let keys = Side::BOTH.map(|side| {
            let at = match &self.document.key_by {
                KeyBy::Columns(_) => path.clone(),
                KeyBy::Sides(_) => path.key(side.name()),
            };
            let schema = self.schemas[side.index()].clone();
            self.builder
                .key_columns_at(&at, &names[side.index()], &schema)
        });
        if self.builder.errors.len() > errors_before {
            return None;
        }
        let [left, right] = Side::BOTH.map(|side| {
            let of = |at: &usize| {
                let field = self.schemas[side.index()].field(*at);
                (field.data_type().clone(), field.is_nullable())
            };
            keys[side.index()].iter().map(of).collect::<Vec<_>>()
        });
        if left != right {
            let message = "the key columns of the sides have different types";
            let remedy = "declare them alike, null included";
            self.builder.wrong(&path, message, Some(remedy));
            return None;
        }
        if self.streams[0] == self.streams[1] && keys[0] != keys[1] {
            let message = "a stream that is joined with itself has one key";
            let remedy = "use the same columns for both sides";
            self.builder.wrong(&path, message, Some(remedy));
            return None;
        }
        Some(keys)
    }

    /// What the kind of the join asks of its streams.
    fn fits(&mut self, kind: JoinKind, join_type: JoinType) {
        let input = self.path.key("input");
        let has_time = |side: Side| self.builder.streams[self.streams[side.index()].0].has_time;
        let timeless = Side::BOTH.into_iter().find(|side| !has_time(*side));
        if let Some(side) = timeless.filter(|_| kind.is_timed()) {
            let message = format!(
                "{} joins go by event time, and the stream has none",
                kind.name()
            );
            let remedy = "declare `event-time` at the source";
            let path = input.key(side.name());
            self.builder.wrong(&path, &message, Some(remedy));
        }
        if self.document.order == Some(OrderWord::Arrival) && kind.is_timed() {
            let message = format!("{} joins go by event time", kind.name());
            let path = self.path.key("order");
            self.builder.wrong(&path, &message, Some("remove it"));
        }
        if self.document.order == Some(OrderWord::EventTime) && !kind.is_timed() {
            let message = "a lookup takes rows as they come";
            let path = self.path.key("order");
            self.builder.wrong(&path, message, Some("remove it"));
        }
        let is_versioned = matches!(kind, JoinKind::AsOf { .. });
        let plain = match is_versioned {
            true => &self.streams[..1],
            false => &self.streams[..],
        };
        self.builder.no_changelog(&self.path, plain, "a join");
        if (is_versioned || kind == JoinKind::Lookup) && join_type.keeps(Side::Right) {
            let message = format!("{} joins are `inner` or `left`", kind.name());
            let path = self.path.key("join").key("type");
            self.builder
                .wrong(&path, &message, Some("choose one of them"));
        }
        if kind == JoinKind::Lookup {
            self.table(&input.key("right"));
        }
    }

    /// The right side of a lookup has an end, and does not wait for the left one.
    fn table(&mut self, path: &Path) {
        let [left, right] = self.streams.map(|stream| self.builder.sources_of(stream));
        if left.intersection(&right).next().is_some() {
            let message = "the table comes from the same source as the rows that wait for it";
            let remedy = "read the table by a source of its own";
            self.builder.wrong(path, message, Some(remedy));
        }
        let sources = &self.builder.document.sources;
        let has_no_end = |name: &&&str| {
            sources.get(**name).is_some_and(|source| {
                let follows = source.file.as_ref().is_some_and(|file| file.follow);
                let generator = source.generator.as_ref();
                follows || generator.is_some_and(|generator| generator.records.is_none())
            })
        };
        if let Some(name) = right.iter().find(has_no_end) {
            let message = format!("`{name}` has no end, and a table is read to its end first");
            let remedy = "remove `follow: true`, or use `join: { as-of: {} }`";
            self.builder.wrong(path, &message, Some(remedy));
        }
    }

    /// The columns of the output.
    fn selected(&mut self, keys: &[Vec<usize>; 2], join_type: JoinType) -> Vec<Selected> {
        match &self.document.select {
            Some(select) => {
                let path = self.path.key("select");
                if select.is_empty() {
                    let message = "a join has columns";
                    self.builder
                        .wrong(&path, message, Some("add some, or remove `select`"));
                }
                let columns = select.iter();
                let columns = columns.filter_map(|(name, from)| {
                    let from = self.column(&path.key(name), from, keys)?;
                    let name = name.clone();
                    Some(Selected { name, from })
                });
                columns.collect()
            }
            None => self.all(keys, join_type),
        }
    }

    /// The key once, then the other columns of both sides. A name that both have gets the side in
    /// front.
    fn all(&self, keys: &[Vec<usize>; 2], join_type: JoinType) -> Vec<Selected> {
        let [left, right] = &self.schemas;
        let mut selected: Vec<Selected> = Vec::new();
        for (left_at, right_at) in keys[0].iter().zip(&keys[1]) {
            selected.push(Selected {
                name: left.field(*left_at).name().clone(),
                from: match join_type.keeps(Side::Right) {
                    true => ColumnFrom::Either(*left_at, *right_at),
                    false => ColumnFrom::Side(Side::Left, *left_at),
                },
            });
        }
        let names: HashSet<&str> = keys[0]
            .iter()
            .map(|at| left.field(*at).name().as_str())
            .collect();
        for side in Side::BOTH {
            let (own, other) = match side {
                Side::Left => (left, right),
                Side::Right => (right, left),
            };
            let other_keys = &keys[side.other().index()];
            for (at, field) in own.fields().iter().enumerate() {
                if keys[side.index()].contains(&at) {
                    continue;
                }
                let found = other.index_of(field.name()).ok();
                let clashes = found.is_some_and(|at| !other_keys.contains(&at))
                    || names.contains(field.name().as_str());
                selected.push(Selected {
                    name: match clashes {
                        true => format!("{}-{}", side.name(), field.name()),
                        false => field.name().clone(),
                    },
                    from: ColumnFrom::Side(side, at),
                });
            }
        }
        selected
    }

    /// `left.NAME`, `right.NAME` or `key.NAME`.
    fn column(&mut self, path: &Path, text: &str, keys: &[Vec<usize>; 2]) -> Option<ColumnFrom> {
        let (of, name) = text.split_once('.').unwrap_or(("", text));
        let side = match of {
            "left" | "key" => Side::Left,
            "right" => Side::Right,
            _ => {
                let message = format!("`{text}` names no column of a side");
                let remedy = "write `left.COLUMN`, `right.COLUMN` or `key.COLUMN`";
                self.builder.wrong(path, &message, Some(remedy));
                return None;
            }
        };
        let schema = self.schemas[side.index()].clone();
        if of == "key" {
            let place = keys[0]
                .iter()
                .position(|at| schema.field(*at).name() == name);
            if let Some(place) = place {
                return Some(ColumnFrom::Either(keys[0][place], keys[1][place]));
            }
            let names = keys[0].iter().map(|at| schema.field(*at).name().as_str());
            let hint = spelling::hint(name, names);
            let message = format!("there is no column `{name}` in the key");
            self.builder.wrong(path, &message, hint.as_deref());
            return None;
        }
        if let Ok(at) = schema.index_of(name) {
            return Some(ColumnFrom::Side(side, at));
        }
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let hint = spelling::hint(name, names);
        let message = format!("the {} side has no column `{name}`", side.name());
        self.builder.wrong(path, &message, hint.as_deref());
        None
    }

    /// The columns that the join keeps of each side, and those of the output by their places
    /// among them.
    fn inputs(
        &self,
        keys: &[Vec<usize>; 2],
        selected: &[Selected],
    ) -> (Vec<InputBinding>, Vec<ColumnFrom>) {
        let mut kept: [Vec<usize>; 2] = Default::default();
        let mut place = |side: Side, at: usize| {
            let kept = &mut kept[side.index()];
            kept.iter()
                .position(|known| *known == at)
                .unwrap_or_else(|| {
                    kept.push(at);
                    kept.len() - 1
                })
        };
        let places = selected.iter().map(|column| match column.from {
            ColumnFrom::Side(side, at) => ColumnFrom::Side(side, place(side, at)),
            ColumnFrom::Either(left, right) => {
                ColumnFrom::Either(place(Side::Left, left), place(Side::Right, right))
            }
        });
        let places: Vec<_> = places.collect();
        let inputs = Side::BOTH.map(|side| {
            let schema = &self.schemas[side.index()];
            let column = |at: &usize| ColumnBinding {
                origin: ColumnOrigin::Stream(*at),
                to: schema.field(*at).clone(),
                widened: false,
            };
            InputBinding {
                stream: self.streams[side.index()],
                input: side.index(),
                columns: kept[side.index()].iter().map(column).collect(),
                key_columns: keys[side.index()].clone(),
                keys: Vec::new(),
            }
        });
        (inputs.into(), places)
    }

    /// The names and types of the output's columns.
    fn fields(&mut self, selected: &[Selected], join_type: JoinType) -> Option<Vec<Field>> {
        let mut fields: Vec<Field> = Vec::new();
        for Selected { name, from } in selected {
            let (side, at, may_lack) = match from {
                ColumnFrom::Side(side, at) => (*side, *at, join_type.keeps(side.other())),
                ColumnFrom::Either(left, _) => (Side::Left, *left, false),
            };
            let of = self.schemas[side.index()].field(at);
            let field = Field::new(name, of.data_type().clone(), of.is_nullable() || may_lack);
            if fields.iter().any(|known| known.name() == name) {
                let message = format!("two columns of the join are called `{name}`");
                let remedy = "say with `select` what columns it has";
                self.builder.wrong(&self.path, &message, Some(remedy));
                return None;
            }
            fields.push(field);
        }
        Some(fields)
    }

    /// Adds the streams of joined rows, and of late rows of both sides.
    fn outputs(
        &mut self,
        (id, name): (OperatorId, &str),
        spec: &JoinSpec,
    ) -> (StreamId, [Option<StreamId>; 2]) {
        let left = &self.builder.streams[self.streams[0].0];
        let has_time = spec.kind.is_timed() || left.has_time;
        let fields: Vec<Field> = spec.columns.iter().map(|it| it.field.clone()).collect();
        let output = self.builder.stream(Stream {
            name: name.into(),
            schema: Arc::new(Schema::new(fields)),
            has_time,
            is_changelog: false,
            producer: Producer::Output(id, 0),
        });
        let late = Side::BOTH.map(|side| {
            let schema = self.schemas[side.index()].clone();
            spec.kind.is_timed().then(|| {
                self.builder.stream(Stream {
                    name: format!("{name}.late-{}", side.name()),
                    schema,
                    has_time: true,
                    is_changelog: false,
                    producer: Producer::OperatorLate(id),
                })
            })
        });
        (output, late)
    }
}

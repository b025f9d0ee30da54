//! How messages of a schema become the declared columns: worked out once for each message of each
//! schema.

mod fields;
mod scalars;

use std::ops::Range;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::special::Special;
use crate::format::{
    debezium::Side,
    layout::{Layout, Shape},
};

pub(super) use fields::{Entry, Fields, Wire};
pub(super) use scalars::{How, Into};

/// What is done with a message.
#[derive(Debug)]
pub(super) struct Program {
    /// What is looked for in each message within the message.
    pub(super) fields: Vec<Fields>,
    /// The names of enumerations, by their numbers.
    pub(super) symbols: Vec<Symbols>,
    /// How many places there are for what is found.
    pub(super) slots: usize,
    /// Which of `fields` are those of the message itself.
    pub(super) root: usize,
    pub(super) body: Body,
}

/// The names of an enumeration, in the order of their numbers.
pub(super) type Symbols = Box<[(i32, Box<str>)]>;

/// What a message is.
#[derive(Debug)]
pub(super) enum Body {
    Row(Step),
    /// A change: where its kind stands, and the forms of its row.
    Change {
        op: usize,
        forms: [(Side, Form); 2],
    },
}

/// A form of a row: where it is noted that it is there, and how it is read.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) slot: usize,
    pub(super) step: Step,
}

/// How a node of the layout gets its next value.
#[derive(Debug)]
pub(super) enum Step {
    /// The schema has no such field.
    Missing(usize),
    /// A plain value. Where it is `always` there, nothing means zero.
    Scalar {
        node: usize,
        slot: usize,
        how: How,
        always: bool,
    },
    /// A plain value that is a message of its own kind.
    Special {
        node: usize,
        slot: usize,
        of: Special,
        parts: [usize; 3],
        always: bool,
    },
    /// A message; without a slot it is the record.
    Record {
        node: usize,
        slot: Option<usize>,
        steps: Box<[Step]>,
        always: bool,
    },
    List {
        node: usize,
        item: usize,
        slot: usize,
        element: Element,
    },
}

/// What the items of a list are.
#[derive(Debug)]
pub(super) enum Element {
    /// Plain values, one by one or many in a row.
    Scalar(How, Wire),
    /// Messages; what is found in one of them is forgotten before the next.
    Message {
        fields: usize,
        slots: Range<usize>,
        step: Box<Step>,
    },
}

impl Program {
    /// How messages become the columns of a layout.
    pub(super) fn new(
        of: &MessageDescriptor,
        layout: &Layout,
        is_changelog: bool,
    ) -> Result<Self, String> {
        let mut planner = Planner {
            layout,
            is_changelog,
            fields: Vec::new(),
            symbols: Vec::new(),
            slots: 0,
        };
        let (root, body) = match is_changelog {
            true => planner.envelope(of)?,
            false => {
                let (root, steps) = planner.message(of, planner.columns(), false)?;
                let row = Step::Record {
                    node: 0,
                    slot: None,
                    steps,
                    always: true,
                };
                (root, Body::Row(row))
            }
        };
        Ok(Self {
            fields: planner.fields,
            symbols: planner.symbols,
            slots: planner.slots,
            root,
            body,
        })
    }
}

pub(super) struct Planner<'a> {
    layout: &'a Layout,
    is_changelog: bool,
    fields: Vec<Fields>,
    symbols: Vec<Symbols>,
    slots: usize,
}

impl<'a> Planner<'a> {
    fn slot(&mut self) -> usize {
        self.slots += 1;
        self.slots - 1
    }

    /// The nodes of the record.
    fn columns(&self) -> &'a [usize] {
        match &self.layout.nodes[0].shape {
            Shape::Path(children) | Shape::Struct(children) => children,
            _ => &[],
        }
    }

    /// The fields of a message that lead to these nodes. In an entry of a map each is always there.
    fn message(
        &mut self,
        of: &MessageDescriptor,
        children: &[usize],
        is_entry: bool,
    ) -> Result<(usize, Box<[Step]>), String> {
        let (mut entries, mut steps) = (Vec::new(), Vec::new());
        for child in children {
            let name = &self.layout.nodes[*child].name;
            let Some(field) = of.get_field_by_name(name) else {
                let fields: Vec<FieldDescriptor> = of.fields().collect();
                let names: Vec<&str> = fields.iter().map(FieldDescriptor::name).collect();
                self.layout.may_lack(*child, &names)?;
                steps.push(Step::Missing(*child));
                continue;
            };
            let (entry, step) = self.field(&field, *child, is_entry)?;
            entries.push((entry, field));
            steps.push(step);
        }
        self.fields.push(fields::of_message(entries));
        Ok((self.fields.len() - 1, steps.into()))
    }

    fn field(
        &mut self,
        field: &FieldDescriptor,
        node: usize,
        is_entry: bool,
    ) -> Result<(Entry, Step), String> {
        let place = &self.layout.nodes[node].place;
        let mut entry = Entry::new(field, place);
        let slot = self.slot();
        entry.slot = Some(slot);
        let always = is_entry || !field.supports_presence();
        let step = match (&self.layout.nodes[node].shape, field.kind()) {
            (Shape::List(item), kind) if field.is_list() || field.is_map() => Step::List {
                node,
                item: *item,
                slot,
                element: match (field.is_map(), &kind) {
                    (true, Kind::Message(of)) => self.map(of, node, *item)?,
                    _ => self.element(&kind, *item)?,
                },
            },
            _ if field.is_list() || field.is_map() => return Err(self.unlisted(field, node)),
            (Shape::Path(children) | Shape::Struct(children), Kind::Message(of)) => {
                let (fields, steps) = self.message(&of, children, false)?;
                entry.message = Some(fields);
                Step::Record {
                    node,
                    slot: Some(slot),
                    steps,
                    always,
                }
            }
            (Shape::Scalar(kind), Kind::Message(of)) => {
                let (fields, of, parts) = self.special(&of, node, *kind)?;
                entry.message = Some(fields);
                Step::Special {
                    node,
                    slot,
                    of,
                    parts,
                    always,
                }
            }
            (Shape::Scalar(kind), of) => {
                let how = self.scalar(&of, node, *kind)?;
                Step::Scalar {
                    node,
                    slot,
                    how,
                    always: always && how.has_zero(*kind),
                }
            }
            (Shape::List(_), of) => return Err(self.unfit(&of, node, "a list")),
            (Shape::Path(_) | Shape::Struct(_), of) => {
                return Err(self.unfit(&of, node, "a message"));
            }
        };
        entry.slots = slot..self.slots;
        Ok((entry, step))
    }

    /// Each of several values of a field.
    fn element(&mut self, of: &Kind, node: usize) -> Result<Element, String> {
        let Kind::Message(message) = of else {
            let Shape::Scalar(kind) = self.layout.nodes[node].shape else {
                return Err(self.unfit(of, node, "another list, or a message"));
            };
            let how = self.scalar(of, node, kind)?;
            return Ok(Element::Scalar(how, Wire::of(of)));
        };
        let slot = self.slot();
        let (fields, step) = match &self.layout.nodes[node].shape {
            Shape::Path(children) | Shape::Struct(children) => {
                let (fields, steps) = self.message(message, children, false)?;
                let step = Step::Record {
                    node,
                    slot: Some(slot),
                    steps,
                    always: true,
                };
                (fields, step)
            }
            Shape::Scalar(kind) => {
                let (fields, of, parts) = self.special(message, node, *kind)?;
                let step = Step::Special {
                    node,
                    slot,
                    of,
                    parts,
                    always: true,
                };
                (fields, step)
            }
            Shape::List(_) => return Err(self.unfit(of, node, "a list within a list")),
        };
        Ok(Element::Message {
            fields,
            slots: slot..self.slots,
            step: Box::new(step),
        })
    }

    /// A map is a list of its entries.
    fn map(
        &mut self,
        entry: &MessageDescriptor,
        node: usize,
        item: usize,
    ) -> Result<Element, String> {
        let name = |child: &usize| self.layout.nodes[*child].name.as_str();
        let children = match &self.layout.nodes[item].shape {
            Shape::Struct(children) => children.as_slice(),
            _ => &[],
        };
        let mut names: Vec<&str> = children.iter().map(name).collect();
        names.sort_unstable();
        if names != ["key", "value"] {
            let place = &self.layout.nodes[node].place;
            return Err(format!(
                "field `{place}` is a map: declare it as `list<struct<key: K, value: T>>`"
            ));
        }
        let slot = self.slot();
        let (fields, steps) = self.message(entry, children, true)?;
        let step = Step::Record {
            node: item,
            slot: Some(slot),
            steps,
            always: true,
        };
        Ok(Element::Message {
            fields,
            slots: slot..self.slots,
            step: Box::new(step),
        })
    }

    /// The fields of Debezium's envelope.
    fn envelope(&mut self, of: &MessageDescriptor) -> Result<(usize, Body), String> {
        let find = |name: &str, fits: fn(&FieldDescriptor) -> bool| {
            let field = of.get_field_by_name(name).filter(fits);
            field.ok_or_else(|| {
                format!(
                    "it is no envelope of Debezium, which has a field `{name}`; if the connector \
                     unwraps its changes, remove `envelope`"
                )
            })
        };
        let op = find("op", |it| it.kind() == Kind::String && !it.is_list())?;
        let mut entry = Entry::new(&op, "op");
        let slot = self.slot();
        (entry.slot, entry.slots) = (Some(slot), slot..slot + 1);
        let mut entries = vec![(entry, op)];
        let mut form = |side: Side| {
            let field = find(side.name(), |it| {
                it.kind().as_message().is_some() && !it.is_list() && !it.is_map()
            })?;
            let kind = field.kind();
            let message = kind.as_message().ok_or("it is no message")?;
            let slot = self.slot();
            let made = self.message(message, self.columns(), false);
            let (fields, steps) = made.map_err(|reason| side.explain(&reason))?;
            let mut entry = Entry::new(&field, side.name());
            (entry.slot, entry.message) = (Some(slot), Some(fields));
            entry.slots = slot..self.slots;
            entries.push((entry, field));
            let step = Step::Record {
                node: 0,
                slot: Some(slot),
                steps,
                always: false,
            };
            Ok::<_, String>((side, Form { slot, step }))
        };
        let [before, after] = Side::ALL;
        let forms = [form(before)?, form(after)?];
        self.fields.push(fields::of_message(entries));
        Ok((self.fields.len() - 1, Body::Change { op: slot, forms }))
    }

    fn unlisted(&self, field: &FieldDescriptor, node: usize) -> String {
        let place = &self.layout.nodes[node].place;
        match field.is_map() {
            true => {
                format!("field `{place}` is a map: declare it as `list<struct<key: K, value: T>>`")
            }
            false => format!("field `{place}` is repeated: declare it as `list<T>`"),
        }
    }

    fn unfit(&self, of: &Kind, node: usize, wanted: &str) -> String {
        format!(
            "field `{}` is {} in the schema, which does not go into {wanted}",
            self.layout.nodes[node].place,
            scalars::told(of)
        )
    }
}

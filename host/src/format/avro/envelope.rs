//! The envelope of a change, before the rows in it are read.

use super::{
    plan::Step,
    read::Cursor,
    schema::{Kind, Schema, TypeId},
};
use crate::format::{
    debezium::{self, Images, Side},
    layout::Layout,
};

/// The fields of an envelope in the writer's order.
#[derive(Debug)]
pub(super) struct Envelope {
    parts: Box<[Part]>,
}

#[derive(Debug)]
enum Part {
    Skip(TypeId),
    Op,
    /// A form of the row; none in the branches that are null.
    Form(Side, Box<[Option<(TypeId, Step)>]>),
    /// A form that is always there.
    Whole(Side, TypeId, Step),
}

/// Where a form of the row stands, and how it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form<'a> {
    pub(super) step: &'a Step,
    pub(super) datum: &'a [u8],
}

/// What an envelope shows.
#[derive(Debug, Default)]
pub(super) struct Forms<'a> {
    before: Option<Form<'a>>,
    after: Option<Form<'a>>,
    op: &'a [u8],
}

impl Envelope {
    pub(super) fn new(schema: &Schema, layout: &Layout) -> Result<Self, String> {
        let Kind::Record(fields) = &schema.at(schema.root).kind else {
            return Err("it is no envelope of Debezium".into());
        };
        for name in ["before", "after", "op"] {
            if !fields.iter().any(|(field, _)| **field == *name) {
                return Err(format!(
                    "it is no envelope of Debezium, which has a field `{name}`; if the connector \
                     unwraps its changes, remove `envelope`"
                ));
            }
        }
        let parts = fields.iter().map(|(field, of)| {
            let side = Side::ALL.into_iter().find(|side| side.name() == &**field);
            match (side, &schema.at(*of).kind) {
                (Some(side), Kind::Union(branches)) => {
                    let form = |branch: &TypeId| match schema.at(*branch).kind {
                        Kind::Null => Ok(None),
                        _ => Ok(Some((*branch, Step::of(schema, *branch, layout)?))),
                    };
                    let forms = branches.iter().map(form);
                    let forms = forms.collect::<Result<_, String>>();
                    Ok(Part::Form(
                        side,
                        forms.map_err(|reason| side.explain(&reason))?,
                    ))
                }
                (Some(side), _) => Ok(Part::Whole(side, *of, Step::of(schema, *of, layout)?)),
                (None, Kind::Text) if &**field == "op" => Ok(Part::Op),
                (None, _) => Ok(Part::Skip(*of)),
            }
        });
        Ok(Self {
            parts: parts.collect::<Result<_, String>>()?,
        })
    }

    /// Looks through a datum.
    pub(super) fn scan<'a>(
        &'a self,
        schema: &Schema,
        datum: &'a [u8],
    ) -> Result<Forms<'a>, String> {
        let (mut cursor, mut forms) = (Cursor::new(datum), Forms::default());
        for part in &self.parts {
            match part {
                Part::Skip(of) => cursor.skip(schema, *of, 0)?,
                Part::Op => forms.op = cursor.octets()?,
                Part::Form(side, branches) => {
                    let branch = cursor.index(branches.len())?;
                    if let Some((of, step)) = &branches[branch] {
                        forms.add(*side, step, cursor.passed(schema, *of)?);
                    }
                }
                Part::Whole(side, of, step) => {
                    forms.add(*side, step, cursor.passed(schema, *of)?);
                }
            }
        }
        cursor.end()?;
        Ok(forms)
    }
}

impl<'a> Forms<'a> {
    fn add(&mut self, side: Side, step: &'a Step, datum: &'a [u8]) {
        let form = Some(Form { step, datum });
        match side {
            Side::Before => self.before = form,
            Side::After => self.after = form,
        }
    }

    /// The rows that the change becomes.
    pub(super) fn images(&self) -> Result<Images, String> {
        debezium::images(self.op, self.before.is_some(), self.after.is_some())
    }

    pub(super) fn form(&self, side: Side) -> Option<Form<'a>> {
        match side {
            Side::Before => self.before,
            Side::After => self.after,
        }
    }
}

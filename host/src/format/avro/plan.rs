//! How data of a writer's schema become the declared columns: worked out once for each schema.

use arrow_schema::DataType;

use super::schema::{Kind, Logical, Schema, TypeId};
use crate::format::{
    layout::{Layout, Shape},
    scalar,
};

/// What to do with the next value of a datum.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Nobody wants it.
    Skip(TypeId),
    /// It takes no bytes and is null.
    Null(usize),
    /// It says which of these follows.
    Union(Box<[Step]>),
    /// Into a column of plain values.
    Scalar(usize, How),
    /// Fields in the writer's order; then those that the writer does not have.
    Record {
        node: usize,
        fields: Box<[Step]>,
        missing: Box<[usize]>,
    },
    /// Into a list and its items.
    List {
        node: usize,
        item: usize,
        step: Box<Step>,
    },
    /// Into a list of keys with their values.
    Map {
        node: usize,
        item: usize,
        key: usize,
        value: Box<Step>,
    },
    /// A branch of a union that the column cannot hold.
    Refuse(Box<str>),
}

/// How a plain value is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum How {
    Bool,
    /// Into any integer, and into a date.
    Integer,
    /// A whole number into a float.
    IntegerToFloat,
    Float,
    Double,
    Octets,
    Fixed(usize),
    Text,
    /// The symbol of this enumeration.
    Symbol(TypeId),
    /// Text as any format has it: a number, a date, a time.
    Written(scalar::Kind),
    /// An unscaled decimal of so many places; its width, where it is fixed.
    Decimal(u32, Option<usize>),
    /// The same without places, into an integer.
    Whole(Option<usize>),
    /// A whole number into a decimal.
    IntegerToDecimal,
    /// So many of its units are a second.
    Timestamp(i64),
    /// 16 bytes as text.
    Uuid,
}

impl Step {
    /// How data of a schema become the columns of a layout.
    pub(crate) fn new(schema: &Schema, layout: &Layout) -> Result<Self, String> {
        Self::of(schema, schema.root, layout)
    }

    /// The same for a type within the schema that is the record.
    pub(crate) fn of(schema: &Schema, root: TypeId, layout: &Layout) -> Result<Self, String> {
        match &schema.at(root).kind {
            Kind::Record(_) => Planner { schema, layout }.value(root, 0),
            _ => Err(format!(
                "the schema is {} where a record belongs",
                schema.told(root)
            )),
        }
    }
}

struct Planner<'a> {
    schema: &'a Schema,
    layout: &'a Layout,
}

impl Planner<'_> {
    fn value(&self, of: TypeId, node: usize) -> Result<Step, String> {
        match (&self.schema.at(of).kind, &self.layout.nodes[node].shape) {
            (Kind::Union(branches), _) => self.union(branches, node),
            (Kind::Null, _) => Ok(Step::Null(node)),
            (Kind::Record(fields), Shape::Path(children) | Shape::Struct(children)) => {
                self.record(fields, node, children)
            }
            (Kind::Array(items), Shape::List(item)) => Ok(Step::List {
                node,
                item: *item,
                step: Box::new(self.value(*items, *item)?),
            }),
            (Kind::Map(values), Shape::List(item)) => self.map(*values, node, *item),
            (_, Shape::Scalar(kind)) => self.scalar(of, node, *kind),
            (_, Shape::List(_)) => Err(self.unfit(of, node, "a list")),
            (_, Shape::Path(_) | Shape::Struct(_)) => Err(self.unfit(of, node, "a record")),
        }
    }

    /// A branch that does not fit refuses its rows; where none fits, the schema does not.
    fn union(&self, branches: &[TypeId], node: usize) -> Result<Step, String> {
        let (mut steps, mut fits, mut unfit) = (Vec::new(), false, None);
        for branch in branches {
            let step = self.value(*branch, node);
            fits |= step.is_ok() && self.schema.at(*branch).kind != Kind::Null;
            steps.push(step.unwrap_or_else(|reason| {
                unfit = Some(reason.clone());
                Step::Refuse(reason.into())
            }));
        }
        match unfit {
            Some(reason) if !fits => Err(reason),
            _ => Ok(Step::Union(steps.into())),
        }
    }

    fn record(
        &self,
        fields: &[(Box<str>, TypeId)],
        node: usize,
        children: &[usize],
    ) -> Result<Step, String> {
        let name = |child: &usize| self.layout.nodes[*child].name.as_str();
        let steps = fields.iter().map(|(field, of)| {
            let child = children.iter().find(|child| name(child) == &**field);
            child.map_or(Ok(Step::Skip(*of)), |child| self.value(*of, *child))
        });
        let steps = steps.collect::<Result<_, _>>()?;
        let known = |child: &usize| fields.iter().any(|(field, _)| **field == *name(child));
        let missing: Box<[usize]> = children.iter().filter(|it| !known(it)).copied().collect();
        let names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
        for child in &missing {
            self.layout.may_lack(*child, &names)?;
        }
        Ok(Step::Record {
            node,
            fields: steps,
            missing,
        })
    }

    /// A map is a list of its entries.
    fn map(&self, values: TypeId, node: usize, item: usize) -> Result<Step, String> {
        let named = |name: &str| {
            let Shape::Struct(children) = &self.layout.nodes[item].shape else {
                return None;
            };
            let mut children = children.iter();
            children
                .find(|child| self.layout.nodes[**child].name == name)
                .copied()
        };
        let fields = match &self.layout.nodes[item].shape {
            Shape::Struct(children) => children.len(),
            _ => 0,
        };
        match (named("key"), named("value")) {
            (Some(key), Some(value))
                if fields == 2 && self.layout.nodes[key].data_type == DataType::Utf8 =>
            {
                Ok(Step::Map {
                    node,
                    item,
                    key,
                    value: Box::new(self.value(values, value)?),
                })
            }
            _ => Err(format!(
                "field `{}` is a map: declare it as `list<struct<key: string, value: T>>`",
                self.layout.nodes[node].place
            )),
        }
    }

    fn scalar(&self, of: TypeId, node: usize, kind: scalar::Kind) -> Result<Step, String> {
        let this = self.schema.at(of);
        let wide = match self.layout.nodes[node].data_type {
            DataType::FixedSizeBinary(width) => usize::try_from(width).ok(),
            _ => None,
        };
        let how = match (&this.kind, this.logical, kind) {
            (Kind::Bool, _, scalar::Kind::Bool) => How::Bool,
            (Kind::Int | Kind::Long, _, scalar::Kind::Integer) => How::Integer,
            (Kind::Int, Some(Logical::Date), scalar::Kind::Date) => How::Integer,
            (Kind::Int | Kind::Long, None, scalar::Kind::Float) => How::IntegerToFloat,
            (Kind::Int | Kind::Long, None, scalar::Kind::Decimal { .. }) => How::IntegerToDecimal,
            (Kind::Float, _, scalar::Kind::Float) => How::Float,
            (Kind::Double, _, scalar::Kind::Float) => How::Double,
            (Kind::Bytes, Some(Logical::Decimal(scale)), scalar::Kind::Decimal { .. }) => {
                How::Decimal(scale, None)
            }
            (Kind::Fixed(width), Some(Logical::Decimal(scale)), scalar::Kind::Decimal { .. }) => {
                How::Decimal(scale, Some(*width))
            }
            (Kind::Bytes, Some(Logical::Decimal(0)), scalar::Kind::Integer) => How::Whole(None),
            (Kind::Fixed(width), Some(Logical::Decimal(0)), scalar::Kind::Integer) => {
                How::Whole(Some(*width))
            }
            (Kind::Long, Some(Logical::Timestamp(units)), scalar::Kind::Timestamp(_)) => {
                How::Timestamp(units)
            }
            (Kind::Int | Kind::Long, None, scalar::Kind::Timestamp(style)) => {
                How::Timestamp(scalar::units(style).ok_or_else(|| self.unitless(of, node))?)
            }
            (Kind::Fixed(16), Some(Logical::Uuid), scalar::Kind::Text) => How::Uuid,
            (Kind::Text, _, scalar::Kind::Text) => How::Text,
            (Kind::Enum(_), _, scalar::Kind::Text) => How::Symbol(of),
            (Kind::Bytes | Kind::Text, _, scalar::Kind::Octets) => How::Octets,
            (Kind::Fixed(width), _, scalar::Kind::Octets) => How::Fixed(*width),
            (Kind::Fixed(width), _, scalar::Kind::FixedOctets(_)) if wide == Some(*width) => {
                How::Fixed(*width)
            }
            (Kind::Bytes, _, scalar::Kind::FixedOctets(_)) => How::Octets,
            (
                Kind::Text,
                _,
                scalar::Kind::Decimal { .. } | scalar::Kind::Date | scalar::Kind::Timestamp(_),
            ) => How::Written(kind),
            _ => {
                let column = &self.layout.nodes[node].data_type;
                let column = wasmill_core::data_type::print(column, false);
                return Err(self.unfit(of, node, &format!("`{column}`")));
            }
        };
        Ok(Step::Scalar(node, how))
    }

    fn unitless(&self, of: TypeId, node: usize) -> String {
        format!(
            "field `{}` is {} without a unit: declare `timestamp: seconds`, `milliseconds` or \
             `microseconds`",
            self.layout.nodes[node].place,
            self.schema.told(of)
        )
    }

    fn unfit(&self, of: TypeId, node: usize, wanted: &str) -> String {
        format!(
            "field `{}` is {} in the schema, which does not go into {wanted}",
            self.layout.nodes[node].place,
            self.schema.told(of)
        )
    }
}

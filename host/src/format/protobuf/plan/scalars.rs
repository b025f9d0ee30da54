//! Which plain values go into which columns.

use prost_reflect::{Kind, MessageDescriptor};

use super::{Entry, Planner, Symbols, fields};
use crate::format::{
    protobuf::special::{self, Special},
    scalar,
};

/// How a plain value is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::format::protobuf) enum How {
    Bool,
    Number(Whole, Into),
    Float,
    Double,
    Octets,
    Text,
    /// Text as any format has it: a number, a date, a time.
    Written(scalar::Kind),
    /// The name of a value of this enumeration.
    Symbol(usize),
}

/// How a number is made of the bits that stand there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::format::protobuf) enum Whole {
    Signed32,
    Signed64,
    Unsigned32,
    Unsigned64,
    Zigzag32,
    Zigzag64,
}

/// What a number becomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::format::protobuf) enum Into {
    /// Any integer, or a date.
    Integer,
    Float,
    Decimal,
    /// So many of its units are a second.
    Timestamp(i64),
}

impl Whole {
    /// The number; what does not fit into 32 bits is cut off where the type has no more.
    #[inline]
    pub(in crate::format::protobuf) fn of(self, bits: u64) -> i128 {
        match self {
            Self::Signed32 => (bits as i32).into(),
            Self::Signed64 => (bits as i64).into(),
            Self::Unsigned32 => (bits as u32).into(),
            Self::Unsigned64 => bits.into(),
            Self::Zigzag32 => {
                let bits = bits as u32;
                ((bits >> 1) as i32 ^ -((bits & 1) as i32)).into()
            }
            Self::Zigzag64 => ((bits >> 1) as i64 ^ -((bits & 1) as i64)).into(),
        }
    }

    fn of_kind(kind: &Kind) -> Option<Self> {
        Some(match kind {
            Kind::Int32 | Kind::Sfixed32 | Kind::Enum(_) => Self::Signed32,
            Kind::Int64 | Kind::Sfixed64 => Self::Signed64,
            Kind::Uint32 | Kind::Fixed32 => Self::Unsigned32,
            Kind::Uint64 | Kind::Fixed64 => Self::Unsigned64,
            Kind::Sint32 => Self::Zigzag32,
            Kind::Sint64 => Self::Zigzag64,
            _ => return None,
        })
    }
}

impl How {
    /// Whether what is written as nothing has a value in a column of this kind: an empty text is
    /// no number and no date, and no bytes are not three.
    pub(super) fn has_zero(self, kind: scalar::Kind) -> bool {
        let wants_bytes = matches!(kind, scalar::Kind::FixedOctets(_));
        !wants_bytes && !matches!(self, Self::Written(_))
    }
}

impl Planner<'_> {
    /// How a plain value goes into a column.
    pub(super) fn scalar(
        &mut self,
        of: &Kind,
        node: usize,
        kind: scalar::Kind,
    ) -> Result<How, String> {
        let is_enum = matches!(of, Kind::Enum(_));
        Ok(match (of, Whole::of_kind(of), kind) {
            (Kind::Bool, _, scalar::Kind::Bool) => How::Bool,
            (_, Some(whole), scalar::Kind::Integer) => How::Number(whole, Into::Integer),
            // Debezium writes days.
            (_, Some(whole), scalar::Kind::Date) if self.is_changelog => {
                How::Number(whole, Into::Integer)
            }
            (Kind::Enum(of), _, scalar::Kind::Text) => {
                self.symbols.push(symbols(of));
                How::Symbol(self.symbols.len() - 1)
            }
            (_, Some(whole), scalar::Kind::Float) if !is_enum => How::Number(whole, Into::Float),
            (_, Some(whole), scalar::Kind::Decimal { .. }) if !is_enum => {
                How::Number(whole, Into::Decimal)
            }
            (_, Some(whole), scalar::Kind::Timestamp(style)) if !is_enum => {
                let units = scalar::units(style).ok_or_else(|| {
                    format!(
                        "field `{}` is {} without a unit: declare `timestamp: seconds`, \
                         `milliseconds` or `microseconds`",
                        self.layout.nodes[node].place,
                        told(of)
                    )
                })?;
                How::Number(whole, Into::Timestamp(units))
            }
            (Kind::Float, _, scalar::Kind::Float) => How::Float,
            (Kind::Double, _, scalar::Kind::Float) => How::Double,
            (Kind::String, _, scalar::Kind::Text) => How::Text,
            (
                Kind::Bytes | Kind::String,
                _,
                scalar::Kind::Octets | scalar::Kind::FixedOctets(_),
            ) => How::Octets,
            (
                Kind::String,
                _,
                scalar::Kind::Decimal { .. } | scalar::Kind::Date | scalar::Kind::Timestamp(_),
            ) => How::Written(kind),
            _ => return Err(self.unfit_scalar(of, node)),
        })
    }

    /// A message that is a plain value: its fields, and where they are noted.
    pub(super) fn special(
        &mut self,
        of: &MessageDescriptor,
        node: usize,
        kind: scalar::Kind,
    ) -> Result<(usize, Special, [usize; 3]), String> {
        let message = Kind::Message(of.clone());
        let parts = special::parts(of, kind);
        let Some(parts) = parts else {
            return Err(self.unfit_scalar(&message, node));
        };
        let place = self.layout.nodes[node].place.clone();
        let (mut entries, mut slots) = (Vec::new(), [0; 3]);
        for (field, slot) in parts.fields.iter().zip(&mut slots) {
            *slot = self.slot();
            let mut entry = Entry::new(field, &format!("{place}.{}", field.name()));
            (entry.slot, entry.slots) = (Some(*slot), *slot..*slot + 1);
            entries.push((entry, field.clone()));
        }
        let of = match parts.of {
            Some(of) => of,
            // A wrapper is what it wraps.
            None => Special::Wrapped(self.scalar(&parts.fields[0].kind(), node, kind)?),
        };
        self.fields.push(fields::of_message(entries));
        Ok((self.fields.len() - 1, of, slots))
    }

    fn unfit_scalar(&self, of: &Kind, node: usize) -> String {
        let column = &self.layout.nodes[node].data_type;
        let column = wasmill_core::data_type::print(column, false);
        self.unfit(of, node, &format!("`{column}`"))
    }
}

/// The names of an enumeration; of several for one number the first.
fn symbols(of: &prost_reflect::EnumDescriptor) -> Symbols {
    // As they are written down: the library has the last name of a number first.
    let values = of.enum_descriptor_proto().value.iter();
    let mut symbols: Vec<(i32, Box<str>)> =
        values.map(|it| (it.number(), it.name().into())).collect();
    symbols.sort_by_key(|it| it.0);
    symbols.dedup_by_key(|it| it.0);
    symbols.into()
}

/// A type as a message names it.
pub(super) fn told(of: &Kind) -> String {
    match of {
        Kind::Message(of) => format!("the message `{}`", of.full_name()),
        Kind::Enum(of) => format!("the enumeration `{}`", of.full_name()),
        other => format!("{other:?}").to_lowercase(),
    }
}

//! A datum into columns. Its bytes are hostile: nothing is allocated before it is there, and
//! whatever takes no bytes is counted.

use super::{
    plan::{How, Step},
    schema::{Kind, Schema, TypeId},
};
use crate::format::{
    column::{Column, Values},
    json::Blanks,
    layout::Layout,
    scalar,
};

/// How deep values may nest: skipping recurses.
const DEPTH_MAX: usize = 128;
/// How many values a datum may have beyond one for each of its bytes.
const EMPTY_VALUES_MAX: usize = 1 << 16;

/// The bytes of a datum.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
    /// How many values may still come.
    budget: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            budget: bytes.len() + EMPTY_VALUES_MAX,
        }
    }

    /// Nothing may follow the datum.
    pub(crate) fn end(&self) -> Result<(), String> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            more => Err(format!("{more} bytes follow the value of the schema")),
        }
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        match rest.get(..len) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => Err(format!(
                "{} bytes are left at byte {} where {len} belong",
                rest.len(),
                self.at
            )),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("as many as were asked for"))
    }

    /// A whole number: zigzag, seven bits a byte.
    #[inline]
    pub(crate) fn long(&mut self) -> Result<i64, String> {
        if let Some(byte) = self.bytes.get(self.at).filter(|byte| **byte < 0x80) {
            self.at += 1;
            return Ok(i64::from(*byte >> 1) ^ -i64::from(*byte & 1));
        }
        let (start, mut value) = (self.at, 0_u64);
        for shift in (0..70).step_by(7) {
            let Some(byte) = self.bytes.get(self.at) else {
                return Err(format!("the value ends within a number at byte {start}"));
            };
            self.at += 1;
            if shift == 63 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(format!("the number at byte {start} is longer than 64 bits"))
    }

    fn length(&mut self) -> Result<usize, String> {
        let at = self.at;
        let len = self.long()?;
        usize::try_from(len).map_err(|_| format!("the length at byte {at} is negative: {len}"))
    }

    /// Bytes or text with its length before it.
    #[inline]
    pub(crate) fn octets(&mut self) -> Result<&'a [u8], String> {
        let len = self.length()?;
        self.take(len)
    }

    /// Which branch of a union, or symbol of an enumeration.
    pub(crate) fn index(&mut self, of: usize) -> Result<usize, String> {
        let at = self.at;
        let index = self.long()?;
        let found = usize::try_from(index).ok().filter(|index| *index < of);
        found.ok_or_else(|| format!("number {index} at byte {at} names none of {of} choices"))
    }

    /// How many items are in the next block of an array or a map; with the block's bytes, if it
    /// says them.
    fn block(&mut self) -> Result<(u64, Option<usize>), String> {
        let count = self.long()?;
        if count >= 0 {
            return Ok((count.unsigned_abs(), None));
        }
        Ok((count.unsigned_abs(), Some(self.length()?)))
    }

    fn spend(&mut self) -> Result<(), String> {
        self.budget = self.budget.checked_sub(1).ok_or_else(|| {
            format!("more than {EMPTY_VALUES_MAX} values without bytes stand in the record")
        })?;
        Ok(())
    }

    /// The bytes of a value, which is passed over.
    pub(crate) fn passed(&mut self, schema: &Schema, of: TypeId) -> Result<&'a [u8], String> {
        let start = self.at;
        self.skip(schema, of, 0)?;
        Ok(&self.bytes[start..self.at])
    }

    /// Passes a value over.
    pub(crate) fn skip(&mut self, schema: &Schema, of: TypeId, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("values nest more than {DEPTH_MAX} deep"));
        }
        self.spend()?;
        match &schema.at(of).kind {
            Kind::Null => {}
            Kind::Bool => drop(self.take(1)?),
            Kind::Int | Kind::Long | Kind::Enum(_) => drop(self.long()?),
            Kind::Float => drop(self.take(4)?),
            Kind::Double => drop(self.take(8)?),
            Kind::Bytes | Kind::Text => drop(self.octets()?),
            Kind::Fixed(len) => drop(self.take(*len)?),
            Kind::Union(branches) => {
                let branch = branches[self.index(branches.len())?];
                self.skip(schema, branch, depth + 1)?;
            }
            Kind::Record(fields) => {
                for (_, field) in fields {
                    self.skip(schema, *field, depth + 1)?;
                }
            }
            Kind::Array(items) => {
                self.skip_blocks(|this| this.skip(schema, *items, depth + 1))?;
            }
            Kind::Map(values) => self.skip_blocks(|this| {
                this.octets()?;
                this.skip(schema, *values, depth + 1)
            })?,
        }
        Ok(())
    }

    fn skip_blocks(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            match self.block()? {
                (0, _) => return Ok(()),
                (_, Some(bytes)) => drop(self.take(bytes)?),
                (count, None) => {
                    for _ in 0..count {
                        item(self)?;
                    }
                }
            }
        }
    }
}

/// Where values go.
pub(crate) struct Reader<'a, 'b> {
    pub(crate) cursor: Cursor<'a>,
    pub(crate) schema: &'b Schema,
    pub(crate) layout: &'b Layout,
    pub(crate) columns: &'b mut [Column],
    pub(crate) blanks: &'b mut Blanks,
}

impl Reader<'_, '_> {
    /// The next value, as the step says.
    pub(crate) fn value(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Skip(of) => self.cursor.skip(self.schema, *of, 0),
            Step::Null(node) => self.blanks.null(self.layout, self.columns, *node),
            Step::Union(branches) => {
                let branch = self.cursor.index(branches.len())?;
                self.value(&branches[branch])
            }
            Step::Scalar(node, how) => self
                .scalar(*node, *how)
                .map_err(|reason| format!("field `{}`: {reason}", self.layout.nodes[*node].place)),
            Step::Record {
                node,
                fields,
                missing,
            } => {
                for field in fields {
                    self.value(field)?;
                }
                for child in missing {
                    self.blanks.missing(self.layout, self.columns, *child)?;
                }
                self.columns[*node].push_object();
                Ok(())
            }
            Step::List { node, item, step } => {
                self.blocks(|this| this.value(step))
                    .map_err(|reason| self.within(*node, reason))?;
                self.end_list(*node, *item)
            }
            Step::Map {
                node,
                item,
                key,
                value,
            } => {
                self.blocks(|this| {
                    this.scalar(*key, How::Text)?;
                    this.value(value)?;
                    this.columns[*item].push_object();
                    Ok(())
                })
                .map_err(|reason| self.within(*node, reason))?;
                self.end_list(*node, *item)
            }
            Step::Refuse(reason) => Err(reason.to_string()),
        }
    }

    /// A reason that does not yet name a field gets one.
    fn within(&self, node: usize, reason: String) -> String {
        match reason.starts_with("field `") {
            true => reason,
            false => format!("field `{}`: {reason}", self.layout.nodes[node].place),
        }
    }

    fn blocks(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            let (count, bytes) = self.cursor.block()?;
            if count == 0 {
                return Ok(());
            }
            let start = self.cursor.at;
            for _ in 0..count {
                self.cursor.spend()?;
                item(self)?;
            }
            if bytes.is_some_and(|bytes| self.cursor.at - start != bytes) {
                return Err(format!(
                    "the block at byte {start} has another length than it says"
                ));
            }
        }
    }

    fn end_list(&mut self, node: usize, item: usize) -> Result<(), String> {
        let end = i32::try_from(self.columns[item].len());
        let end = end.map_err(|_| "the batch's lists have more than 2^31 items")?;
        if let Values::List(ends) = &mut self.columns[node].values {
            ends.push(end);
        }
        self.columns[node].mark_valid();
        Ok(())
    }

    fn scalar(&mut self, node: usize, how: How) -> Result<(), String> {
        let kind = match self.layout.nodes[node].shape {
            crate::format::layout::Shape::Scalar(kind) => kind,
            _ => return Err("a plain value stands where none belongs".into()),
        };
        let cursor = &mut self.cursor;
        let values = &mut self.columns[node].values;
        let rules = self.blanks.rules();
        match how {
            How::Bool => {
                let at = cursor.at;
                match cursor.array()? {
                    [0] => scalar::push_bool(values, kind, false)?,
                    [1] => scalar::push_bool(values, kind, true)?,
                    [other] => {
                        return Err(format!("{other} at byte {at} is neither true nor false"));
                    }
                }
            }
            How::Integer => scalar::push_whole(values, i128::from(cursor.long()?))?,
            How::IntegerToFloat => scalar::push_f64(values, cursor.long()? as f64)?,
            How::Float => scalar::push_f32(values, f32::from_le_bytes(cursor.array()?))?,
            How::Double => scalar::push_double(values, f64::from_le_bytes(cursor.array()?))?,
            How::Octets => scalar::push_octets(values, cursor.octets()?)?,
            How::Fixed(len) => scalar::push_octets(values, cursor.take(len)?)?,
            How::Text => scalar::push_utf8(values, cursor.octets()?)?,
            How::Symbol(of) => {
                let Kind::Enum(symbols) = &self.schema.at(of).kind else {
                    return Err("the schema has no such symbols".into());
                };
                let symbol = cursor.index(symbols.len())?;
                scalar::push_octets(values, symbols[symbol].as_bytes())?;
            }
            How::Written(kind) => {
                let text = cursor.octets()?;
                std::str::from_utf8(text).map_err(|_| "the text is not UTF-8")?;
                scalar::push_text(values, kind, text, rules)?;
            }
            How::Decimal(scale, width) => {
                let octets = match width {
                    Some(width) => cursor.take(width)?,
                    None => cursor.octets()?,
                };
                scalar::push_unscaled(values, kind, octets, scale, rules)?;
            }
            How::Whole(width) => {
                let octets = match width {
                    Some(width) => cursor.take(width)?,
                    None => cursor.octets()?,
                };
                scalar::push_whole(values, scalar::unscaled(octets)?)?;
            }
            How::IntegerToDecimal => {
                scalar::push_rescaled(values, kind, i128::from(cursor.long()?), 0, rules)?;
            }
            How::Timestamp(units) => scalar::push_time(values, cursor.long()?, units)?,
            How::Uuid => scalar::push_uuid(values, cursor.array()?)?,
        }
        self.columns[node].mark_valid();
        Ok(())
    }
}

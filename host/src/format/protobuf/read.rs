//! What was found in a message, into columns.

use super::{
    plan::{Element, How, Into, Program, Step, Wire},
    scan::{Cursor, Found, Raw, scan},
    special::{self, Special},
};
use crate::format::{
    column::{Column, Values},
    json::Blanks,
    layout::{Layout, Shape},
    scalar,
};

/// Where values go.
pub(super) struct Reader<'a, 'b> {
    pub(super) bytes: &'a [u8],
    pub(super) program: &'b Program,
    pub(super) found: &'b mut Found,
    pub(super) layout: &'b Layout,
    pub(super) columns: &'b mut [Column],
    pub(super) blanks: &'b mut Blanks,
}

impl Reader<'_, '_> {
    /// The next value of a node, as the step says.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Missing(node) => self.missing(*node),
            Step::Scalar {
                node,
                slot,
                how,
                always,
            } => {
                let raw = self.found.slots[*slot];
                match raw {
                    Raw::Absent if !always => self.missing(*node),
                    _ => self.scalar(*node, *how, raw),
                }
            }
            Step::Special {
                node,
                slot,
                of,
                parts,
                always,
            } => match self.found.slots[*slot] {
                Raw::Absent if !always => self.missing(*node),
                _ => self.special(*node, *of, parts),
            },
            Step::Record {
                node,
                slot,
                steps,
                always,
            } => {
                let is_there = slot.is_none_or(|slot| self.found.slots[slot] != Raw::Absent);
                if !is_there && !always {
                    return self.missing(*node);
                }
                for step in steps {
                    self.step(step)?;
                }
                self.columns[*node].push_object();
                Ok(())
            }
            Step::List {
                node,
                item,
                slot,
                element,
            } => self.list(*node, *item, *slot, element),
        }
    }

    fn missing(&mut self, node: usize) -> Result<(), String> {
        self.blanks.missing(self.layout, self.columns, node)
    }

    fn list(
        &mut self,
        node: usize,
        item: usize,
        slot: usize,
        element: &Element,
    ) -> Result<(), String> {
        let mut next = match self.found.slots[slot] {
            Raw::Items(first, _) => Some(first),
            _ => None,
        };
        while let Some(at) = next {
            let one = self.found.items[at as usize];
            next = one.next;
            self.element(item, element, one.raw)
                .map_err(|reason| self.within(node, reason))?;
        }
        let end = i32::try_from(self.columns[item].len());
        let end = end.map_err(|_| "the batch's lists have more than 2^31 items")?;
        if let Values::List(ends) = &mut self.columns[node].values {
            ends.push(end);
        }
        self.columns[node].mark_valid();
        Ok(())
    }

    /// An item of a list, or many that stand in a row.
    fn element(&mut self, node: usize, element: &Element, raw: Raw) -> Result<(), String> {
        match (element, raw) {
            (Element::Scalar(how, wire), Raw::Octets(start, end)) if *wire != Wire::Octets => {
                let mut cursor = Cursor::new(self.bytes, start as usize, end as usize);
                while !cursor.is_done() {
                    let raw = cursor.value(*wire)?;
                    self.scalar(node, *how, raw)?;
                }
                Ok(())
            }
            (Element::Scalar(how, _), raw) => self.scalar(node, *how, raw),
            (
                Element::Message {
                    fields,
                    slots,
                    step,
                },
                Raw::Octets(start, end),
            ) => {
                let items = self.found.items.len();
                self.found.slots[slots.clone()].fill(Raw::Absent);
                self.found.slots[slots.start] = Raw::Number(1);
                let cursor = Cursor::new(self.bytes, start as usize, end as usize);
                scan(self.program, *fields, cursor, self.found)?;
                self.step(step)?;
                self.found.items.truncate(items);
                Ok(())
            }
            (Element::Message { .. }, _) => Err("a number stands where a message belongs".into()),
        }
    }

    /// A reason that does not yet name a field gets one.
    fn within(&self, node: usize, reason: String) -> String {
        match reason.starts_with("field `") {
            true => reason,
            false => format!("field `{}`: {reason}", self.layout.nodes[node].place),
        }
    }

    fn scalar(&mut self, node: usize, how: How, raw: Raw) -> Result<(), String> {
        let done = self.push(node, how, raw);
        done.map_err(|reason| self.within(node, reason))?;
        self.columns[node].mark_valid();
        Ok(())
    }

    fn push(&mut self, node: usize, how: How, raw: Raw) -> Result<(), String> {
        let Shape::Scalar(kind) = self.layout.nodes[node].shape else {
            return Err("a plain value stands where none belongs".into());
        };
        let octets = octets(self.bytes, raw);
        let bits = bits(raw);
        let values = &mut self.columns[node].values;
        let rules = self.blanks.rules();
        match how {
            How::Bool => scalar::push_bool(values, kind, bits != 0),
            How::Float => scalar::push_f32(values, f32::from_bits(bits as u32)),
            How::Double => scalar::push_double(values, f64::from_bits(bits)),
            How::Octets => scalar::push_octets(values, octets),
            How::Text => scalar::push_utf8(values, octets),
            How::Written(kind) => {
                std::str::from_utf8(octets).map_err(|_| "the text is not UTF-8")?;
                scalar::push_text(values, kind, octets, rules)
            }
            How::Symbol(of) => {
                let number = bits as i32;
                let symbols = &self.program.symbols[of];
                match symbols.binary_search_by_key(&number, |it| it.0) {
                    Ok(at) => scalar::push_octets(values, symbols[at].1.as_bytes()),
                    // The writer's schema may be newer.
                    Err(_) => {
                        let mut buffer = itoa::Buffer::new();
                        scalar::push_octets(values, buffer.format(number).as_bytes())
                    }
                }
            }
            How::Number(whole, into) => {
                let number = whole.of(bits);
                match into {
                    Into::Integer => scalar::push_whole(values, number),
                    Into::Float => scalar::push_f64(values, number as f64),
                    Into::Decimal => scalar::push_rescaled(values, kind, number, 0, rules),
                    Into::Timestamp(units) => {
                        let time = i64::try_from(number);
                        let time = time
                            .map_err(|_| format!("`{number}` is beyond the range of timestamps"))?;
                        scalar::push_time(values, time, units)
                    }
                }
            }
        }
    }

    fn special(&mut self, node: usize, of: Special, parts: &[usize; 3]) -> Result<(), String> {
        let raw = parts.map(|slot| self.found.slots[slot]);
        if let Special::Wrapped(how) = of {
            return self.scalar(node, how, raw[0]);
        }
        let int = |at: usize| bits(raw[at]) as i32;
        let kind = match self.layout.nodes[node].shape {
            Shape::Scalar(kind) => kind,
            _ => return Err("a plain value stands where none belongs".into()),
        };
        let octets = octets(self.bytes, raw[0]);
        let unscaled = match of {
            Special::Decimal => scalar::unscaled(octets),
            _ => Ok(0),
        };
        let rules = self.blanks.rules();
        let values = &mut self.columns[node].values;
        let done = match of {
            Special::Timestamp => special::push_timestamp(values, bits(raw[0]) as i64, int(1)),
            Special::Date => special::push_date(values, [int(0), int(1), int(2)]),
            Special::Decimal => unscaled.and_then(|unscaled| {
                let scale = special::places(int(2))?;
                scalar::push_rescaled(values, kind, unscaled, scale, rules)
            }),
            Special::Wrapped(_) => Ok(()),
        };
        done.map_err(|reason| self.within(node, reason))?;
        self.columns[node].mark_valid();
        Ok(())
    }
}

/// The bits of a number; nothing is zero.
fn bits(raw: Raw) -> u64 {
    match raw {
        Raw::Number(bits) => bits,
        _ => 0,
    }
}

/// Bytes of the record; nothing is empty.
fn octets(bytes: &[u8], raw: Raw) -> &[u8] {
    match raw {
        Raw::Octets(start, end) => &bytes[start as usize..end as usize],
        _ => &[],
    }
}

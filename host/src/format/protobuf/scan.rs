//! A message's bytes, looked through once: where the last value of each wanted field stands. The
//! bytes are hostile.

use super::plan::{Entry, Fields, Program, Wire};

/// How deep groups may nest: passing them over recurses.
const DEPTH_MAX: usize = 100;
/// No field has a higher number.
const NUMBER_MAX: u64 = (1 << 29) - 1;

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raw {
    /// Nothing.
    Absent,
    /// A number, or the fact that a message is there.
    Number(u64),
    /// Bytes of the record: where they begin and end.
    Octets(u32, u32),
    /// Several: the first and the last of them among the items.
    Items(u32, u32),
}

/// One of several values of a field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) raw: Raw,
    /// The next one, if there is one behind it.
    pub(super) next: Option<u32>,
}

/// What was found in a record; the memory is used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) slots: Vec<Raw>,
    pub(super) items: Vec<Item>,
}

impl Found {
    /// Forgets everything.
    pub(super) fn reset(&mut self, slots: usize) {
        self.slots.clear();
        self.slots.resize(slots, Raw::Absent);
        self.items.clear();
    }

    fn add(&mut self, slot: usize, raw: Raw) {
        let at = self.items.len() as u32;
        self.items.push(Item { raw, next: None });
        self.slots[slot] = match self.slots[slot] {
            Raw::Items(first, last) => {
                self.items[last as usize].next = Some(at);
                Raw::Items(first, at)
            }
            _ => Raw::Items(at, at),
        };
    }
}

/// A stretch of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    /// The bytes of a record from one place to another.
    pub(super) fn new(bytes: &'a [u8], at: usize, end: usize) -> Self {
        Self {
            bytes,
            at,
            end: end.min(bytes.len()),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.end
    }

    /// A whole number, seven bits a byte.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, String> {
        let rest = &self.bytes[self.at..self.end];
        if let Some(byte) = rest.first().filter(|byte| **byte < 0x80) {
            self.at += 1;
            return Ok(u64::from(*byte));
        }
        let (start, mut value) = (self.at, 0_u64);
        for (index, byte) in rest.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if index == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << (7 * index);
            if *byte < 0x80 {
                self.at += index + 1;
                return Ok(value);
            }
        }
        Err(match rest.len() < 10 {
            true => format!("the message ends within a number at byte {start}"),
            false => format!("the number at byte {start} is longer than 64 bits"),
        })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let rest = &self.bytes[self.at..self.end];
        let Some(bytes) = rest.first_chunk::<N>() else {
            return Err(self.short(N as u64));
        };
        self.at += N;
        Ok(*bytes)
    }

    #[cold]
    fn short(&self, wanted: u64) -> String {
        let rest = self.end - self.at;
        format!(
            "{rest} bytes are left at byte {} where {wanted} belong",
            self.at
        )
    }

    /// Bytes with their length before them: where they begin and end.
    #[inline]
    fn stretch(&mut self) -> Result<(u32, u32), String> {
        let len = self.varint()?;
        let rest = (self.end - self.at) as u64;
        if len > rest {
            return Err(self.short(len));
        }
        let start = self.at;
        self.at += len as usize;
        // A record is far shorter than 4 GiB.
        Ok((start as u32, self.at as u32))
    }

    /// A value of a wire type; none for what groups are made of.
    #[inline]
    pub(super) fn value(&mut self, wire: Wire) -> Result<Raw, String> {
        Ok(match wire {
            Wire::Varint => Raw::Number(self.varint()?),
            Wire::Eight => Raw::Number(u64::from_le_bytes(self.take()?)),
            Wire::Four => Raw::Number(u32::from_le_bytes(self.take()?).into()),
            Wire::Octets => {
                let (start, end) = self.stretch()?;
                Raw::Octets(start, end)
            }
            Wire::Group | Wire::GroupEnd => Raw::Absent,
        })
    }

    /// The number and the wire type of the next field.
    #[inline]
    fn tag(&mut self) -> Result<(u32, Wire), String> {
        let at = self.at;
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > NUMBER_MAX {
            return Err(format!("no field has the number {number} at byte {at}"));
        }
        let wire = match tag & 7 {
            0 => Wire::Varint,
            1 => Wire::Eight,
            2 => Wire::Octets,
            3 => Wire::Group,
            4 => Wire::GroupEnd,
            5 => Wire::Four,
            other => return Err(format!("there is no wire type {other}, as at byte {at}")),
        };
        Ok((number as u32, wire))
    }

    /// Passes a value over.
    fn skip(&mut self, number: u32, wire: Wire, depth: usize) -> Result<(), String> {
        match wire {
            Wire::Group => self.group(number, depth).map(drop),
            Wire::GroupEnd => Err(format!(
                "a group ends before byte {} that did not begin",
                self.at
            )),
            _ => self.value(wire).map(drop),
        }
    }

    /// Passes over what stands in a group: where that begins and ends.
    fn group(&mut self, number: u32, depth: usize) -> Result<(u32, u32), String> {
        if depth > DEPTH_MAX {
            return Err(format!("groups nest more than {DEPTH_MAX} deep"));
        }
        let start = self.at;
        while !self.is_done() {
            let end = self.at;
            let (inner, wire) = self.tag()?;
            if wire == Wire::GroupEnd && inner == number {
                return Ok((start as u32, end as u32));
            }
            self.skip(inner, wire, depth + 1)?;
        }
        Err(format!("the group before byte {start} does not end"))
    }
}

/// Looks through a message, or a part of one: what comes later takes the place of what came before.
pub(super) fn scan(
    program: &Program,
    fields: usize,
    mut cursor: Cursor<'_>,
    found: &mut Found,
) -> Result<(), String> {
    let fields: &Fields = &program.fields[fields];
    while !cursor.is_done() {
        let at = cursor.at;
        let (number, wire) = cursor.tag()?;
        let Some(entry) = fields.find(number) else {
            cursor.skip(number, wire, 0)?;
            continue;
        };
        for slots in &entry.clears {
            found.slots[slots.clone()].fill(Raw::Absent);
        }
        wanted(program, entry, (wire, at), &mut cursor, found)?;
    }
    Ok(())
}

/// A value of a field that is wanted, or at least known.
fn wanted(
    program: &Program,
    entry: &Entry,
    (wire, at): (Wire, usize),
    cursor: &mut Cursor<'_>,
    found: &mut Found,
) -> Result<(), String> {
    let packed = wire == Wire::Octets && entry.may_be_packed;
    if wire != entry.wire && !packed {
        return Err(format!(
            "field `{}` is {}, and what stands at byte {at} is {}",
            entry.place,
            entry.wire.told(),
            wire.told()
        ));
    }
    let raw = match wire {
        Wire::Group => {
            let (start, end) = cursor.group(entry.number, 0)?;
            Raw::Octets(start, end)
        }
        _ => cursor.value(wire)?,
    };
    let Some(slot) = entry.slot else {
        return Ok(());
    };
    match (entry.message, raw) {
        _ if entry.repeated => found.add(slot, raw),
        (Some(inner), Raw::Octets(start, end)) => {
            found.slots[slot] = Raw::Number(1);
            let inside = Cursor::new(cursor.bytes, start as usize, end as usize);
            scan(program, inner, inside, found)?;
        }
        _ => found.slots[slot] = raw,
    }
    Ok(())
}

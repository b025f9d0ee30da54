//! Which numbers fields may have.

use std::collections::BTreeSet;
use std::ops::Range;

use prost_reflect::{FieldDescriptor, MessageDescriptor};

/// Numbers end before this one.
const END: u32 = 1 << 29;
/// Protobuf keeps these for itself.
const PROTOBUF: Range<u32> = 19_000..20_000;

/// The numbers of a message.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Those that no field may have, and those of the earlier version that no field has kept yet.
    gone: Vec<Range<u32>>,
    /// Names that no field has.
    names: BTreeSet<String>,
    next: u32,
}

impl Numbers {
    /// Those of a message that follows another one.
    pub(super) fn new(earlier: Option<&MessageDescriptor>) -> Self {
        let Some(earlier) = earlier else {
            return Self {
                gone: Vec::new(),
                names: BTreeSet::new(),
                next: 1,
            };
        };
        let fields: Vec<FieldDescriptor> = earlier.fields().collect();
        let numbers = fields.iter().map(|it| it.number()..it.number() + 1);
        let reserved = earlier.reserved_ranges().chain(earlier.extension_ranges());
        let gone: Vec<Range<u32>> = numbers.chain(reserved).collect();
        let names = fields.iter().map(FieldDescriptor::name);
        let names = names.chain(earlier.reserved_names()).map(str::to_owned);
        // Behind all that ever were; what is reserved to the end says nothing about that.
        let last = gone.iter().map(|it| it.end).filter(|end| *end < END);
        Self {
            names: names.collect(),
            next: last.max().unwrap_or(1),
            gone,
        }
    }

    /// A field of the earlier version is still there.
    pub(super) fn keep(&mut self, number: u32) {
        self.gone.retain(|range| *range != (number..number + 1));
    }

    /// A number for a new field, if there is one.
    pub(super) fn next(&mut self) -> Option<u32> {
        let taken = |number: u32| {
            let ranges = self.gone.iter().chain(std::iter::once(&PROTOBUF));
            let mut ranges = ranges.filter(|range| range.contains(&number));
            ranges.next().map(|range| range.end)
        };
        let mut number = self.next;
        while let Some(end) = taken(number) {
            number = end;
        }
        self.next = number + 1;
        (number < END).then_some(number)
    }

    /// What later versions may not use, as lines of a schema.
    pub(super) fn reserved(&self, fields: &[String]) -> String {
        let mut ranges = self.gone.clone();
        ranges.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u32>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        let told = merged.iter().map(|range| match range.end - 1 {
            last if last == range.start => format!("{last}"),
            last if last >= END - 1 => format!("{} to max", range.start),
            last => format!("{} to {last}", range.start),
        });
        let mut lines = line(&told.collect::<Vec<_>>());
        let names = self.names.iter().filter(|name| !fields.contains(name));
        lines += &line(&names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>());
        lines
    }
}

fn line(what: &[String]) -> String {
    match what {
        [] => String::new(),
        what => format!("reserved {};\n", what.join(", ")),
    }
}

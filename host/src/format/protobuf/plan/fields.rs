//! What is looked for in a message: its fields by their numbers.

use std::{collections::HashSet, ops::Range};

use prost_reflect::{FieldDescriptor, Kind};

/// Fields up to this number are found without a search.
const DENSE: usize = 64;
/// No field of this number is wanted.
const NONE: u16 = u16::MAX;

/// How the bytes of a value are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::format::protobuf) enum Wire {
    Varint,
    Four,
    Eight,
    Octets,
    Group,
    GroupEnd,
}

impl Wire {
    /// That of a type.
    pub(in crate::format::protobuf) fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Self::Eight,
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Self::Four,
            Kind::String | Kind::Bytes | Kind::Message(_) => Self::Octets,
            _ => Self::Varint,
        }
    }

    /// Its name in messages.
    pub(in crate::format::protobuf) fn told(self) -> &'static str {
        match self {
            Self::Varint => "a varint",
            Self::Four => "of four bytes",
            Self::Eight => "of eight bytes",
            Self::Octets => "of bytes with their length",
            Self::Group => "a group",
            Self::GroupEnd => "the end of a group",
        }
    }
}

/// A field that is looked for.
#[derive(Debug)]
pub(in crate::format::protobuf) struct Entry {
    pub(in crate::format::protobuf) number: u32,
    /// Its path for messages.
    pub(in crate::format::protobuf) place: Box<str>,
    pub(in crate::format::protobuf) wire: Wire,
    pub(in crate::format::protobuf) repeated: bool,
    /// Whether many numbers may stand in a row.
    pub(in crate::format::protobuf) may_be_packed: bool,
    /// Where its value is noted; none where it only displaces others.
    pub(in crate::format::protobuf) slot: Option<usize>,
    /// All that is noted of it.
    pub(in crate::format::protobuf) slots: Range<usize>,
    /// Which fields are looked for within it.
    pub(in crate::format::protobuf) message: Option<usize>,
    /// What is forgotten when it comes: other fields of one `oneof`.
    pub(in crate::format::protobuf) clears: Box<[Range<usize>]>,
}

impl Entry {
    pub(super) fn new(field: &FieldDescriptor, place: &str) -> Self {
        let repeated = field.is_list() || field.is_map();
        let wire = match field.is_group() {
            true => Wire::Group,
            false => Wire::of(&field.kind()),
        };
        Self {
            number: field.number(),
            place: place.into(),
            wire,
            repeated,
            may_be_packed: repeated && !matches!(wire, Wire::Octets | Wire::Group),
            slot: None,
            slots: 0..0,
            message: None,
            clears: Box::default(),
        }
    }
}

/// The fields of a message that are looked for.
#[derive(Debug)]
pub(in crate::format::protobuf) struct Fields {
    /// In the order of their numbers.
    entries: Box<[Entry]>,
    /// Which of them has a low number.
    dense: [u16; DENSE],
}

impl Fields {
    fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.number);
        let mut dense = [NONE; DENSE];
        for (at, entry) in entries.iter().enumerate().take(usize::from(NONE)) {
            if let Some(place) = dense.get_mut(entry.number as usize) {
                *place = at as u16;
            }
        }
        Self {
            entries: entries.into(),
            dense,
        }
    }

    /// The field of a number, if it is looked for.
    #[inline]
    pub(in crate::format::protobuf) fn find(&self, number: u32) -> Option<&Entry> {
        match self.dense.get(number as usize) {
            Some(&NONE) => None,
            Some(at) => self.entries.get(usize::from(*at)),
            None => {
                let found = self.entries.binary_search_by_key(&number, |it| it.number);
                found.ok().map(|at| &self.entries[at])
            }
        }
    }
}

/// The fields of a message, of which some are wanted. Others of a `oneof` displace them.
pub(super) fn of_message(wanted: Vec<(Entry, FieldDescriptor)>) -> Fields {
    let choice = |field: &FieldDescriptor| {
        let choice = field.containing_oneof()?;
        (!choice.is_synthetic()).then_some(choice)
    };
    let members: Vec<_> = wanted
        .iter()
        .filter_map(|(entry, field)| Some((choice(field)?, entry.number, entry.slots.clone())))
        .collect();
    let others_of = |field: &FieldDescriptor| -> Box<[Range<usize>]> {
        let Some(own) = choice(field) else {
            return Box::default();
        };
        let others = members
            .iter()
            .filter(|(choice, number, _)| *choice == own && *number != field.number());
        others.map(|(_, _, slots)| slots.clone()).collect()
    };
    let mut entries: Vec<Entry> = Vec::new();
    let mut numbers = HashSet::new();
    for (mut entry, field) in wanted {
        entry.clears = others_of(&field);
        numbers.insert(entry.number);
        entries.push(entry);
    }
    let mut choices = HashSet::new();
    for (choice, _, _) in &members {
        if !choices.insert(choice.full_name()) {
            continue;
        }
        for field in choice.fields() {
            if !numbers.insert(field.number()) {
                continue;
            }
            let mut entry = Entry::new(&field, field.name());
            entry.clears = others_of(&field);
            entries.push(entry);
        }
    }
    Fields::new(entries)
}

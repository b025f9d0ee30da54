//! The fast path: a record that is laid out like an earlier one is read without looking at its
//! names.
//!
//! A template is the text between the values of a record that the full path accepted. Where the
//! next record has the same text between its values, its values belong to the same fields; each is
//! still read as a whole JSON value, so a record that follows a template is a well-formed one. Any
//! difference ends the attempt: what was pushed is taken back, and the full path has the last word.

use wasmill_core::pipeline::document::TimestampStyle;

use super::{
    cursor::{Cursor, Token, plain_end},
    reader::Reader,
};
use crate::format::{
    column::{Column, Values},
    layout::{Layout, Shape},
    number::{short_decimal, short_float, short_integer},
    scalar::{Kind, Rules},
    time,
};

/// Records of one stream rarely have more layouts: optional fields, two writers.
const TEMPLATES_MAX: usize = 4;

/// After so many rows in turn that follow no template, it is not worth trying each row.
const MISSES_MAX: u32 = 16;

/// How many rows then go straight to the full path.
const PAUSE_ROWS: u32 = 256;

/// The layouts that records had lately, the last one first.
#[derive(Debug, Default)]
pub(super) struct Templates {
    known: Vec<Template>,
    misses: u32,
    pause: u32,
}

/// The text between the values of a record.
#[derive(Debug)]
struct Template {
    steps: Vec<Step>,
    tail: Box<[u8]>,
    /// Objects that have members in this layout.
    objects: Vec<usize>,
    /// Fields that this layout does not have.
    missing: Vec<usize>,
}

/// Some text, then a value.
#[derive(Debug)]
struct Step {
    lead: Lead,
    /// The value's node; none if it is skipped.
    node: Option<usize>,
    fast: Fast,
}

/// Values that are read without the full path's bookkeeping.
#[derive(Debug, Clone, Copy)]
enum Fast {
    Integer,
    /// The scale, and the first value with too many digits.
    Decimal(usize, i64),
    Float,
    Text,
    Time(TimestampStyle),
    No,
}

impl Templates {
    /// Reads the record by one of the templates; false if it follows none. `len` rows were read
    /// before.
    pub(super) fn follow(&mut self, reader: &mut Reader<'_>, len: usize) -> bool {
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        for index in 0..self.known.len() {
            if self.known[index].follow(reader) {
                self.known[..=index].rotate_right(1);
                self.misses = 0;
                return true;
            }
            reader.restart(len);
        }
        false
    }

    /// Learns the layout of a record that the full path has accepted.
    pub(super) fn learn(&mut self, layout: &Layout, text: &[u8]) {
        if self.pause > 0 {
            return;
        }
        self.misses += 1;
        if self.misses > MISSES_MAX {
            (self.misses, self.pause) = (0, PAUSE_ROWS);
            return;
        }
        if let Some(template) = Template::of(layout, text) {
            self.known.truncate(TEMPLATES_MAX - 1);
            self.known.insert(0, template);
        }
    }
}

impl Template {
    /// The template of a well-formed record; none where a field stands twice.
    fn of(layout: &Layout, text: &[u8]) -> Option<Self> {
        let mut learner = Learner {
            layout,
            cursor: Cursor::new(text),
            from: 0,
            template: Self {
                steps: Vec::new(),
                tail: Box::default(),
                objects: Vec::new(),
                missing: Vec::new(),
            },
        };
        learner.cursor.skip_blanks();
        learner.members(0)?;
        learner.template.tail = text[learner.from..].into();
        Some(learner.template)
    }

    #[inline]
    fn follow(&self, reader: &mut Reader<'_>) -> bool {
        let text = reader.cursor.text;
        let mut at = 0;
        for step in &self.steps {
            let Some(start) = step.lead.matches(text, at) else {
                return false;
            };
            let read = step.node.and_then(|node| {
                let column = &mut reader.columns[node];
                step.fast.read(text, start, column, &reader.policy.rules)
            });
            let Some(end) = read.or_else(|| step.slow(reader, start)) else {
                return false;
            };
            at = end;
        }
        if text[at..] != *self.tail {
            return false;
        }
        for object in &self.objects {
            reader.columns[*object].push_object();
        }
        self.missing
            .iter()
            .all(|node| reader.missing(*node).is_ok())
    }
}

impl Step {
    /// Reads a value of any form at `start` and returns its end; none where none of the field
    /// stands there.
    #[cold]
    fn slow(&self, reader: &mut Reader<'_>, start: usize) -> Option<usize> {
        // Where no value starts, the layout is another: that is common, and wants no message.
        let first = *reader.cursor.text.get(start)?;
        if !matches!(
            first,
            b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'{' | b'['
        ) {
            return None;
        }
        reader.cursor.at = start;
        let read = match self.node {
            Some(node) => reader.value(node),
            None => reader.cursor.skip(),
        };
        read.ok().map(|()| reader.cursor.at)
    }
}

/// Walks through a record that is known to be well-formed and to fit.
struct Learner<'a> {
    layout: &'a Layout,
    cursor: Cursor<'a>,
    /// Where the text of the next lead starts.
    from: usize,
    template: Template,
}

impl Learner<'_> {
    fn members(&mut self, owner: usize) -> Option<()> {
        let (Shape::Path(children) | Shape::Struct(children)) = &self.layout.nodes[owner].shape
        else {
            return None;
        };
        self.cursor.at += 1;
        let mut seen = vec![false; children.len()];
        let mut first = true;
        while self.cursor.more(first, b'}').ok()? {
            first = false;
            let key = self.cursor.key().ok()?;
            let name = self.cursor.bytes(&key);
            let found = children
                .iter()
                .position(|child| self.layout.nodes[*child].name.as_bytes() == name);
            if let Some(index) = found
                && std::mem::replace(&mut seen[index], true)
            {
                return None;
            }
            self.member(found.map(|index| children[index]))?;
        }
        self.template.objects.push(owner);
        let missing = children.iter().zip(seen).filter(|(_, seen)| !seen);
        self.template
            .missing
            .extend(missing.map(|(child, _)| *child));
        Some(())
    }

    fn member(&mut self, node: Option<usize>) -> Option<()> {
        let shape = node.map(|node| &self.layout.nodes[node].shape);
        if let (Token::Object, Some(Shape::Path(_) | Shape::Struct(_)), Some(node)) =
            (self.cursor.token().ok()?, shape, node)
        {
            return self.members(node);
        }
        let fast = match shape {
            Some(Shape::Scalar(kind)) => Fast::of(*kind),
            _ => Fast::No,
        };
        self.template.steps.push(Step {
            lead: Lead::new(&self.cursor.text[self.from..self.cursor.at]),
            node,
            fast,
        });
        self.cursor.skip().ok()?;
        self.from = self.cursor.at;
        Some(())
    }
}

impl Fast {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Integer => Self::Integer,
            Kind::Decimal { precision, scale } => {
                let limit = 10_i64.checked_pow(u32::from(precision));
                Self::Decimal(usize::from(scale), limit.unwrap_or(i64::MAX))
            }
            Kind::Float => Self::Float,
            Kind::Text => Self::Text,
            Kind::Timestamp(style) => Self::Time(style),
            _ => Self::No,
        }
    }

    /// Reads a value of the usual form at `at` and returns its end; none for any other, with
    /// nothing pushed.
    #[inline]
    fn read(self, text: &[u8], at: usize, column: &mut Column, rules: &Rules) -> Option<usize> {
        let end = match (self, &mut column.values) {
            (Self::Integer, Values::U64(values)) => {
                let (value, end) = short_integer(text, at)?;
                values.push(value.try_into().ok()?);
                end
            }
            (Self::Integer, Values::I64(values)) => {
                let (value, end) = short_integer(text, at)?;
                values.push(value);
                end
            }
            (Self::Integer, values) => {
                let (value, end) = short_integer(text, at)?;
                crate::format::scalar::push_integer(values, i128::from(value))?;
                end
            }
            (Self::Decimal(scale, limit), Values::Decimal(values)) => {
                let (value, end) = short_decimal(text, at, scale)?;
                if value <= -limit || value >= limit {
                    return None;
                }
                values.push(i128::from(value));
                end
            }
            (Self::Float, Values::F64(values)) => {
                let (value, end) = short_float(text, at)?;
                values.push(value);
                end
            }
            (Self::Text, Values::Bytes(bytes, ends)) => {
                let (start, end) = plain(text, at)?;
                bytes.extend_from_slice(&text[start..end]);
                ends.push(i32::try_from(bytes.len()).ok()?);
                end + 1
            }
            (Self::Time(style), Values::I64(values)) => {
                let (value, end) = short_time(text, at, style, rules)?;
                values.push(value);
                end
            }
            _ => return None,
        };
        // A number that goes on (an exponent, a fraction) is not of the usual form; the next lead
        // will not match there, and the full path reads it.
        column.mark_valid();
        Some(end)
    }
}

/// The text of a string without escapes.
#[inline]
fn plain(text: &[u8], at: usize) -> Option<(usize, usize)> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let end = plain_end(text, at + 1);
    (text.get(end) == Some(&b'"')).then_some((at + 1, end))
}

fn short_time(
    text: &[u8],
    at: usize,
    style: TimestampStyle,
    rules: &Rules,
) -> Option<(i64, usize)> {
    match style {
        TimestampStyle::Rfc3339 => {
            let (start, end) = plain(text, at)?;
            let micros = time::parse_timestamp(&text[start..end], rules.zone()).ok()?;
            Some((micros, end + 1))
        }
        TimestampStyle::Seconds => short_decimal(text, at, 6),
        TimestampStyle::Milliseconds => short_decimal(text, at, 3),
        TimestampStyle::Microseconds => short_decimal(text, at, 0),
    }
}

/// The text before a value; up to sixteen bytes are compared at once.
#[derive(Debug)]
struct Lead {
    text: Box<[u8]>,
    word: u128,
    mask: u128,
}

impl Lead {
    fn new(text: &[u8]) -> Self {
        let mut word = [0; 16];
        let mut mask = [0; 16];
        for (at, byte) in text.iter().take(16).enumerate() {
            word[at] = *byte;
            mask[at] = 0xFF;
        }
        Self {
            text: text.into(),
            word: u128::from_le_bytes(word),
            mask: u128::from_le_bytes(mask),
        }
    }

    /// Where the lead ends, if it stands at `at`.
    #[inline]
    fn matches(&self, text: &[u8], at: usize) -> Option<usize> {
        let rest = text.get(at..)?;
        let matches = match rest.first_chunk::<16>() {
            Some(chunk) => {
                (u128::from_le_bytes(*chunk) ^ self.word) & self.mask == 0
                    && (self.text.len() <= 16 || rest.starts_with(&self.text))
            }
            None => rest.starts_with(&self.text),
        };
        matches.then_some(at + self.text.len())
    }
}

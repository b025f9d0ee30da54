//! Turns a batch into calls of an aggregate, and what they did into the answer.
//!
//! As with operators the same code runs in a component and natively. An accumulator is decoded when
//! the first row of a batch meets it and encoded once, when the answer is laid out.

use crate::arena::{Layout, Put};
use crate::buffer::{Batch, Section, bit, engine, group, kind};
use crate::encode::{decode, encode};
use crate::engine::{Rejects, read_context, set_current_row};
use crate::state::column::{put_u32s, put_values};
use crate::{Aggregate, Fault, Input, Malformed, State, config};

/// The state of the accumulators, and that of results, in buffers.
const ACCUMULATORS: u32 = 0;
const RESULTS: u32 = 1;

/// An aggregate that is called batch by batch.
pub struct AggregateEngine<A: Aggregate> {
    aggregate: A,
}

/// A directory and an arena.
type Answer = (Vec<u32>, Vec<u64>);

/// Encoded values as the host sent them.
struct Sent<'a> {
    rows: usize,
    validity: Option<&'a [u8]>,
    width: Option<usize>,
    data: &'a [u8],
    offsets: Option<crate::buffer::Offsets<'a>>,
}

impl<'a> Sent<'a> {
    fn new<T: State>(section: &Section<'a>) -> Result<Self, Malformed> {
        let rows = section.rows();
        let (kind, width) = match T::WIDTH {
            Some(width) => (kind::VALUES, Some(width)),
            None => (kind::DATA, None),
        };
        let data = section.bytes_of(0, kind)?;
        let offsets = match width {
            None => Some(section.offsets(0, rows, Some(data.len()))?),
            Some(width) if data.len() == rows * width => None,
            Some(_) => return Err(section.malformed(0, "values of another width")),
        };
        Ok(Self {
            rows,
            validity: section.bitmap(0, kind::VALIDITY, rows)?,
            width,
            data,
            offsets,
        })
    }

    /// The bytes of a value, if it is there.
    fn get(&self, at: usize) -> Option<&'a [u8]> {
        if self.validity.is_some_and(|bits| !bit(bits, at)) {
            return None;
        }
        Some(match (&self.offsets, self.width) {
            (Some(offsets), _) => &self.data[offsets.at(at)..offsets.at(at + 1)],
            (None, width) => {
                let width = width.unwrap_or(0);
                &self.data[at * width..(at + 1) * width]
            }
        })
    }
}

/// Values on their way to the host: of each its number, and where its bytes end.
#[derive(Default)]
struct Changes {
    state: u32,
    width: Option<usize>,
    keys: Vec<u32>,
    values: Vec<Vec<u8>>,
    rejects: Rejects,
}

impl Layout for Changes {
    fn put(&self, put: &mut impl Put) {
        self.rejects.put(put);
        if self.keys.is_empty() {
            return;
        }
        put.section(group::STATE_CHANGES, self.state, self.keys.len());
        put_u32s(put, 0, kind::VALUES, self.keys.iter().copied());
        put_values(put, 1, self.width, self.values.iter().map(Vec::as_slice));
    }
}

/// A number of a column.
fn word(bytes: &[u8; 4]) -> usize {
    u32::from_le_bytes(*bytes) as usize
}

impl<A: Aggregate> AggregateEngine<A> {
    /// Makes the aggregate from the context document (docs/formats/descriptor.md).
    ///
    /// # Errors
    /// If the document is none, the configuration does not fit, or the aggregate refuses it.
    pub fn open(context: &str) -> Result<Self, Fault> {
        let (given, start) = read_context(context)?;
        let configuration = config::read::<A::Config>(&given)?;
        Ok(Self {
            aggregate: A::open(configuration, &start)?,
        })
    }

    /// Adds rows to accumulators.
    ///
    /// # Errors
    /// If the batch is malformed.
    pub fn add(&self, rows: u32, directory: &[u32], arena: &[u64]) -> Result<Answer, Fault> {
        set_current_row(None);
        let batch = Batch::new(directory, arena)?;
        let input = batch.section(group::INPUT, 0)?;
        if input.rows() != rows as usize {
            return Err(Fault::new(
                "the input has another number of rows than the batch",
            ));
        }
        let sent = Sent::new::<A::Accumulator>(&batch.section(group::STATE, ACCUMULATORS)?)?;
        let keys = input.fixed::<4>(engine::KEY, rows as usize)?;
        if sent.rows != batch.section(group::KEYS, 0)?.rows()
            || keys.iter().any(|key| word(key) >= sent.rows)
        {
            let missing = input.malformed(engine::KEY, "an accumulator that does not exist");
            return Err(missing.into());
        }
        let columns = <A::Row<'_> as Input<'_>>::bind(&batch)?;
        let mut changes = Changes {
            state: ACCUMULATORS,
            width: A::Accumulator::WIDTH,
            ..Changes::default()
        };
        let mut accumulators: Vec<Option<A::Accumulator>> = (0..sent.rows).map(|_| None).collect();
        for (row, key) in keys.iter().enumerate() {
            set_current_row(Some(row as u32));
            let at = word(key);
            let accumulator = match &mut accumulators[at] {
                Some(accumulator) => accumulator,
                empty => empty.insert(self.initial(&sent, at)?),
            };
            let input = <A::Row<'_> as Input<'_>>::read(&columns, row);
            let Err(reject) = self.aggregate.add(accumulator, input) else {
                continue;
            };
            changes.rejects.push(row as u32, &reject);
            // As if it had not been there: those before it are added anew.
            let mut again = self.initial(&sent, at)?;
            let before = keys[..row].iter().enumerate();
            for (row, _) in before.filter(|(_, other)| *other == key) {
                if !changes.rejects.has(row as u32) {
                    let input = <A::Row<'_> as Input<'_>>::read(&columns, row);
                    self.aggregate
                        .add(&mut again, input)
                        .map_err(|reject| Fault {
                            row: Some(row as u32),
                            message: format!("refused when it came again: {}", reject.reason()),
                        })?;
                }
            }
            accumulators[at] = Some(again);
        }
        set_current_row(None);
        for (at, accumulator) in accumulators.iter().enumerate() {
            if let Some(accumulator) = accumulator {
                changes.keys.push(at as u32);
                changes.values.push(encode(accumulator));
            }
        }
        Ok(changes.lay_out())
    }

    /// Merges pairs of accumulators, of which each makes one more.
    ///
    /// # Errors
    /// If the batch is malformed.
    pub fn merge(&self, directory: &[u32], arena: &[u64]) -> Result<Answer, Fault> {
        set_current_row(None);
        let batch = Batch::new(directory, arena)?;
        let sent = Sent::new::<A::Accumulator>(&batch.section(group::STATE, ACCUMULATORS)?)?;
        let pairs = batch.section(group::MERGES, 0)?;
        let left = pairs.fixed::<4>(0, pairs.rows())?;
        let right = pairs.fixed::<4>(1, pairs.rows())?;
        let mut changes = Changes {
            state: ACCUMULATORS,
            width: A::Accumulator::WIDTH,
            ..Changes::default()
        };
        for (pair, (left, right)) in left.iter().zip(right).enumerate() {
            set_current_row(Some(pair as u32));
            let of = |number: usize| match number.checked_sub(sent.rows) {
                None => self.initial(&sent, number),
                Some(made) => match changes.values.get(made) {
                    Some(bytes) => decode(bytes),
                    None => Err(pairs.malformed(0, "a pair of what does not exist yet")),
                },
            };
            let (mut merged, other) = (of(word(left))?, of(word(right))?);
            self.aggregate.merge(&mut merged, other);
            changes.keys.push((sent.rows + pair) as u32);
            changes.values.push(encode(&merged));
        }
        set_current_row(None);
        Ok(changes.lay_out())
    }

    /// The results of accumulators.
    ///
    /// # Errors
    /// If the batch is malformed.
    pub fn results(&self, directory: &[u32], arena: &[u64]) -> Result<Answer, Fault> {
        set_current_row(None);
        let batch = Batch::new(directory, arena)?;
        let sent = Sent::new::<A::Accumulator>(&batch.section(group::STATE, ACCUMULATORS)?)?;
        let mut changes = Changes {
            state: RESULTS,
            width: A::Output::WIDTH,
            ..Changes::default()
        };
        for at in 0..sent.rows {
            set_current_row(Some(at as u32));
            let result = self.aggregate.result(self.initial(&sent, at)?);
            changes.keys.push(at as u32);
            changes.values.push(encode(&result));
        }
        set_current_row(None);
        Ok(changes.lay_out())
    }

    /// An accumulator as the host sent it, or one of no rows.
    fn initial(&self, sent: &Sent<'_>, at: usize) -> Result<A::Accumulator, Malformed> {
        match sent.get(at) {
            Some(bytes) => decode(bytes),
            None => Ok(self.aggregate.create()),
        }
    }
}

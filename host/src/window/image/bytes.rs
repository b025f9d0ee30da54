//! Windows as bytes, all numbers little-endian; those of entries so that their bytes are in order.

use datasketches::hll::HllSketch;

use super::{Global, Session, Shape, Shown};
use crate::window::accumulator::{Accumulator, Different, Edge, HLL_REGISTERS, Moments};
use crate::window::float::FloatSum;
use crate::window::folded::{Folded, Held};
use crate::window::quantile::Quantiles;
use crate::window::shape::Slot;
use crate::window::value::Value;
use wasmill_core::window::Function;

/// An entry's bytes: what it is, and numbers.
pub(super) fn entry(tag: u8, numbers: &[i64]) -> Vec<u8> {
    let mut out = vec![tag];
    for number in numbers {
        let ordered = (*number as u64) ^ (1 << 63);
        out.extend_from_slice(&ordered.to_be_bytes());
    }
    out
}

/// A number of an entry, and nothing else.
pub(super) fn place(bytes: &[u8]) -> Option<i64> {
    let ordered = u64::from_be_bytes(bytes.try_into().ok()?);
    Some((ordered ^ (1 << 63)) as i64)
}

fn put(out: &mut Vec<u8>, word: u64) {
    out.extend_from_slice(&word.to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("a window keeps fewer than 2^32 values");
    out.extend_from_slice(&count.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends accumulators, one after the other.
pub(super) fn accumulators(all: &[Accumulator], shape: &Shape, out: &mut Vec<u8>) {
    for (accumulator, _) in all.iter().zip(&shape.slots) {
        match accumulator {
            Accumulator::Count(count) => put(out, *count),
            Accumulator::Whole([low, high], count) => {
                [*low, *high, *count]
                    .into_iter()
                    .for_each(|it| put(out, it));
            }
            Accumulator::Floats(sum, count) => {
                put(out, *count);
                put_sum(out, sum);
            }
            Accumulator::Moments(moments) => {
                put(out, moments.count);
                put_sum(out, &moments.sum);
                put_sum(out, &moments.squares);
            }
            Accumulator::Best(best) => put_option(out, best.as_ref(), put_value),
            Accumulator::Edge(edge) => put_option(out, edge.as_deref(), |out, edge| {
                let (time, split, offset, input) = edge.place;
                put(out, time as u64);
                put(out, u64::from(input) << 32 | u64::from(split));
                put(out, offset);
                put_value(out, &edge.value);
            }),
            Accumulator::Distinct(set) => {
                let mut values: Vec<&[u8]> = set
                    .iter()
                    .flat_map(|set| set.0.iter())
                    .map(|it| &**it)
                    .collect();
                values.sort_unstable();
                put_count(out, values.len());
                values.into_iter().for_each(|value| put_bytes(out, value));
            }
            Accumulator::Approximate(sketch) => {
                put_option(out, sketch.as_deref(), |out, sketch| {
                    put_bytes(out, &sketch.serialize());
                })
            }
            Accumulator::Top(values) => {
                put_count(out, values.len());
                values.iter().for_each(|value| put_value(out, value));
            }
            Accumulator::Plugin(folded) => match folded.as_ref().map(|it| it.held()) {
                None => out.push(0),
                Some(Held::Bytes(bytes)) => {
                    out.push(1);
                    put_bytes(out, bytes);
                }
                Some(Held::Lost(reason)) => {
                    out.push(2);
                    put_bytes(out, reason.as_bytes());
                }
            },
            Accumulator::Quantiles(quantiles) => {
                put_count(out, quantiles.as_ref().map_or(0, |it| it.counts().len()));
                for (bucket, count) in quantiles.iter().flat_map(|it| it.counts()) {
                    put(out, i64::from(bucket) as u64);
                    put(out, count);
                }
            }
        }
    }
}

fn put_option<T: ?Sized>(out: &mut Vec<u8>, value: Option<&T>, put: impl Fn(&mut Vec<u8>, &T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_sum(out: &mut Vec<u8>, sum: &FloatSum) {
    out.push(sum.special());
    let parts: Vec<f64> = sum.parts().filter(|part| *part != 0.0).collect();
    put_count(out, parts.len());
    parts.into_iter().for_each(|part| put(out, part.to_bits()));
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Int([low, high]) => {
            out.push(0);
            put(out, *low);
            put(out, *high);
        }
        Value::Float(value) => {
            out.push(1);
            put(out, value.to_bits());
        }
        Value::Bytes(bytes) => {
            out.push(2);
            put_bytes(out, bytes);
        }
    }
}

/// Appends a result that was given out.
pub(super) fn shown(shown: &Shown, shape: &Shape, out: &mut Vec<u8>) {
    put(out, shown.start as u64);
    put(out, shown.end as u64);
    put_count(out, shown.ordinal as usize);
    accumulators(&shown.accumulators, shape, out);
}

/// Appends a session without its start.
pub(super) fn session(session: &Session, shape: &Shape, out: &mut Vec<u8>) {
    put(out, session.end as u64);
    out.push(u8::from(session.is_over));
    put_count(out, session.shown.len());
    for result in &session.shown {
        shown(result, shape, out);
    }
    accumulators(&session.accumulators, shape, out);
}

/// Appends a window without bounds.
pub(super) fn global(global: &Global, shape: &Shape, out: &mut Vec<u8>) {
    put(out, global.number as u64);
    put(out, global.time as u64);
    put_option(out, global.shown.as_ref(), |out, result| {
        shown(result, shape, out);
    });
    accumulators(&global.accumulators, shape, out);
}

/// Bytes from a store: they may be anything.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn accumulators(&mut self, shape: &Shape) -> Option<Box<[Accumulator]>> {
        let slots = shape.slots.iter();
        slots.map(|slot| self.accumulator(slot)).collect()
    }

    pub(super) fn shown(&mut self, shape: &Shape) -> Option<Shown> {
        Some(Shown {
            start: self.word()? as i64,
            end: self.word()? as i64,
            ordinal: self.count()?,
            accumulators: self.accumulators(shape)?,
        })
    }

    pub(super) fn session(&mut self, start: i64, shape: &Shape) -> Option<Session> {
        let end = self.word()? as i64;
        let is_over = self.flag()?;
        let count = self.count()?;
        let shown = (0..count).map(|_| self.shown(shape));
        let shown = shown.collect::<Option<_>>()?;
        Some(Session {
            start,
            end,
            is_over,
            wake: end,
            shown,
            accumulators: self.accumulators(shape)?,
        })
    }

    pub(super) fn global(&mut self, shape: &Shape) -> Option<Global> {
        let (number, time) = (self.word()? as i64, self.word()? as i64);
        let shown = match self.flag()? {
            true => Some(self.shown(shape)?),
            false => None,
        };
        Some(Global {
            number,
            time,
            shown,
            accumulators: self.accumulators(shape)?,
        })
    }

    fn accumulator(&mut self, slot: &Slot) -> Option<Accumulator> {
        Some(match slot.kind.empty() {
            Accumulator::Count(_) => Accumulator::Count(self.word()?),
            Accumulator::Whole(..) => {
                Accumulator::Whole([self.word()?, self.word()?], self.word()?)
            }
            Accumulator::Floats(..) => {
                let count = self.word()?;
                Accumulator::Floats(self.sum()?, count)
            }
            Accumulator::Moments(_) => Accumulator::Moments(Box::new(Moments {
                count: self.word()?,
                sum: self.sum()?,
                squares: self.sum()?,
            })),
            Accumulator::Best(_) => Accumulator::Best(match self.flag()? {
                true => Some(self.value(slot)?),
                false => None,
            }),
            Accumulator::Edge(_) => Accumulator::Edge(match self.flag()? {
                true => Some(Box::new(self.edge(slot)?)),
                false => None,
            }),
            Accumulator::Distinct(_) => {
                let count = self.count()?;
                let values = (0..count).map(|_| self.bytes().map(Into::into));
                let values = values.collect::<Option<_>>()?;
                Accumulator::Distinct((count > 0).then(|| Box::new(Different(values))))
            }
            Accumulator::Approximate(_) => Accumulator::Approximate(match self.flag()? {
                true => Some(Box::new(self.sketch()?)),
                false => None,
            }),
            Accumulator::Top(_) => {
                let Function::Top(n) = slot.kind.function else {
                    return None;
                };
                let count = self.count().filter(|count| *count <= n)?;
                let values = (0..count).map(|_| self.value(slot));
                Accumulator::Top(values.collect::<Option<_>>()?)
            }
            Accumulator::Plugin(_) => Accumulator::Plugin(match self.byte()? {
                0 => None,
                1 => Some(Folded::of(Held::Bytes(self.bytes()?.into()))),
                2 => {
                    let reason = str::from_utf8(self.bytes()?).ok()?;
                    Some(Folded::of(Held::Lost(reason.into())))
                }
                _ => return None,
            }),
            Accumulator::Quantiles(_) => {
                let quantiles = self.quantiles()?;
                Accumulator::Quantiles(quantiles.map(Box::new))
            }
        })
    }

    fn sketch(&mut self) -> Option<HllSketch> {
        let sketch = HllSketch::deserialize(self.bytes()?).ok()?;
        // A larger one takes far more memory than bytes.
        (sketch.lg_config_k() == HLL_REGISTERS).then_some(sketch)
    }

    fn quantiles(&mut self) -> Option<Option<Quantiles>> {
        let mut quantiles = Quantiles::default();
        let (buckets, mut total) = (self.count()?, 0_u64);
        for _ in 0..buckets {
            let bucket = i32::try_from(self.word()? as i64).ok()?;
            let count = self.word()?;
            total = total.checked_add(count)?;
            quantiles.restore(bucket, count);
        }
        Some((buckets > 0).then_some(quantiles))
    }

    fn edge(&mut self, slot: &Slot) -> Option<Edge> {
        let (time, split, offset) = (self.word()? as i64, self.word()?, self.word()?);
        Some(Edge {
            place: (time, split as u32, offset, (split >> 32) as u32),
            value: self.value(slot)?,
        })
    }

    fn sum(&mut self) -> Option<FloatSum> {
        let mut sum = FloatSum::default();
        sum.mark(self.byte()?);
        for _ in 0..self.count()? {
            // Of a sum that has overflowed parts are not finite.
            sum.add(f64::from_bits(self.word()?));
        }
        Some(sum)
    }

    /// A value of a slot's column.
    fn value(&mut self, slot: &Slot) -> Option<Value> {
        let value = match self.byte()? {
            0 => Value::Int([self.word()?, self.word()?]),
            1 => Value::Float(f64::from_bits(self.word()?)),
            2 => Value::Bytes(self.bytes()?.into()),
            _ => return None,
        };
        value.is_of(slot.data_type.as_ref()?).then_some(value)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn count(&mut self) -> Option<u32> {
        let (count, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*count))
    }

    pub(super) fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.count()? as usize;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

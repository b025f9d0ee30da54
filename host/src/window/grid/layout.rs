//! Where aggregates stand in the words of a page, and what is done with them there.

use std::sync::Arc;

use wasmill_core::window::Function;

use super::sheet::Odd;
use crate::window::{
    accumulator::Accumulator,
    float::{FloatSum, add_to_two},
    shape::{Overflown, Shape},
    value::{Column, join, split},
};

/// Keys of a page, as a power of two: a page is made for the first of them that has rows, and
/// copied if an image reads it.
pub(super) const SHIFT: u32 = 6;
pub(super) const PAGE: usize = 1 << SHIFT;

/// Stands for a sum of floats that two numbers do not hold: no sum that they hold is this.
const ODD: (f64, f64) = (f64::NAN, 0.0);

/// The words of a key's aggregates, of which the first counts its rows. A page has those of one key
/// behind those of the one before.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// By slot.
    parts: Vec<Part>,
    words: usize,
}

/// The words of one slot.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// A count.
    Count(usize),
    /// The low word of a sum of whole numbers, behind which the high one stands, and how many
    /// values it is of.
    Whole(usize, usize),
    /// The two numbers of a sum of floats, one behind the other, and how many values it is of.
    Floats(usize, usize),
}

/// What a slot holds, to be shown.
#[derive(Debug, Clone, Copy)]
pub(in crate::window) enum Plain {
    /// How many rows or values.
    Count(u64),
    /// The sum of so many values.
    Whole(i128, u64),
    /// The float nearest to the sum of so many values.
    Float(f64, u64),
}

/// The slots of one key.
pub(super) struct Slots<'a> {
    pub(super) id: u32,
    /// Its words.
    pub(super) key: &'a mut [u64],
    pub(super) odd: Option<&'a mut Arc<Odd>>,
}

impl Layout {
    /// The layout for a shape; none if it has other aggregates than counts and sums, which can be
    /// taken out of a total as well as added.
    pub(super) fn new(shape: &Shape) -> Option<Self> {
        let mut words = 0;
        let mut take = |count: usize| {
            words += count;
            words - count
        };
        let parts = shape.slots.iter().map(|slot| match slot.kind.function {
            Function::Count => Some(Part::Count(take(1))),
            Function::Sum | Function::Mean => {
                let first = take(2);
                // Where no value is null there are as many as rows.
                let count = if slot.is_nullable { take(1) } else { 0 };
                Some(match slot.kind.is_float {
                    true => Part::Floats(first, count),
                    false => Part::Whole(first, count),
                })
            }
            _ => None,
        });
        let parts = parts.collect::<Option<Vec<Part>>>()?;
        Some(Self { parts, words })
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.parts.len()
    }

    /// A page of no rows.
    pub(super) fn page(&self) -> Box<[u64]> {
        vec![0; self.words * PAGE].into()
    }

    /// The memory of a page.
    pub(super) fn page_bytes(&self) -> usize {
        self.words * PAGE * size_of::<u64>()
    }

    /// The words of a key of a page.
    #[inline]
    pub(super) fn key<'a>(&self, page: &'a [u64], at: usize) -> &'a [u64] {
        &page[at * self.words..(at + 1) * self.words]
    }

    /// The same, to change them.
    #[inline]
    pub(super) fn key_mut<'a>(&self, page: &'a mut [u64], at: usize) -> &'a mut [u64] {
        &mut page[at * self.words..(at + 1) * self.words]
    }

    /// The words of each key of a page.
    pub(super) fn keys<'a>(&self, page: &'a [u64]) -> impl Iterator<Item = &'a [u64]> {
        page.chunks_exact(self.words)
    }

    /// Adds a row.
    #[inline]
    pub(super) fn add(
        &self,
        slots: &mut Slots<'_>,
        (shape, columns): (&Shape, &[Column<'_>]),
        row: usize,
    ) -> Result<(), Overflown> {
        for (slot, part) in self.parts.iter().enumerate() {
            let column = shape.slots[slot].column.map(|column| &columns[column]);
            if column.is_some_and(|column| !column.is_valid(row)) {
                continue;
            }
            match (*part, column) {
                (Part::Count(word), _) => slots.count(word, 1),
                (Part::Whole(first, count), Some(column)) => {
                    slots.add_whole((slot, first), column.whole(row))?;
                    slots.count_values(count, 1);
                }
                (Part::Floats(first, count), Some(column)) => {
                    slots.add_float((slot, first), column.float(row));
                    slots.count_values(count, 1);
                }
                (Part::Whole(..) | Part::Floats(..), None) => {}
            }
        }
        Ok(())
    }

    /// Adds what accumulators hold.
    pub(super) fn put(
        &self,
        slots: &mut Slots<'_>,
        accumulators: &[Accumulator],
    ) -> Result<(), Overflown> {
        for (slot, (part, from)) in self.parts.iter().zip(accumulators).enumerate() {
            match (*part, from) {
                (Part::Count(word), Accumulator::Count(more)) => slots.count(word, *more),
                (Part::Whole(first, count), Accumulator::Whole(more, values)) => {
                    slots.add_whole((slot, first), join(*more))?;
                    slots.count_values(count, *values);
                }
                (Part::Floats(first, count), Accumulator::Floats(more, values)) => {
                    match more.two() {
                        Some((high, low)) => {
                            slots.add_float((slot, first), high);
                            slots.add_float((slot, first), low);
                        }
                        None => slots.spill((slot, first), |sum| sum.merge(more)),
                    }
                    slots.count_values(count, *values);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// One slot of a key; none if it is odd.
    #[inline]
    pub(super) fn plain(&self, slot: usize, key: &[u64]) -> Option<Plain> {
        Some(match self.parts[slot] {
            Part::Count(word) => Plain::Count(key[word]),
            Part::Whole(first, count) => Plain::Whole(whole(key, first), key[count]),
            Part::Floats(first, count) => {
                let (high, low) = two(key, first);
                let is_odd = high.is_nan();
                return (!is_odd).then(|| Plain::Float(high + low, key[count]));
            }
        })
    }

    /// One slot of a key of a pane, whose sum may be odd.
    pub(super) fn accumulator(
        &self,
        of: (u32, usize),
        key: &[u64],
        odd: &Odd,
    ) -> Option<Accumulator> {
        Some(match self.parts[of.1] {
            Part::Count(word) => Accumulator::Count(key[word]),
            Part::Whole(first, count) => Accumulator::Whole(split(whole(key, first)), key[count]),
            Part::Floats(first, count) => {
                let known = two(key, first);
                let sum = match known.0.is_nan() {
                    true => odd.get(&of)?.clone(),
                    false => FloatSum::of(known),
                };
                Accumulator::Floats(sum, key[count])
            }
        })
    }

    /// Adds all of another page to a total's, or takes it out.
    pub(super) fn combine(
        &self,
        page: &mut [u64],
        other: &[u64],
        is_in: bool,
    ) -> Result<(), Overflown> {
        let keys = page.chunks_exact_mut(self.words);
        for (key, other) in keys.zip(other.chunks_exact(self.words)) {
            if other[0] > 0 {
                self.combine_key(key, other, is_in)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn combine_key(&self, key: &mut [u64], other: &[u64], is_in: bool) -> Result<(), Overflown> {
        for (slot, part) in self.parts.iter().enumerate() {
            let count = match *part {
                Part::Count(word) => word,
                Part::Whole(first, count) => {
                    let (known, more) = (whole(key, first), whole(other, first));
                    let sum = match is_in {
                        true => known.checked_add(more),
                        false => known.checked_sub(more),
                    };
                    set_whole(key, first, sum.ok_or(slot)?);
                    count
                }
                Part::Floats(first, count) => {
                    combine_floats(key, other, first, is_in);
                    count
                }
            };
            // The first word is that of the first slot.
            if count > 0 || slot == 0 {
                match is_in {
                    true => key[count] += other[count],
                    false => key[count] -= other[count],
                }
            }
        }
        Ok(())
    }
}

impl Slots<'_> {
    #[inline]
    fn count(&mut self, word: usize, more: u64) {
        self.key[word] += more;
    }

    /// Counts values where they are not as many as rows.
    #[inline]
    fn count_values(&mut self, word: usize, more: u64) {
        if word > 0 {
            self.count(word, more);
        }
    }

    #[inline]
    fn add_whole(&mut self, (slot, first): (usize, usize), more: i128) -> Result<(), Overflown> {
        let sum = whole(self.key, first).checked_add(more);
        set_whole(self.key, first, sum.ok_or(slot)?);
        Ok(())
    }

    #[inline]
    fn add_float(&mut self, place: (usize, usize), more: f64) {
        let (sum, left) = add_to_two(two(self.key, place.1), more);
        match left == 0.0 {
            true => set_two(self.key, place.1, sum),
            false => self.spill(place, |sum| sum.add(more)),
        }
    }

    /// Adds what makes a sum odd, or to one that is.
    #[cold]
    fn spill(&mut self, (slot, first): (usize, usize), add: impl FnOnce(&mut FloatSum)) {
        if let Some(odd) = &mut self.odd {
            let known = two(self.key, first);
            let odd = Arc::make_mut(odd).entry((self.id, slot));
            add(odd.or_insert_with(|| FloatSum::of(known)));
        }
        set_two(self.key, first, ODD);
    }
}

#[inline]
fn combine_floats(key: &mut [u64], other: &[u64], first: usize, is_in: bool) {
    let sign = if is_in { 1.0 } else { -1.0 };
    let (high, low) = two(other, first);
    let (sum, left) = add_to_two(two(key, first), sign * high);
    let (sum, more) = add_to_two(sum, sign * low);
    // What is odd stays so until no row is left: what is no number cannot be taken out.
    let sum = match (left == 0.0 && more == 0.0, key[0]) {
        (_, 0) => (0.0, 0.0),
        (true, _) => sum,
        (false, _) => ODD,
    };
    set_two(key, first, sum);
}

#[inline]
fn whole(key: &[u64], first: usize) -> i128 {
    join([key[first], key[first + 1]])
}

#[inline]
fn set_whole(key: &mut [u64], first: usize, sum: i128) {
    [key[first], key[first + 1]] = split(sum);
}

#[inline]
fn two(key: &[u64], first: usize) -> (f64, f64) {
    (f64::from_bits(key[first]), f64::from_bits(key[first + 1]))
}

#[inline]
fn set_two(key: &mut [u64], first: usize, (high, low): (f64, f64)) {
    (key[first], key[first + 1]) = (high.to_bits(), low.to_bits());
}

//! Windows whose rows are kept as one tile for each stretch of time.

use std::cmp::Ordering;
use std::collections::VecDeque;

use wasmill_core::feature::{Aggregate, Feature, Window};

use super::bytes::{Input, put, put_bytes, put_count};
use super::dictionary::Dictionary;
use super::fold::{self, Overflow, Total, compare};
use super::image::{Form, Stored};
use super::output::Output;
use super::reader::{Kind, Reader, Slot};

/// One feature's tiles of one key, by time.
#[derive(Debug, Default, Clone)]
pub(super) struct Tiles {
    tiles: VecDeque<Tile>,
    dictionary: Dictionary,
    scratch: Vec<u8>,
}

/// The rows of one stretch, in the order in which they came.
#[derive(Debug, Clone)]
struct Tile {
    /// Its time divided by the granularity.
    index: i64,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    Count(u64),
    Total(Total),
    /// Welford's: count, mean, sum of the squares of the distances.
    Moments(f64, f64, f64),
    Extreme(Option<[u64; 2]>),
    /// Numbers of the dictionary, each once, ordered.
    Numbers(Vec<u32>),
}

impl Tiles {
    /// Takes a row.
    pub(super) fn push(
        &mut self,
        feature: &Feature,
        reader: Option<&Reader<'_>>,
        row: usize,
        time: i64,
    ) {
        let index = time.div_euclid(granularity(feature));
        let at = self.tiles.partition_point(|tile| tile.index < index);
        if self.tiles.get(at).is_none_or(|tile| tile.index != index) {
            let value = Value::new(feature.aggregate, reader.map(|reader| reader.slot.kind));
            self.tiles.insert(at, Tile { index, value });
        }
        match reader {
            Some(reader) if !reader.is_valid(row) => {}
            Some(reader) => {
                let mut words = reader.words(row);
                if reader.slot.kind == Kind::Dictionary {
                    self.scratch.clear();
                    reader.encode(row, &mut self.scratch);
                    words[0] = u64::from(self.dictionary.hold(&self.scratch));
                }
                self.add(at, feature, reader, words);
            }
            None => {
                if let Value::Count(count) = &mut self.tiles[at].value {
                    *count += 1;
                }
            }
        }
    }

    /// The feature as of a row of this time, which has been pushed; drops the tiles that rows with
    /// times from the clock on do not see.
    pub(super) fn evaluate(
        &mut self,
        feature: &Feature,
        reader: Option<&Reader<'_>>,
        (time, clock): (i64, i64),
        out: &mut Output,
    ) -> Result<(), Overflow> {
        let (size, us) = (granularity(feature), window_us(feature));
        let last = time.div_euclid(size);
        let edge = time.saturating_sub(us);
        let start = |tile: &Tile| tile.index.saturating_mul(size);
        let first = self
            .tiles
            .partition_point(|tile| start(tile) <= edge && tile.index < last);
        let end = self.tiles.partition_point(|tile| tile.index <= last);
        let kind = reader.map_or(Kind::Unsigned, |reader| reader.slot.kind);
        let tiles = self.tiles.range(first..end).map(|tile| &tile.value);
        merge(feature, tiles, (kind, &self.dictionary), out)?;
        let clock = clock.min(time);
        while self
            .tiles
            .front()
            .is_some_and(|oldest| is_past(oldest, feature, clock))
        {
            self.drop_first(kind);
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.tiles.len()
    }

    /// Whether no row with a time from the clock on sees any tile.
    pub(super) fn is_stale(&self, feature: &Feature, clock: i64) -> bool {
        self.tiles
            .back()
            .is_none_or(|newest| is_past(newest, feature, clock))
    }

    /// The clock from which on no row to come sees any tile.
    pub(super) fn until(&self, feature: &Feature) -> i64 {
        let (size, us) = (granularity(feature), window_us(feature));
        // `is_past`, solved for the clock.
        self.tiles.back().map_or(i64::MIN, |newest| {
            let start = newest.index.saturating_mul(size);
            let next = newest.index.saturating_add(1).saturating_mul(size);
            next.max(start.saturating_add(us))
        })
    }

    pub(super) fn bytes(&self) -> usize {
        let numbers = self.tiles.iter().map(|tile| match &tile.value {
            Value::Numbers(numbers) => numbers.capacity() * 4,
            _ => 0,
        });
        self.tiles.capacity() * size_of::<Tile>() + numbers.sum::<usize>() + self.dictionary.bytes()
    }

    /// Writes the tiles: their count, then for each its index and its value.
    pub(super) fn write(&self, slot: Option<Slot>, out: &mut Vec<u8>) {
        let is_encoded = slot.is_some_and(Slot::is_encoded);
        put_count(out, self.tiles.len());
        for tile in &self.tiles {
            put(out, tile.index as u64);
            match &tile.value {
                Value::Count(count) => put(out, *count),
                Value::Total(Total::Float(sum, count)) => {
                    put(out, sum.to_bits());
                    put(out, *count);
                }
                Value::Total(Total::Exact(sum, count)) => {
                    let sum_or_0 = sum.unwrap_or(0) as u128;
                    out.push(u8::from(sum.is_some()));
                    put(out, sum_or_0 as u64);
                    put(out, (sum_or_0 >> 64) as u64);
                    put(out, *count);
                }
                Value::Moments(count, mean, squares) => {
                    [count, mean, squares]
                        .iter()
                        .for_each(|part| put(out, part.to_bits()));
                }
                Value::Extreme(None) => out.push(0),
                Value::Extreme(Some([number, _])) if is_encoded => {
                    out.push(1);
                    put_bytes(out, self.dictionary.value(*number as u32));
                }
                Value::Extreme(Some(words)) => {
                    out.push(1);
                    let width = slot.map_or(1, Slot::width);
                    words[..width].iter().for_each(|word| put(out, *word));
                }
                Value::Numbers(numbers) => {
                    put_count(out, numbers.len());
                    let values = numbers.iter().map(|number| self.dictionary.value(*number));
                    values.for_each(|value| put_bytes(out, value));
                }
            }
        }
    }

    /// Takes up what was written; tiles that there are stay.
    pub(super) fn restore(
        &mut self,
        (feature, slot): (&Feature, Option<Slot>),
        form: Option<&Form>,
        input: &mut Input<'_>,
    ) -> Option<()> {
        let mut tiles = Self::default();
        for _ in 0..input.count()? {
            let index = input.word()? as i64;
            let mut value = Value::new(feature.aggregate, slot.map(|slot| slot.kind));
            tiles.restore_value(&mut value, form, input)?;
            let is_ordered = tiles.tiles.back().is_none_or(|last| last.index < index);
            is_ordered.then(|| tiles.tiles.push_back(Tile { index, value }))?;
        }
        if self.tiles.is_empty() {
            *self = tiles;
        }
        Some(())
    }

    fn restore_value(
        &mut self,
        value: &mut Value,
        form: Option<&Form>,
        input: &mut Input<'_>,
    ) -> Option<()> {
        match value {
            Value::Count(count) => *count = input.word()?,
            Value::Total(Total::Float(sum, count)) => {
                (*sum, *count) = (input.float()?, input.word()?);
            }
            Value::Total(Total::Exact(sum, count)) => {
                let is_exact = input.byte()? == 1;
                let (low, high) = (input.word()?, input.word()?);
                let whole = (u128::from(high) << 64 | u128::from(low)) as i128;
                (*sum, *count) = (is_exact.then_some(whole), input.word()?);
            }
            Value::Moments(count, mean, squares) => {
                (*count, *mean, *squares) = (input.float()?, input.float()?, input.float()?);
            }
            Value::Extreme(known) => {
                *known = match input.byte()? {
                    0 => None,
                    _ => Some(self.restore_words(form?, input)?),
                };
            }
            Value::Numbers(numbers) => {
                for _ in 0..input.count()? {
                    let number = self.restore_words(form?, input)?[0] as u32;
                    let at = numbers.binary_search(&number).err()?;
                    numbers.insert(at, number);
                }
            }
        }
        Some(())
    }

    /// A value as its slot keeps it.
    fn restore_words(&mut self, form: &Form, input: &mut Input<'_>) -> Option<[u64; 2]> {
        Some(match form.read(input)? {
            Stored::Encoded(value) => [u64::from(self.dictionary.hold(value)), 0],
            Stored::Words(words) => words,
        })
    }

    fn add(&mut self, at: usize, feature: &Feature, reader: &Reader<'_>, words: [u64; 2]) {
        let kind = reader.slot.kind;
        let wide = (u128::from(words[1]) << 64 | u128::from(words[0])) as i128;
        match &mut self.tiles[at].value {
            Value::Count(count) => *count += 1,
            Value::Total(Total::Float(sum, count)) => {
                *sum += f64::from_bits(words[0]);
                *count += 1;
            }
            Value::Total(Total::Exact(sum, count)) => {
                let value = match kind {
                    Kind::Wide => wide,
                    Kind::Unsigned => i128::from(words[0]),
                    _ => i128::from(words[0] as i64),
                };
                *sum = sum.and_then(|sum| sum.checked_add(value));
                *count += 1;
            }
            Value::Moments(count, mean, squares) => {
                let value = match kind {
                    Kind::Wide => wide as f64,
                    Kind::Float => f64::from_bits(words[0]),
                    Kind::Unsigned => words[0] as f64,
                    _ => words[0] as i64 as f64,
                };
                *count += 1.0;
                let distance = value - *mean;
                *mean += distance / *count;
                *squares += distance * (value - *mean);
            }
            Value::Extreme(known) => {
                let wanted = wanted(feature.aggregate);
                let is_better = known
                    .is_none_or(|known| ordering((kind, &self.dictionary), words, known) == wanted);
                let left = if is_better {
                    known.replace(words)
                } else {
                    Some(words)
                };
                if let (Kind::Dictionary, Some([number, _])) = (kind, left) {
                    self.dictionary.release(number as u32);
                }
            }
            Value::Numbers(numbers) => {
                let number = words[0] as u32;
                match numbers.binary_search(&number) {
                    Ok(_) => self.dictionary.release(number),
                    Err(at) => numbers.insert(at, number),
                }
            }
        }
    }

    fn drop_first(&mut self, kind: Kind) {
        match self.tiles.pop_front().map(|tile| tile.value) {
            Some(Value::Numbers(numbers)) => {
                numbers
                    .iter()
                    .for_each(|number| self.dictionary.release(*number));
            }
            Some(Value::Extreme(Some([number, _]))) if kind == Kind::Dictionary => {
                self.dictionary.release(number as u32);
            }
            _ => {}
        }
    }
}

impl Value {
    fn new(aggregate: Aggregate, kind: Option<Kind>) -> Self {
        match (aggregate, kind) {
            (Aggregate::Sum | Aggregate::Mean, Some(Kind::Float)) => {
                Self::Total(Total::Float(0.0, 0))
            }
            (Aggregate::Sum | Aggregate::Mean, _) => Self::Total(Total::Exact(Some(0), 0)),
            (Aggregate::Deviation, _) => Self::Moments(0.0, 0.0, 0.0),
            (Aggregate::Min | Aggregate::Max, _) => Self::Extreme(None),
            (Aggregate::Distinct, _) => Self::Numbers(Vec::new()),
            _ => Self::Count(0),
        }
    }
}

/// Folds tiles, oldest first.
fn merge<'a>(
    feature: &Feature,
    tiles: impl Iterator<Item = &'a Value> + Clone,
    (kind, dictionary): (Kind, &Dictionary),
    out: &mut Output,
) -> Result<(), Overflow> {
    match feature.aggregate {
        Aggregate::Sum | Aggregate::Mean => {
            let totals = tiles.filter_map(|value| match value {
                Value::Total(total) => Some(*total),
                _ => None,
            });
            let total = totals.reduce(add).unwrap_or(Total::Exact(Some(0), 0));
            if feature.aggregate == Aggregate::Sum {
                return fold::push_sum(&feature.data_type, total, out);
            }
            out.push_float(fold::mean(total, out));
        }
        Aggregate::Deviation => out.push_float(deviation(tiles, kind, out)),
        Aggregate::Min | Aggregate::Max => {
            let wanted = wanted(feature.aggregate);
            let better = |a: [u64; 2], b: [u64; 2]| {
                if ordering((kind, dictionary), b, a) == wanted {
                    b
                } else {
                    a
                }
            };
            let values = tiles.filter_map(|value| match value {
                Value::Extreme(extreme) => *extreme,
                _ => None,
            });
            match (values.reduce(better), kind) {
                (None, _) => out.push_null(),
                (Some([low, high]), Kind::Wide) => {
                    out.push_wide((u128::from(high) << 64 | u128::from(low)) as i128);
                }
                (Some([number, _]), Kind::Dictionary) => {
                    out.push_bytes(dictionary.value(number as u32));
                }
                (Some([word, _]), _) => out.push_word(word),
            }
        }
        Aggregate::Distinct => {
            let numbers = tiles.flat_map(|value| match value {
                Value::Numbers(numbers) => &numbers[..],
                _ => &[],
            });
            out.push_distinct(numbers.copied(), dictionary.end());
        }
        _ => {
            let count = tiles.map(|value| {
                if let Value::Count(count) = value {
                    *count
                } else {
                    0
                }
            });
            out.push_word(count.sum());
        }
    }
    Ok(())
}

fn add(a: Total, b: Total) -> Total {
    match (a, b) {
        (Total::Exact(a, n), Total::Exact(b, m)) => {
            let sum = a.and_then(|a| b.and_then(|b| a.checked_add(b)));
            Total::Exact(sum, n + m)
        }
        (Total::Float(a, n), Total::Float(b, m)) => Total::Float(a + b, n + m),
        (a, _) => a,
    }
}

/// Chan's formula for the union of two sets, tile by tile.
fn deviation<'a>(tiles: impl Iterator<Item = &'a Value>, kind: Kind, out: &Output) -> Option<f64> {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in tiles {
        if let Value::Moments(more, other, of_other) = value
            && *more > 0.0
        {
            let distance = other - mean;
            let both = count + more;
            mean += distance * more / both;
            squares += of_other + distance * distance * count * more / both;
            count = both;
        }
    }
    let divisor = if kind == Kind::Float {
        1.0
    } else {
        out.divisor()
    };
    (count > 0.0).then(|| (squares / count).max(0.0).sqrt() / divisor)
}

fn ordering((kind, dictionary): (Kind, &Dictionary), a: [u64; 2], b: [u64; 2]) -> Ordering {
    if kind == Kind::Wide {
        // Two's complement: the high words decide with their sign, then the low ones.
        return (a[1] as i64, a[0]).cmp(&(b[1] as i64, b[0]));
    }
    compare(kind, dictionary, a[0], b[0])
}

/// Whether rows with times from the clock on neither stand in the tile nor have it in their window.
fn is_past(tile: &Tile, feature: &Feature, clock: i64) -> bool {
    let size = granularity(feature);
    let edge = clock.saturating_sub(window_us(feature));
    tile.index < clock.div_euclid(size) && tile.index.saturating_mul(size) <= edge
}

fn wanted(aggregate: Aggregate) -> Ordering {
    match aggregate {
        Aggregate::Min => Ordering::Less,
        _ => Ordering::Greater,
    }
}

fn granularity(feature: &Feature) -> i64 {
    feature.granularity_us.unwrap_or(1).max(1)
}

fn window_us(feature: &Feature) -> i64 {
    match feature.window {
        Window::Over { us } => us,
        Window::Rows(_) => 0,
    }
}

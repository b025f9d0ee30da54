//! How much memory is behind what is kept of a key.

use std::mem::size_of_val;

use super::accumulator::{Accumulator, Edge, Moments};
use super::cell::{Cell, Session, Shown};
use super::float::FloatSum;
use super::shape::Shape;
use super::value::Value;

/// What an allocation costs beside its contents.
const ALLOCATION: usize = 16;
/// A sketch of distinct values in the form that it has for many of them.
const SKETCH: usize = 4_096;
/// A bucket of a histogram, as an entry of a tree.
const BUCKET: usize = 24;

impl Cell {
    /// Counts anew; gives how much there is more than before.
    pub(super) fn reweigh(&mut self, shape: &Shape) -> i64 {
        let now = match self.is_held {
            true => u32::try_from(self.weight(shape)).unwrap_or(u32::MAX),
            false => 0,
        };
        let change = i64::from(now) - i64::from(self.counted);
        self.counted = now;
        change
    }

    fn weight(&self, shape: &Shape) -> usize {
        let panes = self.panes.between(i64::MIN, i64::MAX, shape);
        let panes = panes.map(|(start, pane)| size_of_val(&start) + all(pane));
        let rest = self.rest.as_deref();
        let shown = rest
            .map_or(&[][..], |rest| &rest.shown)
            .iter()
            .map(of_shown);
        let late = rest.iter().flat_map(|rest| &rest.late);
        let late = late.map(|late| size_of_val(late) + all(&late.accumulators));
        let sessions = self.sessions.iter().map(of_session);
        let global = self.global.iter().map(|global| {
            let shown = global.shown.as_ref().map_or(0, of_shown);
            size_of_val(&**global) + shown + all(&global.accumulators)
        });
        let slide = self.slide.iter().map(|slide| slide.weight());
        let parts = panes.chain(shown).chain(late).chain(sessions);
        ALLOCATION + parts.chain(global).chain(slide).sum::<usize>()
    }
}

fn of_shown(shown: &Shown) -> usize {
    size_of_val(shown) + all(&shown.accumulators)
}

fn of_session(session: &Session) -> usize {
    let shown: usize = session.shown.iter().map(of_shown).sum();
    size_of_val(session) + shown + all(&session.accumulators)
}

/// Accumulators that stand one after the other.
pub(super) fn all(accumulators: &[Accumulator]) -> usize {
    let own: usize = accumulators.iter().map(behind).sum();
    ALLOCATION + size_of_val(accumulators) + own
}

/// What an accumulator points to.
fn behind(accumulator: &Accumulator) -> usize {
    match accumulator {
        Accumulator::Floats(sum, _) => of_sum(sum),
        Accumulator::Moments(moments) => {
            let sums = of_sum(&moments.sum) + of_sum(&moments.squares);
            ALLOCATION + size_of::<Moments>() + sums
        }
        Accumulator::Best(best) => best.as_ref().map_or(0, of_value),
        Accumulator::Edge(edge) => {
            let of = |edge: &Edge| ALLOCATION + size_of_val(edge) + of_value(&edge.value);
            edge.as_deref().map_or(0, of)
        }
        Accumulator::Distinct(values) => {
            let values = values.iter().flat_map(|values| &values.0);
            values.map(|value| value.len() + 2 * ALLOCATION).sum()
        }
        Accumulator::Approximate(sketch) => sketch.as_ref().map_or(0, |_| SKETCH),
        Accumulator::Top(values) => {
            size_of::<Value>() * values.capacity() + values.iter().map(of_value).sum::<usize>()
        }
        Accumulator::Quantiles(quantiles) => {
            let buckets = quantiles.iter().map(|of| of.counts().len());
            buckets.sum::<usize>() * BUCKET
        }
        Accumulator::Plugin(folded) => folded.as_ref().map_or(0, |folded| {
            ALLOCATION + size_of_val(&**folded) + folded.weight()
        }),
        _ => 0,
    }
}

fn of_sum(sum: &FloatSum) -> usize {
    match sum.parts().count() {
        0..=2 => 0,
        parts => ALLOCATION + parts * size_of::<f64>(),
    }
}

fn of_value(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => ALLOCATION + bytes.len(),
        Value::Int(_) | Value::Float(_) => 0,
    }
}

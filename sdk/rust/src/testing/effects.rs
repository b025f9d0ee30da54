//! What came of a batch, read back from the bytes that the operator returned.

use crate::buffer::{Batch, CAUSE_TIMER, engine, group, kind};
use crate::host::Buffers;
use crate::{Malformed, Operator, Outputs};
use std::marker::PhantomData;

/// What a batch did: rows emitted and rows refused. What it left in state and timers is asked of
/// the [`Harness`](super::Harness).
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
/// # use wasmill_sdk::testing::Harness;
/// # fn main() {
/// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
/// let effects = counter.push(&[visit(1, "/a", 0), visit(1, "", 1)]);
/// assert_eq!(effects.rows().len(), 1);
/// assert_eq!(effects.rejected().len(), 1);
/// # }
/// ```
pub struct Effects<Op> {
    answer: Buffers,
    /// For each row of the batch its position in the push.
    order: Vec<usize>,
    late: Vec<usize>,
    of: PhantomData<fn() -> Op>,
}

impl<Op: Operator> Effects<Op> {
    pub(super) fn new(answer: Buffers, order: Vec<usize>, late: Vec<usize>) -> Self {
        Self {
            answer,
            order,
            late,
            of: PhantomData,
        }
    }

    fn batch(&self) -> Batch<'_> {
        Batch::new(&self.answer.0, &self.answer.1).expect("the engine lays out what it can read")
    }

    /// The rows that were emitted, output by output, those of an output in the order of the calls.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// let effects = counter.push(&[visit(1, "/a", 0), visit(1, "/b", 1)]);
    /// assert_eq!(effects.rows()[1], Visits { user: 1, count: 2 });
    /// # }
    /// ```
    pub fn rows(&self) -> Vec<Op::Output<'_>> {
        let rows = Op::Output::read_all(&self.batch());
        let rows = rows.expect("the engine lays out what it can read");
        rows.into_iter().map(|(row, _)| row).collect()
    }

    /// For each of the emitted rows, the position of the pushed row that caused it; none for a
    /// timer.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// let effects = counter.push(&[visit(1, "/a", 0), visit(1, "/b", 90)]);
    /// assert_eq!(effects.causes(), [Some(0), None, Some(1)]);
    /// # }
    /// ```
    pub fn causes(&self) -> Vec<Option<usize>> {
        let rows = <Op::Output<'_> as Outputs<'_>>::read_all(&self.batch());
        let rows = rows.expect("the engine lays out what it can read");
        let cause = |cause: u32| (cause & CAUSE_TIMER == 0).then(|| self.order[cause as usize]);
        rows.into_iter().map(|(_, by)| cause(by)).collect()
    }

    /// The rows that were refused: their positions in the push and the reasons. Nothing else of
    /// them took effect.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// let effects = counter.push(&[visit(1, "/a", 0), visit(1, "", 1)]);
    /// assert_eq!(effects.rejected(), [(1, "no page".to_owned())]);
    /// # }
    /// ```
    pub fn rejected(&self) -> Vec<(usize, String)> {
        self.read_rejected()
            .expect("the engine lays out what it can read")
    }

    /// The positions of the pushed rows that the operator did not get, since it is one of
    /// event-time order and they came behind the clock. In a pipeline they go to `OPERATOR.late`.
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// #[derive(Row, Clone)]
    /// struct Visit {
    ///     at: EventTime,
    /// }
    ///
    /// # struct Copy;
    /// impl Operator for Copy {
    ///     const ORDER: Order = Order::EventTime;
    ///     // …
    /// #     const PLUGIN: Plugin = plugin!("copy");
    /// #     type Config = (); type Input<'a> = Visit; type Output<'a> = Visit; type State = ();
    /// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
    /// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
    /// #         cx.emit(row);
    /// #         Ok(())
    /// #     }
    /// }
    ///
    /// # fn main() {
    /// let mut copy = Harness::<Copy>::new("{}");
    /// let visit = |second| Visit { at: Timestamp::from_secs(second).into() };
    /// let effects = copy.push(&[visit(3), visit(1), visit(2)]);
    /// assert_eq!(effects.causes(), [Some(1), Some(2), Some(0)], "they are sorted");
    /// // The clock stands at 3 s now.
    /// let effects = copy.push(&[visit(4), visit(2)]);
    /// assert_eq!(effects.late(), [1]);
    /// # }
    /// ```
    pub fn late(&self) -> &[usize] {
        &self.late
    }

    fn read_rejected(&self) -> Result<Vec<(usize, String)>, Malformed> {
        let section = self.batch().section(group::REJECTS, 0)?;
        let rows = section.fixed::<4>(engine::CAUSE, section.rows())?;
        let data = section.bytes_of(0, kind::DATA)?;
        let ends = section.offsets(0, section.rows(), Some(data.len()))?;
        let reason = |row| String::from_utf8_lossy(&data[ends.at(row)..ends.at(row + 1)]);
        let rejected = rows.iter().enumerate();
        let mut rejected: Vec<_> = rejected
            .map(|(index, row)| {
                let row = self.order[u32::from_le_bytes(*row) as usize];
                (row, reason(index).into_owned())
            })
            .collect();
        rejected.sort();
        Ok(rejected)
    }
}

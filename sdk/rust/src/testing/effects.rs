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
    of: PhantomData<fn() -> Op>,
}

impl<Op: Operator> Effects<Op> {
    pub(super) fn new(answer: Buffers) -> Self {
        Self {
            answer,
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

    /// For each of the emitted rows, the row of the batch that caused it; none for a timer.
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
        let cause = |cause: u32| (cause & CAUSE_TIMER == 0).then_some(cause as usize);
        rows.into_iter().map(|(_, by)| cause(by)).collect()
    }

    /// The rows that were refused: their positions in the batch and the reasons. Nothing else of
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

    fn read_rejected(&self) -> Result<Vec<(usize, String)>, Malformed> {
        let section = self.batch().section(group::REJECTS, 0)?;
        let rows = section.fixed::<4>(engine::CAUSE, section.rows())?;
        let data = section.bytes_of(0, kind::DATA)?;
        let ends = section.offsets(0, section.rows(), Some(data.len()))?;
        let reason = |row| String::from_utf8_lossy(&data[ends.at(row)..ends.at(row + 1)]);
        let rejected = rows.iter().enumerate();
        Ok(rejected
            .map(|(index, row)| {
                (
                    u32::from_le_bytes(*row) as usize,
                    reason(index).into_owned(),
                )
            })
            .collect())
    }
}

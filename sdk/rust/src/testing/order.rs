//! The order in which rows of a push reach the operator.

use crate::rows::Rows;
use crate::{Input, Operator, Order};

/// Rows as the operator gets them.
pub(super) struct Arranged {
    pub(super) rows: Rows,
    /// For each of them its position in the push.
    pub(super) order: Vec<usize>,
    /// The positions of those that the operator does not get.
    pub(super) late: Vec<usize>,
}

impl Arranged {
    /// For event-time order, rows as a watermark right behind them would release them: sorted by
    /// time, without those behind `clock`, the watermark before them. Rows of equal times stay in
    /// the order of the push, as rows of one split do.
    pub(super) fn of<Op: Operator>(given: &[Op::Input<'_>], clock: i64) -> Self {
        let rows = as_given::<Op>(given.iter());
        let times = rows.times();
        if Op::ORDER == Order::Arrival || times.is_empty() {
            return Self {
                order: (0..given.len()).collect(),
                late: Vec::new(),
                rows,
            };
        }
        let (late, mut order): (Vec<_>, Vec<_>) =
            (0..given.len()).partition(|row| times[*row] < clock);
        order.sort_by_key(|row| times[*row]);
        Self {
            rows: as_given::<Op>(order.iter().map(|row| &given[*row])),
            order,
            late,
        }
    }
}

/// The rows one behind the other.
pub(super) fn as_given<'r, 'a, Op: Operator>(given: impl Iterator<Item = &'r Op::Input<'a>>) -> Rows
where
    Op::Input<'a>: 'r,
{
    let mut given = given.peekable();
    let input = given.peek().map_or(0, |row| row.input());
    let mut rows = Rows::new(&<Op::Input<'static> as Input<'static>>::shapes(input));
    let given = given.inspect(|row| {
        assert_eq!(row.input(), input, "push rows of one input at a time");
    });
    given.for_each(|row| row.append(&mut rows));
    rows
}

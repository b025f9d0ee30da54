//! What the operator under test imports: the host in miniature.

use super::Harness;
use super::store::Store;
use crate::host::{Buffers, Imports};
use crate::{Level, Malformed, Operator};
use std::cell::RefCell;
use std::rc::Rc;

/// The host of the operator under test.
pub(super) struct MiniHost(pub(super) Rc<RefCell<Store>>);

impl Imports for MiniHost {
    fn log(&mut self, level: Level, line: &str) {
        let _ = level;
        self.0.borrow_mut().log.push(line.to_owned());
    }

    fn get_many(
        &mut self,
        state: u32,
        all: bool,
        _rows: u32,
        question: Buffers,
    ) -> Result<Buffers, Malformed> {
        self.0.borrow_mut().answer(state, all, &question)
    }
}

impl<Op: Operator> Harness<Op> {
    /// The lines that the operator has logged, of all levels, since it was opened.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// counter.push(&[visit(1, "/a", 0), visit(1, "/a", 1)]);
    /// assert_eq!(counter.log(), ["again /a"]);
    /// # }
    /// ```
    pub fn log(&self) -> Vec<String> {
        self.store.borrow().log.clone()
    }

    /// How often the operator has called the host for map entries: with a
    /// [`prefetch`](Operator::prefetch) once a batch, without it once for each entry that is read.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # use wasmill_sdk::testing::Harness;
    /// # fn main() {
    /// let mut counter = Harness::<Counter>::new("{}").keyed_by(&["user"]);
    /// counter.push(&[visit(1, "/a", 0), visit(1, "/b", 1), visit(2, "/c", 1)]);
    /// assert_eq!(counter.host_calls(), 1);
    /// # }
    /// ```
    pub fn host_calls(&self) -> usize {
        self.store.borrow().calls
    }
}

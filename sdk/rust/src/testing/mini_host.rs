//! What the operator under test imports: the host in miniature.

use super::store::Store;
use crate::host::{Buffers, Imports};
use crate::{Level, Malformed};
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

//! Values that belong to no key.

use super::{Kind, Store};
use crate::Malformed;
use crate::arena::Put;
use crate::buffer::{Section, group};
use crate::state::column;
use crate::testing::read::read_optional;
use std::iter::once;

impl Store {
    /// The value of an operator state.
    pub(in crate::testing) fn operator(&self, state: &str) -> Option<&[u8]> {
        let mut specs = self.specs.iter();
        let position = specs.position(|spec| spec.name == state && spec.kind == Kind::Operator);
        let position = position.unwrap_or_else(|| panic!("there is no operator state `{state}`"));
        self.operators.get(&position).map(Vec::as_slice)
    }

    /// Lays out what has no key: it rides with every call.
    pub(in crate::testing) fn put_unkeyed(&self, put: &mut impl Put) {
        for (state, spec) in self.specs.iter().enumerate() {
            if spec.kind == Kind::Operator {
                let value = self.operators.get(&state).map(Vec::as_slice);
                put.section(group::STATE, state as u32, 1);
                column::put_validity(put, 0, once(value.is_some()));
                let value = value.unwrap_or_default();
                column::put_values(put, 0, spec.widths.value, once(value));
            }
        }
        self.put_broadcasts(put);
    }

    pub(super) fn apply_operator(
        &mut self,
        state: usize,
        section: &Section<'_>,
    ) -> Result<(), Malformed> {
        let width = self.specs[state].widths.value;
        for value in read_optional(section, 0, section.rows(), width)? {
            match value {
                Some(value) => self.operators.insert(state, value),
                None => self.operators.remove(&state),
            };
        }
        Ok(())
    }
}

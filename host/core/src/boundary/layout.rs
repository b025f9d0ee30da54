//! What a plugin's descriptor says about its buffers.

use arrow_schema::{DataType, SchemaRef};

use crate::{data_type, encoding};

/// The columns, states and timers of an operator: what its buffers may contain.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// The declared columns of each input.
    pub inputs: Vec<SchemaRef>,
    /// The states, in the descriptor's order.
    pub states: Vec<StateLayout>,
    /// How many timers the descriptor names.
    pub timers: u32,
    /// The columns of each output.
    pub outputs: Vec<SchemaRef>,
}

/// How a state crosses the boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// One value a key: value, reducing and aggregating states.
    Value,
    /// A sequence a key.
    List,
    /// Entries under keys of their own.
    Map,
    /// One value for the subtask.
    Operator,
    /// Entries that all subtasks have alike.
    Broadcast,
}

/// A state's shape.
#[derive(Debug, Clone)]
pub struct StateLayout {
    /// How it crosses.
    pub kind: StateKind,
    /// The type of the keys of entries; none for kinds without.
    pub map_key: Option<ValueType>,
    /// The type of the value, or of an item.
    pub value: ValueType,
}

/// The type of an encoded value (`docs/formats/state.md`).
#[derive(Debug, Clone)]
pub struct ValueType {
    /// Its Arrow type.
    pub data_type: DataType,
    /// Whether the value may be missing.
    pub nullable: bool,
    /// Bytes of one value if all have the same.
    pub width: Option<usize>,
    /// Whether every byte string of the right width decodes, so that there is nothing to check.
    pub any_bytes: bool,
}

impl ValueType {
    /// The encoding of a type.
    pub fn new(data_type: DataType, nullable: bool) -> Self {
        let width = data_type::fixed_width(&data_type, nullable);
        let any_bytes = encoding::width_if_any_bytes(&data_type, nullable).is_some();
        Self {
            data_type,
            nullable,
            width,
            any_bytes,
        }
    }
}

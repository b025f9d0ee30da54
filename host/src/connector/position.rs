//! Where a split goes on.

use serde_json::{Value, json};

/// The place right behind a row of a split: all that a reader needs to go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The split's number within its source, which its rows' ids contain.
    pub split: u32,
    /// Rows before it.
    pub rows: u64,
    /// Bytes before it, of the input as it is when unpacked; 0 where rows are computed.
    pub bytes: u64,
    /// Whether the split has come to its end.
    pub is_end: bool,
}

impl Position {
    /// The start of a split.
    pub fn start(split: u32) -> Self {
        Self {
            split,
            ..Self::default()
        }
    }

    /// As a manifest carries it.
    pub fn to_json(self) -> Value {
        json!({ "split": self.split, "rows": self.rows, "bytes": self.bytes, "end": self.is_end })
    }

    /// Reads it back; none if it is no position.
    pub fn from_json(json: &Value) -> Option<Self> {
        Some(Self {
            split: u32::try_from(json.get("split")?.as_u64()?).ok()?,
            rows: json.get("rows")?.as_u64()?,
            bytes: json.get("bytes")?.as_u64()?,
            is_end: json.get("end")?.as_bool()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_a_manifest() {
        let position = Position {
            split: 3,
            rows: u64::MAX,
            bytes: 7,
            is_end: true,
        };
        assert_eq!(Position::from_json(&position.to_json()), Some(position));
        assert_eq!(Position::from_json(&json!({ "rows": 1 })), None);
    }
}

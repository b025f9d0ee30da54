//! Where a split goes on.

use serde_json::{Value, json};
use wasmill_core::lineage::Tail;

/// The place right behind a row of a split: all that a reader needs to go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The split's number within its source, which its rows' ids contain.
    pub split: u32,
    /// Rows before it; of a topic's partition the offset to go on from.
    pub rows: u64,
    /// Bytes before it, of the input as it is when unpacked; 0 where rows are computed.
    pub bytes: u64,
    /// Whether the split has come to its end.
    pub is_end: bool,
    /// Whether the others do not wait for it, since it has gone without rows for too long.
    pub is_idle: bool,
    /// The rows before which it ends, where that was decided when it was first read.
    pub until: Option<u64>,
    /// The last of the bytes before it: where others stand there now, the input was changed.
    pub tail: Tail,
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
        let mut json = json!({
            "split": self.split,
            "rows": self.rows,
            "bytes": self.bytes,
            "end": self.is_end,
        });
        if self.is_idle {
            json["idle"] = true.into();
        }
        if let Some(until) = self.until {
            json["until"] = until.into();
        }
        if self.tail.bytes > 0 {
            let Tail { bytes, hash } = self.tail;
            json["tail"] = json!({ "bytes": bytes, "xxh3": format!("{hash:016x}") });
        }
        json
    }

    /// Reads it back; none if it is no position.
    pub fn from_json(json: &Value) -> Option<Self> {
        Some(Self {
            split: u32::try_from(json.get("split")?.as_u64()?).ok()?,
            rows: json.get("rows")?.as_u64()?,
            bytes: json.get("bytes")?.as_u64()?,
            is_end: json.get("end")?.as_bool()?,
            is_idle: json.get("idle").is_some_and(|idle| idle == true),
            until: json.get("until").and_then(Value::as_u64),
            tail: json.get("tail").and_then(tail).unwrap_or_default(),
        })
    }
}

fn tail(json: &Value) -> Option<Tail> {
    let bytes = u32::try_from(json.get("bytes")?.as_u64()?).ok()?;
    let hash = u64::from_str_radix(json.get("xxh3")?.as_str()?, 16).ok()?;
    Some(Tail { bytes, hash }).filter(|tail| tail.bytes as usize <= Tail::BYTES_MAX)
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
            is_idle: true,
            until: Some(u64::MAX),
            tail: Tail::of(b"abc"),
        };
        assert_eq!(Position::from_json(&position.to_json()), Some(position));
        let start = Position::start(3);
        assert_eq!(Position::from_json(&start.to_json()), Some(start));
        assert_eq!(Position::from_json(&json!({ "rows": 1 })), None);
    }
}

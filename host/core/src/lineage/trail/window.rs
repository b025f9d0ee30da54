//! The trails of results of windows.

use std::sync::Arc;

use super::{Input, put};
use crate::key::Keys;
use crate::lineage::{Ancestor, WindowRows};

/// Which key and window a result belongs to, and its number among the window's rows.
#[derive(Debug)]
pub(super) struct WindowTrail {
    pub(super) operator: Arc<str>,
    ordinal: u32,
    start: i64,
    end: i64,
    key: Vec<u8>,
}

/// Appends a result's trail behind its first byte.
pub(super) fn write(windows: &WindowRows, at: usize, out: &mut Vec<u8>) {
    put(out, windows.operator.as_bytes());
    out.extend_from_slice(&windows.ordinals[at].to_le_bytes());
    out.extend_from_slice(&windows.starts[at].to_le_bytes());
    out.extend_from_slice(&windows.ends[at].to_le_bytes());
    put(out, &windows.keys.to_bytes(at));
}

/// The ancestor of results of one operator.
pub(super) fn ancestor(trails: Vec<WindowTrail>) -> Ancestor {
    let (mut offsets, mut data) = (vec![0], Vec::new());
    let (mut starts, mut ends, mut ordinals) = (Vec::new(), Vec::new(), Vec::new());
    let mut operator: Arc<str> = "".into();
    for trail in trails {
        operator = trail.operator;
        data.extend_from_slice(&trail.key);
        offsets.push(data.len() as u32);
        starts.push(trail.start);
        ends.push(trail.end);
        ordinals.push(trail.ordinal);
    }
    Ancestor::Windows(Arc::new(WindowRows {
        operator,
        keys: Keys::Bytes { offsets, data },
        starts,
        ends,
        ordinals,
    }))
}

impl Input<'_> {
    /// A result's trail behind its first byte.
    pub(super) fn window(&mut self) -> Option<WindowTrail> {
        Some(WindowTrail {
            operator: self.text()?,
            ordinal: u32::from_le_bytes(self.array()?),
            start: i64::from_le_bytes(self.array()?),
            end: i64::from_le_bytes(self.array()?),
            key: self.bytes()?,
        })
    }
}

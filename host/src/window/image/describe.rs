//! What windows keep of a key, as far as it is told without their definition.

use super::{GLOBAL, Input, LATE, PANE, SESSION, SHOWN, bytes};

/// A part of what windows keep of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// `pane`, `result`, `late`, `session` or `whole`.
    pub part: &'static str,
    /// Where the pane, the window or the session begins, in microseconds; of late rows of a session
    /// their time.
    pub start: Option<i64>,
    /// Where the window or the session ends, in microseconds.
    pub end: Option<i64>,
    /// How many rows were added; none where results stand before the number.
    pub rows: Option<u64>,
}

/// Tells what an entry of the state of windows is (`docs/formats/segment.md`); none if it is none.
///
/// ```
/// use wasmill_host::window::describe;
///
/// let entry = [&[0][..], &(1_u64 << 63).to_be_bytes()].concat();
/// let kept = describe(&entry, &3_u64.to_le_bytes()).expect("a pane");
/// assert_eq!((kept.part, kept.start, kept.rows), ("pane", Some(0), Some(3)));
/// assert!(describe(&entry[1..], &[]).is_none());
/// ```
pub fn describe(entry: &[u8], value: &[u8]) -> Option<Kept> {
    let (tag, numbers) = entry.split_first()?;
    let mut input = Input::new(value);
    let kept = |part, (start, end), rows| {
        Some(Kept {
            part,
            start,
            end,
            rows,
        })
    };
    match *tag {
        PANE => {
            let start = bytes::place(numbers)?;
            kept("pane", (Some(start), None), Some(input.word()?))
        }
        SHOWN => {
            let (start, end) = (input.word()? as i64, input.word()? as i64);
            let is_its_own = bytes::place(numbers)? == end;
            input.count().filter(|_| is_its_own)?;
            kept("result", (Some(start), Some(end)), Some(input.word()?))
        }
        LATE => {
            let (clock, at) = numbers.split_at_checked(8)?;
            bytes::place(clock)?;
            kept("late", (Some(bytes::place(at)?), None), Some(input.word()?))
        }
        SESSION => {
            let (start, end) = (bytes::place(numbers)?, input.word()? as i64);
            input.flag()?;
            let rows = match input.count()? {
                0 => Some(input.word()?),
                _ => None,
            };
            kept("session", (Some(start), Some(end)), rows)
        }
        GLOBAL if numbers.is_empty() => {
            input.word().and_then(|_| input.word())?;
            let rows = match input.flag()? {
                false => Some(input.word()?),
                true => None,
            };
            kept("whole", (None, None), rows)
        }
        _ => None,
    }
}

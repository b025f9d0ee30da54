//! Where a held row came from, as bytes and back (`docs/formats/segment.md`).

mod window;

use std::sync::Arc;

use bytes::Bytes;
use window::WindowTrail;

use super::{Ancestor, Cause, Chunk, Derived, JoinCause, Lineage, TimerCause};

/// What a trail begins with: a source's row, a row that was emitted for a row, for a timer, for a
/// window, or for rows that were joined.
const SOURCE: u8 = 1;
const ROW: u8 = 2;
const TIMER: u8 = 3;
const WINDOW: u8 = 4;
const JOIN: u8 = 5;

/// Trails are as deep as chains of operators are long; deeper ones are hostile.
const DEPTH_MAX: usize = 256;

/// Where one row came from.
#[derive(Debug)]
enum Trail {
    Source {
        split: u32,
        split_name: Arc<str>,
        offset: u64,
        bytes: Option<Bytes>,
    },
    Derived {
        by: By,
        cause: From,
    },
    Window(WindowTrail),
}

/// Who emitted a row: the operator and its plugin.
type By = (Arc<str>, Arc<str>);

#[derive(Debug)]
enum From {
    Row {
        parent: Box<Trail>,
        ordinal: u32,
    },
    Timer(Arc<TimerCause>),
    Join {
        sides: [Option<Box<Trail>>; 2],
        ordinal: u32,
    },
}

/// Appends a row's trail.
pub fn write(lineage: &Lineage, row: usize, out: &mut Vec<u8>) {
    match lineage.origin(row) {
        None => write_source(&Chunk::default(), u64::MAX, None, out),
        Some((Ancestor::Chunk(chunk), at)) => {
            let bytes = chunk.row(at);
            write_source(chunk, chunk.offset(at), bytes.as_deref(), out);
        }
        Some((Ancestor::Windows(windows), at)) => {
            out.push(WINDOW);
            window::write(windows, at as usize, out);
        }
        Some((Ancestor::Derived(derived), at)) => {
            let cause = &derived.causes[at as usize];
            out.push(match cause {
                Cause::Row { .. } => ROW,
                Cause::Timer(_) => TIMER,
                Cause::Join(_) => JOIN,
            });
            put(out, derived.operator.as_bytes());
            put(out, derived.plugin.as_bytes());
            match cause {
                Cause::Row { row, ordinal } => {
                    out.extend_from_slice(&ordinal.to_le_bytes());
                    write(&derived.parent, *row as usize, out);
                }
                Cause::Join(join) => {
                    out.extend_from_slice(&join.ordinal.to_le_bytes());
                    out.push(u8::from(join.left.is_some()) | u8::from(join.right.is_some()) << 1);
                    for row in join.left.into_iter().chain(join.right) {
                        write(&derived.parent, row as usize, out);
                    }
                }
                Cause::Timer(timer) => {
                    out.extend_from_slice(&timer.ordinal.to_le_bytes());
                    out.extend_from_slice(&timer.time.to_le_bytes());
                    put(out, &timer.key);
                    put(out, timer.name.as_bytes());
                }
            }
        }
    }
}

fn write_source(chunk: &Chunk, offset: u64, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(SOURCE);
    out.extend_from_slice(&chunk.split.to_le_bytes());
    put(out, chunk.split_name.as_bytes());
    out.extend_from_slice(&offset.to_le_bytes());
    out.push(u8::from(bytes.is_some()));
    bytes.into_iter().for_each(|bytes| put(out, bytes));
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("a row is smaller than 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The lineage of rows with these trails; none if one is not what the format says.
pub fn read<'a>(trails: impl Iterator<Item = &'a [u8]>) -> Option<Lineage> {
    let trails = trails.map(|bytes| {
        let mut input = Input(bytes);
        let trail = input.trail(0)?;
        input.0.is_empty().then_some(trail)
    });
    Some(lineage(trails.collect::<Option<_>>()?))
}

/// Rows of one split, or of one operator, share an ancestor.
fn lineage(trails: Vec<Trail>) -> Lineage {
    let mut groups: Vec<Vec<(usize, Trail)>> = Vec::new();
    for (row, trail) in trails.into_iter().enumerate() {
        let mut known = groups.iter_mut();
        match known.find(|group| group[0].1.is_kin(&trail)) {
            Some(group) => group.push((row, trail)),
            None => groups.push(vec![(row, trail)]),
        }
    }
    let (mut parts, mut rows) = (Vec::new(), Vec::new());
    for group in groups {
        let (of_group, trails): (Vec<usize>, Vec<Trail>) = group.into_iter().unzip();
        rows.extend(of_group);
        parts.push(Lineage::whole(
            ancestor(trails),
            rows.len() - parts_len(&parts),
        ));
    }
    // Where each row stands among those of all groups.
    let mut places = vec![0; rows.len()];
    for (place, row) in (0..).zip(rows) {
        places[row] = place;
    }
    Lineage::concat(&parts).take(&places.into())
}

fn parts_len(parts: &[Lineage]) -> usize {
    parts.iter().map(Lineage::len).sum()
}

/// The ancestor of rows that are kin.
fn ancestor(trails: Vec<Trail>) -> Ancestor {
    let (mut chunk, mut bytes) = (Chunk::default(), Vec::new());
    let (mut parents, mut causes) = (Vec::new(), Vec::new());
    let mut derived_by: By = ("".into(), "".into());
    let mut windows = Vec::new();
    for trail in trails {
        match trail {
            Trail::Source {
                split,
                split_name,
                offset,
                bytes: own,
            } => {
                (chunk.split, chunk.split_name) = (split, split_name);
                chunk.offsets.push(offset);
                if let Some(own) = own {
                    let start = bytes.len() as u32;
                    bytes.extend_from_slice(&own);
                    chunk.spans.push((start, bytes.len() as u32));
                }
            }
            Trail::Window(window) => windows.push(window),
            Trail::Derived { by, cause } => {
                derived_by = by;
                let mut parent = |parent: Box<Trail>| {
                    parents.push(*parent);
                    parents.len() as u32 - 1
                };
                causes.push(match cause {
                    From::Timer(timer) => Cause::Timer(timer),
                    From::Row {
                        parent: of,
                        ordinal,
                    } => Cause::Row {
                        row: parent(of),
                        ordinal,
                    },
                    From::Join {
                        sides: [left, right],
                        ordinal,
                    } => Cause::Join(JoinCause {
                        left: left.map(&mut parent),
                        right: right.map(&mut parent),
                        ordinal,
                    }),
                });
            }
        }
    }
    if !windows.is_empty() {
        return window::ancestor(windows);
    }
    if causes.is_empty() {
        chunk.bytes = bytes.into();
        return Ancestor::Chunk(Arc::new(chunk));
    }
    let (operator, plugin) = derived_by;
    Ancestor::Derived(Arc::new(Derived {
        operator,
        plugin,
        parent: lineage(parents),
        causes,
    }))
}

impl Trail {
    /// Whether two rows can have one ancestor.
    fn is_kin(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Source {
                    split,
                    split_name,
                    bytes,
                    ..
                },
                Self::Source {
                    split: other,
                    split_name: name,
                    bytes: of_other,
                    ..
                },
            ) => (split, split_name, bytes.is_some()) == (other, name, of_other.is_some()),
            (Self::Derived { by, .. }, Self::Derived { by: other, .. }) => by == other,
            (Self::Window(window), Self::Window(other)) => window.operator == other.operator,
            _ => false,
        }
    }
}

/// Bytes from a store: they may be anything.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn trail(&mut self, depth: usize) -> Option<Trail> {
        if depth > DEPTH_MAX {
            return None;
        }
        let [tag] = self.array()?;
        if tag == SOURCE {
            let (split, split_name) = (u32::from_le_bytes(self.array()?), self.text()?);
            let offset = u64::from_le_bytes(self.array()?);
            let [has_bytes] = self.array()?;
            let bytes = match has_bytes {
                0 => None,
                _ => Some(self.bytes()?.into()),
            };
            return Some(Trail::Source {
                split,
                split_name,
                offset,
                bytes,
            });
        }
        if tag == WINDOW {
            return self.window().map(Trail::Window);
        }
        let by = (self.text()?, self.text()?);
        let ordinal = u32::from_le_bytes(self.array()?);
        let cause = match tag {
            ROW => From::Row {
                parent: Box::new(self.trail(depth + 1)?),
                ordinal,
            },
            JOIN => {
                let [sides] = self.array()?;
                let mut side = |is_there: bool| match is_there {
                    true => self.trail(depth + 1).map(|trail| Some(Box::new(trail))),
                    false => Some(None),
                };
                if sides > 3 {
                    return None;
                }
                let sides = [side(sides & 1 != 0)?, side(sides & 2 != 0)?];
                From::Join { sides, ordinal }
            }
            TIMER => From::Timer(Arc::new(TimerCause {
                time: i64::from_le_bytes(self.array()?),
                key: self.bytes()?.into(),
                name: self.text()?,
                ordinal,
            })),
            _ => return None,
        };
        Some(Trail::Derived { by, cause })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let len = u32::from_le_bytes(self.array()?) as usize;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes.to_vec())
    }

    fn text(&mut self) -> Option<Arc<str>> {
        String::from_utf8(self.bytes()?).ok().map(Into::into)
    }
}

#[cfg(test)]
mod tests;

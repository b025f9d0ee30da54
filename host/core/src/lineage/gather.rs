//! Lineage of rows from many batches, and lineage to keep for long.

use std::sync::Arc;

use super::{Ancestor, Cause, Chunk, Derived, JoinCause, Lineage, WindowRows, small};

impl Lineage {
    /// The rows that `picks` names as (part, row), in that order.
    pub fn gather(parts: &[&Lineage], picks: &[(usize, usize)]) -> Self {
        let (mut ancestors, mut bases, mut base) = (Vec::new(), Vec::new(), 0);
        for part in parts {
            bases.push(base);
            base = part.append_ancestors(base, &mut ancestors);
        }
        let place = |(part, row): &(usize, usize)| {
            let index = parts[*part].index.as_ref();
            bases[*part] + index.map_or(small(*row), |index| index[*row])
        };
        Self {
            index: Some(picks.iter().map(place).collect()),
            len: picks.len(),
            ancestors,
        }
    }

    /// The same rows without the original bytes of their sources, of which these may be few among
    /// many: for rows that are kept for long.
    pub fn without_bytes(&self) -> Self {
        let mut kept = Compact::default();
        let mut places = Vec::with_capacity(self.len);
        for row in 0..self.len {
            match self.origin(row) {
                None => return self.clone(),
                Some((Ancestor::Chunk(chunk), at)) => places.push(kept.source(chunk, at)),
                Some((Ancestor::Derived(derived), at)) => places.push(kept.derived(derived, at)),
                Some((Ancestor::Windows(windows), at)) => places.push(kept.window(windows, at)),
            }
        }
        kept.finish(&places)
    }
}

/// Ancestors that hold what some rows need, and no more.
#[derive(Default)]
struct Compact {
    groups: Vec<Group>,
    /// The last group that a row went to: the next one most likely goes there too.
    last: usize,
}

enum Group {
    Source(Chunk),
    Derived {
        of: Arc<Derived>,
        causes: Vec<Cause>,
        /// Rows of the parent.
        parents: Vec<u32>,
    },
    /// Results of windows go back to no source; all of them are kept.
    Windows(Arc<WindowRows>),
}

impl Compact {
    /// A row of a source: its group and its place there.
    fn source(&mut self, chunk: &Arc<Chunk>, at: u32) -> (usize, u32) {
        let is_same = |group: &Group| match group {
            Group::Source(known) => {
                known.split == chunk.split && known.split_name == chunk.split_name
            }
            Group::Derived { .. } | Group::Windows(_) => false,
        };
        let group = self.find(is_same, || {
            Group::Source(Chunk {
                split: chunk.split,
                split_name: chunk.split_name.clone(),
                ..Chunk::default()
            })
        });
        let Group::Source(known) = &mut self.groups[group] else {
            return (group, 0);
        };
        known.offsets.push(chunk.offset(at));
        (group, small(known.offsets.len() - 1))
    }

    /// A row that an operator emitted.
    fn derived(&mut self, derived: &Arc<Derived>, at: u32) -> (usize, u32) {
        let is_same = |group: &Group| match group {
            Group::Source(_) | Group::Windows(_) => false,
            Group::Derived { of, .. } => Arc::ptr_eq(of, derived),
        };
        let group = self.find(is_same, || Group::Derived {
            of: derived.clone(),
            causes: Vec::new(),
            parents: Vec::new(),
        });
        let Group::Derived {
            causes, parents, ..
        } = &mut self.groups[group]
        else {
            return (group, 0);
        };
        let mut parent = |row: u32| {
            parents.push(row);
            small(parents.len() - 1)
        };
        causes.push(match &derived.causes[at as usize] {
            Cause::Row { row, ordinal } => Cause::Row {
                row: parent(*row),
                ordinal: *ordinal,
            },
            Cause::Join(join) => Cause::Join(JoinCause {
                left: join.left.map(&mut parent),
                right: join.right.map(&mut parent),
                ordinal: join.ordinal,
            }),
            other => other.clone(),
        });
        (group, small(causes.len() - 1))
    }

    /// A result of a window.
    fn window(&mut self, windows: &Arc<WindowRows>, at: u32) -> (usize, u32) {
        let is_same =
            |group: &Group| matches!(group, Group::Windows(of) if Arc::ptr_eq(of, windows));
        (self.find(is_same, || Group::Windows(windows.clone())), at)
    }

    fn find(&mut self, is_same: impl Fn(&Group) -> bool, make: impl FnOnce() -> Group) -> usize {
        if !self.groups.get(self.last).is_some_and(&is_same) {
            let known = self.groups.iter().position(is_same);
            self.last = known.unwrap_or_else(|| {
                self.groups.push(make());
                self.groups.len() - 1
            });
        }
        self.last
    }

    fn finish(self, places: &[(usize, u32)]) -> Lineage {
        let (mut ancestors, mut bases, mut base) = (Vec::new(), Vec::new(), 0);
        for group in self.groups {
            let (ancestor, len) = match group {
                Group::Windows(windows) => {
                    let len = small(windows.ordinals.len());
                    (Ancestor::Windows(windows), len)
                }
                Group::Source(chunk) => {
                    let len = small(chunk.offsets.len());
                    (Ancestor::Chunk(Arc::new(chunk)), len)
                }
                Group::Derived {
                    of,
                    causes,
                    parents,
                } => {
                    let len = small(causes.len());
                    let derived = Derived {
                        operator: of.operator.clone(),
                        plugin: of.plugin.clone(),
                        parent: of.parent.take(&parents.into()).without_bytes(),
                        causes,
                    };
                    (Ancestor::Derived(Arc::new(derived)), len)
                }
            };
            bases.push(base);
            base += len;
            ancestors.push((ancestor, base));
        }
        let index = places.iter().map(|(group, at)| bases[*group] + at);
        Lineage {
            index: Some(index.collect()),
            len: places.len(),
            ancestors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TimerCause, trail};
    use super::*;

    fn chunk(split: u32, name: &str, rows: &str) -> Lineage {
        let mut spans = Vec::new();
        let mut start = 0;
        for row in rows.split_inclusive('|') {
            spans.push((start, start + row.len() as u32));
            start += row.len() as u32;
        }
        let len = spans.len();
        let chunk = Chunk {
            split,
            split_name: name.into(),
            first_offset: 10,
            bytes: rows.to_owned().into(),
            spans,
            ..Chunk::default()
        };
        Lineage::whole(Ancestor::Chunk(Arc::new(chunk)), len)
    }

    /// Joined rows: of both sides, of one side, of rows that a timer and an operator emitted.
    fn joined() -> Lineage {
        let emitted = Derived {
            operator: "rules".into(),
            plugin: "abc".into(),
            parent: chunk(3, "c", "p|q|"),
            causes: vec![
                Cause::Row { row: 1, ordinal: 4 },
                Cause::Timer(Arc::new(TimerCause {
                    key: vec![1].into(),
                    name: "flush".into(),
                    time: 7,
                    ordinal: 0,
                })),
            ],
        };
        let emitted = Lineage::whole(Ancestor::Derived(Arc::new(emitted)), 2);
        let parts = [&chunk(1, "a", "x|y|z|"), &chunk(2, "b", "u|v|"), &emitted];
        let parent = Lineage::gather(&parts, &[(0, 2), (1, 0), (2, 0), (2, 1), (0, 0)]);
        let join = |left, right| {
            Cause::Join(JoinCause {
                left,
                right,
                ordinal: 2,
            })
        };
        let causes = vec![
            join(Some(0), Some(1)),
            join(None, Some(2)),
            join(Some(3), None),
            join(Some(4), Some(1)),
        ];
        let len = causes.len();
        let derived = Derived {
            operator: "met".into(),
            plugin: "".into(),
            parent,
            causes,
        };
        Lineage::whole(Ancestor::Derived(Arc::new(derived)), len)
    }

    fn trails(lineage: &Lineage) -> Vec<Vec<u8>> {
        let trail = |row| {
            let mut bytes = Vec::new();
            trail::write(lineage, row, &mut bytes);
            bytes
        };
        (0..lineage.len()).map(trail).collect()
    }

    #[test]
    fn joined_rows_come_back_from_their_trails() {
        let lineage = joined();
        let positions =
            |of: &Lineage| -> Vec<_> { (0..of.len()).map(|r| of.position(r)).collect() };
        let wanted = [Some((1, 12)), Some((3, 11)), None, Some((1, 10))];
        assert_eq!(positions(&lineage), wanted);
        let written = trails(&lineage);
        let read = trail::read(written.iter().map(Vec::as_slice)).expect("our own");
        assert_eq!(trails(&read), written);
        assert_eq!(positions(&read), wanted);
        for bytes in &written {
            for cut in 0..bytes.len() {
                let cut = &bytes[..cut];
                assert!(trail::read([cut].into_iter()).is_none(), "{cut:?}");
            }
        }
    }

    #[test]
    fn what_is_kept_for_long_has_no_bytes() {
        let lineage = joined().take(&vec![3, 0, 2].into());
        let kept = lineage.without_bytes();
        for row in 0..lineage.len() {
            assert_eq!(kept.position(row), lineage.position(row));
            let bytes = kept.source(row).and_then(|(chunk, at)| chunk.row(at));
            assert_eq!(bytes, None);
        }
        let again = kept.without_bytes();
        assert_eq!(trails(&again), trails(&kept));
    }
}

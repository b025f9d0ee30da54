//! Debezium's envelope: what a change of a row is made of.

use wasmill_core::batch::op;

/// Which form of the row an envelope shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// The rows that a change becomes: which form, as what kind of change.
pub(super) type Images = &'static [(Side, u8)];

impl Side {
    pub(super) const ALL: [Self; 2] = [Self::Before, Self::After];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }

    /// What is wrong with this form of a row.
    pub(super) fn explain(self, reason: &str) -> String {
        let remedy = match self {
            Self::Before => "; `before` is whole only with `REPLICA IDENTITY FULL` of the table",
            Self::After => "",
        };
        format!("in `{}`: {reason}{remedy}", self.name())
    }
}

/// The rows that a change becomes, by its `op` and the forms that it shows.
pub(super) fn images(op: &[u8], has_before: bool, has_after: bool) -> Result<Images, String> {
    let (name, images): (_, Images) = match op {
        b"c" | b"r" => ("row that is new", &[(Side::After, op::INSERT)]),
        b"u" => (
            "row that changed",
            &[
                (Side::Before, op::UPDATE_BEFORE),
                (Side::After, op::UPDATE_AFTER),
            ],
        ),
        b"d" => ("row that is gone", &[(Side::Before, op::DELETE)]),
        b"t" => {
            return Err(
                "the table was emptied (`op` is `t`), and nobody knows which rows it had: \
                 delete rows instead, or have Debezium skip truncations"
                    .into(),
            );
        }
        other => {
            return Err(format!(
                "`op` is {}, which is no change of a row",
                super::scalar::quote(other)
            ));
        }
    };
    for (side, _) in images {
        let is_there = match side {
            Side::Before => has_before,
            Side::After => has_after,
        };
        if !is_there {
            let remedy = match side {
                Side::Before => {
                    ": a table of PostgreSQL shows it with `ALTER TABLE ... REPLICA IDENTITY FULL`"
                }
                Side::After => "",
            };
            return Err(format!("a {name} has no `{}`{remedy}", side.name()));
        }
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_what_it_needs() {
        let check = |op: &str, before, after, expected: Result<&[u8], &str>| {
            let found = images(op.as_bytes(), before, after);
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    let ops: Vec<u8> = found.iter().map(|(_, op)| *op).collect();
                    assert_eq!(ops, expected);
                }
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        };
        check("c", false, true, Ok(&[op::INSERT]));
        check("r", true, true, Ok(&[op::INSERT]));
        check("u", true, true, Ok(&[op::UPDATE_BEFORE, op::UPDATE_AFTER]));
        check("d", true, false, Ok(&[op::DELETE]));
        check("c", true, false, Err("a row that is new has no `after`"));
        check("u", false, true, Err("REPLICA IDENTITY FULL"));
        check("d", false, false, Err("REPLICA IDENTITY FULL"));
        check("t", false, false, Err("the table was emptied"));
        check("m", true, true, Err("`op` is `m`"));
    }
}

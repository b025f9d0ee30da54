//! The wire format of schema registries: a zero, the schema's number, then the value. Protobuf says
//! before the value which message of the schema it is.

/// How deep messages may be declared within each other.
const INDEXES_MAX: u64 = 64;

/// The number of a record's schema, and what follows it.
pub(crate) fn split(record: &[u8]) -> Result<(u32, &[u8]), String> {
    match record {
        [0, a, b, c, d, rest @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), rest)),
        [] => Err("the record has no value".into()),
        [0, ..] => Err(format!(
            "the record ends after {} bytes, within the number of its schema",
            record.len()
        )),
        [other, ..] => Err(format!(
            "the record begins with the byte {other} and not with 0: it is not in the wire format \
             of a schema registry"
        )),
    }
}

/// What follows the place of a Protobuf message in its schema, which is put into `indexes`.
pub(crate) fn split_indexes<'a>(
    value: &'a [u8],
    indexes: &mut Vec<u32>,
) -> Result<&'a [u8], String> {
    indexes.clear();
    let (count, mut rest) = index(value)?;
    // A zero alone is the usual case: one index, which is zero.
    if count == 0 {
        indexes.push(0);
        return Ok(rest);
    }
    if u64::from(count) > INDEXES_MAX {
        return Err(format!(
            "the record names its message by {count} indexes; at most {INDEXES_MAX} are possible"
        ));
    }
    for _ in 0..count {
        let (next, behind) = index(rest)?;
        indexes.push(next);
        rest = behind;
    }
    Ok(rest)
}

/// A number that is not negative: zigzag, seven bits a byte.
fn index(bytes: &[u8]) -> Result<(u32, &[u8]), String> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7F) << (7 * at);
        if *byte < 0x80 {
            let found = u32::try_from(value >> 1).ok().filter(|_| value & 1 == 0);
            let found = found.ok_or("an index of the record's message is negative or too large")?;
            return Ok((found, &bytes[at + 1..]));
        }
    }
    Err("the record ends within the indexes of its message".into())
}

/// Appends the prefix of a value with this schema.
pub(crate) fn push_prefix(schema: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&schema.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_stand_before_the_message() {
        let check = |bytes: &[u8], expected: Result<(&[u32], usize), &str>| {
            let mut indexes = vec![9];
            match (split_indexes(bytes, &mut indexes), expected) {
                (Ok(rest), Ok((wanted, left))) => {
                    assert_eq!(
                        (indexes.as_slice(), rest.len()),
                        (wanted, left),
                        "{bytes:?}"
                    );
                }
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        };
        check(&[0], Ok((&[0], 0)));
        check(&[0, 8], Ok((&[0], 1)));
        check(&[2, 0, 8, 1], Ok((&[0], 2)));
        check(&[2, 2, 8], Ok((&[1], 1)));
        check(&[4, 2, 4], Ok((&[1, 2], 0)));
        check(&[2, 0x80, 2], Ok((&[128], 0)));
        check(&[], Err("ends within the indexes"));
        check(&[2], Err("ends within the indexes"));
        check(&[0x80], Err("ends within the indexes"));
        check(&[1], Err("negative"));
        check(&[2, 3], Err("negative"));
        check(&[0xFE, 1], Err("by 127 indexes"));
        check(&[0xFE, 0xFF, 0xFF, 0xFF, 0x7F], Err("too large"));
        check(&[0xFF; 9], Err("ends within"));
    }
}

//! The wire format of schema registries: a zero, the schema's number, then the value.

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

/// Appends the prefix of a value with this schema.
pub(crate) fn push_prefix(schema: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&schema.to_be_bytes());
}

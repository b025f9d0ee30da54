//! How deep the text of a schema nests: what reads it recurses as deep.

/// How deep braces and brackets may nest in a schema's text: reading them recurses.
const NESTING_MAX: usize = 64;

/// Whether a text nests no deeper than it may. Comments and texts in quotes do not count.
pub(super) fn check(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match (byte, bytes.get(at)) {
            (b'/', Some(b'/')) | (b'#', _) => {
                let rest = bytes[at..].iter().position(|byte| *byte == b'\n');
                at = rest.map_or(bytes.len(), |rest| at + rest);
            }
            (b'/', Some(b'*')) => {
                let start = at + 1;
                let length = bytes[start..].windows(2).position(|two| two == b"*/");
                at = length.map_or(bytes.len(), |length| start + length + 2);
                if bytes[start..at].windows(2).any(|two| two == b"/*") {
                    return Err("it has a comment within a comment".into());
                }
            }
            (b'"' | b'\'', _) => {
                while let Some(inner) = bytes.get(at) {
                    at += 1;
                    // A line ends a string, also behind a backslash.
                    match inner {
                        b'\n' => break,
                        b'\\' => at += usize::from(bytes.get(at) != Some(&b'\n')),
                        other if other == byte => break,
                        _ => {}
                    }
                }
            }
            (b'{' | b'[' | b'(' | b'<', _) => depth += 1,
            (b'}' | b']' | b')' | b'>', _) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return Err(format!("it nests more than {NESTING_MAX} deep"));
        }
    }
    Ok(())
}

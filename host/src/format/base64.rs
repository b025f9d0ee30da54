//! Base64 (RFC 4648): octets as text.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the octets in the standard alphabet, padded.
pub(crate) fn encode(octets: &[u8], out: &mut Vec<u8>) {
    for group in octets.chunks(3) {
        let word = group
            .iter()
            .fold(0_u32, |word, octet| (word << 8) | u32::from(*octet));
        let word = word << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= group.len() { digit } else { b'=' });
        }
    }
}

/// Reads the standard or the URL alphabet, padded or not; none where the text is neither.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text
        .iter()
        .rposition(|byte| *byte != b'=')
        .map_or(0, |last| last + 1);
    let padding = text.len() - digits;
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) || digits % 4 == 1 {
        return None;
    }
    let mut octets = Vec::with_capacity(digits / 4 * 3 + 2);
    for group in text[..digits].chunks(4) {
        let mut word = 0;
        for byte in group {
            word = (word << 6) | value(*byte)?;
        }
        word <<= 6 * (4 - group.len());
        let kept = group.len() * 6 / 8;
        let bytes = [(word >> 16) as u8, (word >> 8) as u8, word as u8];
        // Bits behind the last octet would be lost: two texts must not mean the same octets.
        if bytes[kept..].iter().any(|byte| *byte != 0) {
            return None;
        }
        octets.extend_from_slice(&bytes[..kept]);
    }
    Some(octets)
}

fn value(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_rfc() {
        for (octets, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            encode(octets.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(octets.as_bytes()));
            assert_eq!(
                decode(text.trim_end_matches('=').as_bytes()).as_deref(),
                Some(octets.as_bytes())
            );
        }
        assert_eq!(decode(b"-_8="), decode(b"+/8"));
        for text in ["Z", "Zg=", "Z===", "Zh==", "Zg==Zg==", "Z g="] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}

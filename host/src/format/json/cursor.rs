//! A strict pull parser of one JSON text (RFC 8259). The text is known to be UTF-8.

use super::super::{number, scalar::quote};

/// How deep values may nest; input is hostile, and skipping recurses.
const DEPTH_MAX: usize = 128;

/// A place in a text.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    /// Unescaped text of the last string that had escapes.
    scratch: Vec<u8>,
}

/// A string as it was found.
pub(super) enum Found {
    /// The bytes between the quotes, as they stand.
    Plain(usize, usize),
    /// The string had escapes: [`Cursor::unescaped`] has it.
    Escaped,
}

/// The first byte of a value says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Object,
    Array,
    Text,
    Number,
    True,
    False,
    Null,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            scratch: Vec::new(),
        }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes a byte if it is next.
    pub(super) fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Whether a member or item follows in an object or array, `close` being its end; takes the
    /// comma or the end.
    pub(super) fn more(&mut self, first: bool, close: u8) -> Result<bool, String> {
        self.skip_blanks();
        if self.accept(close) {
            return Ok(false);
        }
        if first {
            return Ok(true);
        }
        if !self.accept(b',') {
            return Err(self.wrong(if close == b'}' {
                "`,` or `}`"
            } else {
                "`,` or `]`"
            }));
        }
        self.skip_blanks();
        Ok(true)
    }

    /// A member's name, and the colon behind it.
    pub(super) fn key(&mut self) -> Result<Found, String> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("a field's name in quotes"));
        }
        let key = self.string()?;
        self.skip_blanks();
        if !self.accept(b':') {
            return Err(self.wrong("`:`"));
        }
        self.skip_blanks();
        Ok(key)
    }

    /// What the value at the cursor is.
    pub(super) fn token(&self) -> Result<Token, String> {
        Ok(match self.peek() {
            Some(b'{') => Token::Object,
            Some(b'[') => Token::Array,
            Some(b'"') => Token::Text,
            Some(b'-' | b'0'..=b'9') => Token::Number,
            Some(b't') => Token::True,
            Some(b'f') => Token::False,
            Some(b'n') => Token::Null,
            _ => return Err(self.wrong("a value")),
        })
    }

    /// The bytes of a number.
    pub(super) fn number(&mut self) -> Result<&'a [u8], String> {
        let end = number::scan(self.text, self.at).ok_or_else(|| self.wrong("a number"))?;
        let text = &self.text[self.at..end];
        self.at = end;
        Ok(text)
    }

    /// `true`, `false` or `null`.
    pub(super) fn word(&mut self, word: &str) -> Result<(), String> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// A string; the cursor stands on its opening quote.
    pub(super) fn string(&mut self) -> Result<Found, String> {
        let start = self.at + 1;
        let end = plain_end(self.text, start);
        match self.text.get(end) {
            Some(b'"') => {
                self.at = end + 1;
                Ok(Found::Plain(start, end))
            }
            _ => self.escaped(start, end),
        }
    }

    /// The last string that had escapes.
    pub(super) fn unescaped(&self) -> &[u8] {
        &self.scratch
    }

    /// The bytes of a string that was just read.
    pub(super) fn bytes(&self, found: &Found) -> &[u8] {
        match found {
            Found::Plain(start, end) => &self.text[*start..*end],
            Found::Escaped => self.unescaped(),
        }
    }

    /// A string whose first escape (or mistake) is at `stop`.
    fn escaped(&mut self, start: usize, stop: usize) -> Result<Found, String> {
        self.scratch.clear();
        let (mut from, mut stop) = (start, stop);
        loop {
            self.scratch.extend_from_slice(&self.text[from..stop]);
            self.at = stop;
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => {
                    return Err(
                        self.wrong("no control character in a string: write it as `\\u00XX`")
                    );
                }
                None => return Err(self.wrong("the string's closing quote")),
            }
            from = self.at;
            stop = plain_end(self.text, from);
        }
        self.at += 1;
        Ok(Found::Escaped)
    }

    /// One escape, from its backslash on.
    fn escape(&mut self) -> Result<(), String> {
        let byte = match self.text.get(self.at + 1) {
            Some(b'u') => return self.unicode(),
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            _ => return Err(self.wrong("an escape such as `\\n`")),
        };
        self.scratch.push(byte);
        self.at += 2;
        Ok(())
    }

    /// `\uXXXX`, or two of them for a character beyond the first plane.
    fn unicode(&mut self) -> Result<(), String> {
        let unit = self.unit(self.at)?;
        self.at += 6;
        let code = match unit {
            0xD800..=0xDBFF => {
                let low = self
                    .unit(self.at)
                    .ok()
                    .filter(|low| (0xDC00..=0xDFFF).contains(low));
                let low = low.ok_or_else(|| self.wrong("the second half of a surrogate pair"))?;
                self.at += 6;
                0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
            }
            _ => unit,
        };
        let char =
            char::from_u32(code).ok_or_else(|| self.wrong("no lone half of a surrogate pair"))?;
        self.scratch
            .extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// The code unit of a `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> Result<u32, String> {
        let digits = match self.text.get(at..at + 6) {
            Some([b'\\', b'u', digits @ ..]) => digits,
            _ => return Err(self.wrong("`\\u` and four hexadecimal digits")),
        };
        digits.iter().try_fold(0, |unit, digit| {
            let digit = char::from(*digit).to_digit(16);
            let digit = digit.ok_or_else(|| self.wrong("four hexadecimal digits"))?;
            Ok(unit * 16 + digit)
        })
    }

    /// Skips a value of any kind, checking it.
    pub(super) fn skip(&mut self) -> Result<(), String> {
        self.skip_nested(0)
    }

    fn skip_nested(&mut self, depth: usize) -> Result<(), String> {
        match self.token()? {
            Token::Text => self.string().map(|_| ()),
            Token::Number => self.number().map(|_| ()),
            Token::True => self.word("true"),
            Token::False => self.word("false"),
            Token::Null => self.word("null"),
            Token::Object | Token::Array if depth == DEPTH_MAX => Err(format!(
                "values nest more than {DEPTH_MAX} deep at byte {}",
                self.at
            )),
            Token::Object => {
                self.at += 1;
                let mut first = true;
                while self.more(first, b'}')? {
                    first = false;
                    self.key()?;
                    self.skip_nested(depth + 1)?;
                }
                Ok(())
            }
            Token::Array => {
                self.at += 1;
                let mut first = true;
                while self.more(first, b']')? {
                    first = false;
                    self.skip_nested(depth + 1)?;
                }
                Ok(())
            }
        }
    }

    /// What stands at the cursor instead of what belongs there.
    pub(super) fn wrong(&self, expected: &str) -> String {
        const SHOWN_MAX: usize = 20;
        let rest = &self.text[self.at.min(self.text.len())..];
        match rest.len() {
            0 => format!("the row ends at byte {} where {expected} belongs", self.at),
            len => format!(
                "{} stands at byte {} where {expected} belongs",
                quote(&rest[..len.min(SHOWN_MAX)]),
                self.at
            ),
        }
    }
}

/// Where the plain part of a string ends: at a quote, a backslash, a control character, or the end
/// of the text.
#[inline]
pub(super) fn plain_end(text: &[u8], start: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = start;
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        // The lowest set bit is exact; carries can only raise false ones above it.
        let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let stops = control | zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5C));
        if stops != 0 {
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while text
        .get(at)
        .is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20))
    {
        at += 1;
    }
    at
}

//! The envelope of a change, before the rows in it are read.

use super::cursor::{Cursor, Token};
use crate::format::debezium::{self, Images, Side};

/// Where the forms of a row stand in a text.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    before: Option<&'a [u8]>,
    after: Option<&'a [u8]>,
    op: Option<Vec<u8>>,
    /// Whether it was in `payload`, and that is null.
    is_empty: bool,
}

impl<'a> Envelope<'a> {
    /// Looks through a text, with or without Connect's `schema` and `payload` around it.
    pub(super) fn scan(text: &'a [u8]) -> Result<Self, String> {
        let (mut cursor, mut found) = (Cursor::new(text), Self::default());
        cursor.skip_blanks();
        match cursor.peek() {
            // A tombstone, which follows a deletion for the sake of compacted topics.
            None => found.is_empty = true,
            Some(b'n') => {
                cursor.word("null")?;
                found.is_empty = true;
            }
            Some(_) => found.object(&mut cursor, true)?,
        }
        cursor.skip_blanks();
        match cursor.peek() {
            None => Ok(found),
            Some(_) => Err(cursor.wrong("the end of the row")),
        }
    }

    fn object(&mut self, cursor: &mut Cursor<'a>, is_outer: bool) -> Result<(), String> {
        if cursor.token()? != Token::Object {
            return Err(cursor.wrong("a JSON object"));
        }
        cursor.at += 1;
        let mut first = true;
        while cursor.more(first, b'}')? {
            first = false;
            let key = cursor.key()?;
            match cursor.bytes(&key) {
                b"payload" if is_outer && cursor.token()? == Token::Object => {
                    self.object(cursor, false)?;
                }
                b"payload" if is_outer && cursor.token()? == Token::Null => {
                    cursor.skip()?;
                    self.is_empty = true;
                }
                b"before" => self.before = form(cursor)?,
                b"after" => self.after = form(cursor)?,
                b"op" if cursor.token()? == Token::Text => {
                    let op = cursor.string()?;
                    self.op = Some(cursor.bytes(&op).to_vec());
                }
                _ => cursor.skip()?,
            }
        }
        Ok(())
    }

    /// The rows that the change becomes.
    pub(super) fn images(&self) -> Result<Images, String> {
        match &self.op {
            Some(op) => debezium::images(op, self.before.is_some(), self.after.is_some()),
            None if self.is_empty => Ok(&[]),
            None => Err(
                "there is no `op`: it is no envelope of Debezium; if the connector \
                         unwraps its changes, remove `envelope`"
                    .into(),
            ),
        }
    }

    /// The text of a form.
    pub(super) fn form(&self, side: Side) -> &'a [u8] {
        let form = match side {
            Side::Before => self.before,
            Side::After => self.after,
        };
        form.unwrap_or_default()
    }
}

/// A value, unless it is null; the cursor stands on it.
fn form<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, String> {
    let (start, token) = (cursor.at, cursor.token()?);
    cursor.skip()?;
    Ok((token != Token::Null).then(|| &cursor.text[start..cursor.at]))
}

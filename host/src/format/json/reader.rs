//! The full path: any layout of a record, field by field into the columns.

use super::{
    Policy,
    cursor::{Cursor, Found, Token},
};
use wasmill_core::pipeline::document::{DuplicateFields, UnknownFields};

use crate::format::{
    column::{Column, Values},
    layout::{Layout, Node, Shape},
    scalar::{self, Kind, quote},
};

/// Reads one record.
pub(super) struct Reader<'a> {
    pub(super) cursor: Cursor<'a>,
    layout: &'a Layout,
    pub(super) columns: &'a mut [Column],
    seen: &'a mut [Vec<bool>],
    pub(super) policy: &'a Policy,
}

/// Room to note, for each object of the layout, which fields were seen.
pub(super) fn seen(layout: &Layout) -> Vec<Vec<bool>> {
    let count = |node: &Node| match &node.shape {
        Shape::Path(children) | Shape::Struct(children) => vec![false; children.len()],
        _ => Vec::new(),
    };
    layout.nodes.iter().map(count).collect()
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        text: &'a [u8],
        layout: &'a Layout,
        columns: &'a mut [Column],
        seen: &'a mut [Vec<bool>],
        policy: &'a Policy,
    ) -> Self {
        Self {
            cursor: Cursor::new(text),
            layout,
            columns,
            seen,
            policy,
        }
    }

    /// The text as one record.
    pub(super) fn record(&mut self) -> Result<(), String> {
        self.cursor.skip_blanks();
        if self.cursor.token()? != Token::Object {
            return Err(self.cursor.wrong("a JSON object"));
        }
        self.members(0)?;
        self.end()
    }

    /// Forgets what was read of the record; `len` rows were read before it.
    pub(super) fn restart(&mut self, len: usize) {
        self.layout.truncate(0, len, self.columns);
        self.cursor.at = 0;
    }

    /// The text as the value of one node.
    pub(super) fn whole_value(&mut self, node: usize) -> Result<(), String> {
        self.cursor.skip_blanks();
        self.value(node)?;
        self.end()
    }

    fn end(&mut self) -> Result<(), String> {
        self.cursor.skip_blanks();
        match self.cursor.peek() {
            None => Ok(()),
            Some(_) => Err(self.cursor.wrong("the end of the row")),
        }
    }

    /// An object's members into the node's children; the cursor stands on the brace.
    fn members(&mut self, owner: usize) -> Result<(), String> {
        let layout = self.layout;
        let (Shape::Path(children) | Shape::Struct(children)) = &layout.nodes[owner].shape else {
            unreachable!("only objects have members");
        };
        self.cursor.at += 1;
        self.seen[owner].fill(false);
        let (mut first, mut next) = (true, 0);
        while self.cursor.more(first, b'}')? {
            first = false;
            let key = self.cursor.key()?;
            match self.find(children, &key, next) {
                Some(index) => {
                    next = index + 1;
                    self.member(owner, index, children[index])?;
                }
                None if self.policy.unknown == UnknownFields::Refuse => {
                    return Err(self.unknown(owner, &key));
                }
                None => self.cursor.skip()?,
            }
        }
        for (index, child) in children.iter().enumerate() {
            if !self.seen[owner][index] {
                self.missing(*child)?;
            }
        }
        self.columns[owner].push_object();
        Ok(())
    }

    /// The child of that name; fields tend to come in the declared order, so `next` is tried first.
    fn find(&self, children: &[usize], key: &Found, next: usize) -> Option<usize> {
        let key = self.cursor.bytes(key);
        let is_it = |child: &usize| self.layout.nodes[*child].name.as_bytes() == key;
        if children.get(next).is_some_and(is_it) {
            return Some(next);
        }
        children.iter().position(is_it)
    }

    fn member(&mut self, owner: usize, index: usize, child: usize) -> Result<(), String> {
        if std::mem::replace(&mut self.seen[owner][index], true) {
            match self.policy.duplicates {
                DuplicateFields::Last => {
                    let len = self.columns[child].len() - 1;
                    self.layout.truncate(child, len, self.columns);
                }
                DuplicateFields::First => return self.cursor.skip(),
                DuplicateFields::Refuse => {
                    return Err(format!("field `{}` stands twice", self.place(child)));
                }
            }
        }
        self.value(child)
    }

    /// A value into a node's columns; the cursor stands on its first byte.
    pub(super) fn value(&mut self, node: usize) -> Result<(), String> {
        let at = self.cursor.at;
        let layout = self.layout;
        match (self.cursor.token()?, &layout.nodes[node].shape) {
            (Token::Null, _) => {
                self.cursor.word("null")?;
                return self.null(node);
            }
            (Token::Object, Shape::Path(_) | Shape::Struct(_)) => return self.members(node),
            (Token::Array, Shape::List(item)) => return self.items(node, *item),
            (token, Shape::Scalar(kind)) => self.scalar(node, token, *kind),
            (_, Shape::List(_)) => Err(self.cursor.wrong("a list")),
            (_, Shape::Path(_) | Shape::Struct(_)) => Err(self.cursor.wrong("an object")),
        }
        .map_err(|reason| format!("field `{}` at byte {at}: {reason}", self.place(node)))
    }

    fn scalar(&mut self, node: usize, token: Token, kind: Kind) -> Result<(), String> {
        let rules = &self.policy.rules;
        match token {
            Token::Number => {
                let text = self.cursor.number()?;
                scalar::push_number(&mut self.columns[node].values, kind, text, rules)?;
            }
            Token::Text => {
                let found = self.cursor.string()?;
                let text = self.cursor.bytes(&found);
                scalar::push_text(&mut self.columns[node].values, kind, text, rules)?;
            }
            Token::True | Token::False => {
                self.cursor.word(if token == Token::True {
                    "true"
                } else {
                    "false"
                })?;
                scalar::push_bool(&mut self.columns[node].values, kind, token == Token::True)?;
            }
            _ => return Err(self.cursor.wrong(kind.expected())),
        }
        self.columns[node].mark_valid();
        Ok(())
    }

    fn items(&mut self, node: usize, item: usize) -> Result<(), String> {
        self.cursor.at += 1;
        let mut first = true;
        while self.cursor.more(first, b']')? {
            first = false;
            self.value(item)?;
        }
        let end = i32::try_from(self.columns[item].len())
            .map_err(|_| "the batch's lists have more than 2^31 items".to_string())?;
        if let Values::List(ends) = &mut self.columns[node].values {
            ends.push(end);
        }
        self.columns[node].mark_valid();
        Ok(())
    }

    /// A field that is null.
    pub(super) fn null(&mut self, node: usize) -> Result<(), String> {
        let this = &self.layout.nodes[node];
        if this.nullable {
            self.push_null(node);
            return Ok(());
        }
        match &this.shape {
            Shape::Path(_) => self.missing(node),
            _ if this.default.is_some() => self.missing(node),
            _ => Err(format!(
                "field `{}` is null, but its column is not nullable",
                this.place
            )),
        }
    }

    /// A field that does not stand in its object.
    pub(super) fn missing(&mut self, node: usize) -> Result<(), String> {
        let layout = self.layout;
        let this = &layout.nodes[node];
        if let Shape::Path(children) = &this.shape {
            for child in children {
                self.missing(*child)?;
            }
            self.columns[node].push_object();
            return Ok(());
        }
        if let Some(default) = &this.default {
            let mut reader = Reader::new(default, layout, self.columns, self.seen, self.policy);
            return reader.value(node);
        }
        if this.nullable {
            self.push_null(node);
            return Ok(());
        }
        Err(format!(
            "field `{}` is missing, and its column is neither nullable nor has a default",
            this.place
        ))
    }

    /// Null for a node; the fields of a struct get a filler each.
    fn push_null(&mut self, node: usize) {
        self.columns[node].push_null();
        if let Shape::Struct(children) = &self.layout.nodes[node].shape {
            for child in children {
                self.filler(*child);
            }
        }
    }

    /// A value that nobody sees, since the struct around it is null.
    fn filler(&mut self, node: usize) {
        if self.layout.nodes[node].nullable {
            return self.push_null(node);
        }
        self.columns[node].push_filler();
        if let Shape::Struct(children) = &self.layout.nodes[node].shape {
            for child in children {
                self.filler(*child);
            }
        }
    }

    fn unknown(&self, owner: usize, key: &Found) -> String {
        let key = self.cursor.bytes(key);
        match self.place(owner) {
            "" => format!("field {} is not declared", quote(key)),
            place => format!("field {} in `{place}` is not declared", quote(key)),
        }
    }

    fn place(&self, node: usize) -> &'a str {
        &self.layout.nodes[node].place
    }
}

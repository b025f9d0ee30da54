//! What stands beside the bytes of rows: keys, times and headers of records in a topic.

use bytes::Bytes;

/// A key or a header without a value.
const NONE: (u32, u32) = (u32::MAX, u32::MAX);

/// What stands beside the rows of a chunk, column by column. A column that nobody wants is empty.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// The bytes of keys and headers.
    pub bytes: Bytes,
    /// Rows that have no value, in ascending order: a null is not an empty text.
    pub nulls: Vec<u32>,
    /// Where each row's key lies in `bytes`; see [`Beside::push_key`].
    pub keys: Vec<(u32, u32)>,
    /// Each row's time, in microseconds.
    pub times: Vec<i64>,
    /// The headers.
    pub headers: Headers,
}

/// The headers of rows.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// Where each row's headers end among all.
    ends: Vec<u32>,
    /// The names and values of all, as places in the bytes.
    all: Vec<[(u32, u32); 2]>,
}

impl Beside {
    /// Notes the next row's key, which lies at a place of the bytes to come.
    pub fn push_key(&mut self, place: Option<(u32, u32)>) {
        self.keys.push(place.unwrap_or(NONE));
    }

    /// A row's key.
    pub fn key(&self, row: u32) -> Option<&[u8]> {
        self.at(*self.keys.get(row as usize)?)
    }

    /// A row's time, in microseconds.
    pub fn time(&self, row: u32) -> Option<i64> {
        self.times.get(row as usize).copied()
    }

    /// A row's headers, in order: name, and value if it has one.
    pub fn headers(&self, row: u32) -> impl DoubleEndedIterator<Item = (&[u8], Option<&[u8]>)> {
        let row = row as usize;
        let end = self.headers.ends.get(row).copied().unwrap_or(0);
        let start = match row.checked_sub(1) {
            Some(before) => self.headers.ends.get(before).copied().unwrap_or(end),
            None => 0,
        };
        let all = self.headers.all.get(start as usize..end as usize);
        let all = all.unwrap_or_default().iter();
        all.map(|[name, value]| (self.at(*name).unwrap_or_default(), self.at(*value)))
    }

    fn at(&self, place: (u32, u32)) -> Option<&[u8]> {
        match place {
            NONE => None,
            (start, end) => self.bytes.get(start as usize..end as usize),
        }
    }
}

impl Headers {
    /// Adds a header of the row that comes next to an end.
    pub fn push(&mut self, name: (u32, u32), value: Option<(u32, u32)>) {
        self.all.push([name, value.unwrap_or(NONE)]);
    }

    /// The row has no more.
    pub fn end_row(&mut self) {
        let all = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.ends.push(all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_finds_its_own() {
        let mut beside = Beside {
            bytes: "k1nv".into(),
            times: vec![5, 6, 7],
            ..Beside::default()
        };
        for key in [Some((0, 2)), None, Some((2, 2))] {
            beside.push_key(key);
        }
        beside.headers.end_row();
        beside.headers.push((2, 3), Some((3, 4)));
        beside.headers.push((2, 3), None);
        beside.headers.end_row();
        beside.headers.end_row();
        let keys: Vec<_> = (0..4).map(|row| beside.key(row)).collect();
        assert_eq!(keys, [Some(&b"k1"[..]), None, Some(&b""[..]), None]);
        let headers = |row| beside.headers(row).collect::<Vec<_>>();
        assert_eq!(headers(0), []);
        let name = &b"n"[..];
        assert_eq!(headers(1), [(name, Some(&b"v"[..])), (name, None)]);
        assert_eq!(headers(2), []);
        assert_eq!((beside.time(2), beside.time(3)), (Some(7), None));
    }
}

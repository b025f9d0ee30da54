//! What a broker is asked without a client: which transactions it knows.
//!
//! One request of Kafka's protocol, ListTransactions, version 0.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The number of the request.
const LIST_TRANSACTIONS: i16 = 66;
/// A broker that does not answer for so long is not well.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer answers are none.
const ANSWER_MAX: usize = 1 << 20;

/// A transactional id that the broker knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The id.
    pub id: String,
    /// `Ongoing`, `Empty`, `CompleteCommit` and so on.
    pub state: String,
}

impl Transaction {
    /// Whether readers wait for its end.
    pub fn is_open(&self) -> bool {
        ["Ongoing", "PrepareCommit", "PrepareAbort"].contains(&self.state.as_str())
    }
}

/// All transactional ids of a broker; an error as long as it does not know them all.
pub(super) fn transactions(address: SocketAddr) -> io::Result<Vec<Transaction>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request())?;
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len) as usize;
    if len > ANSWER_MAX {
        return Err(strange());
    }
    let mut answer = vec![0; len];
    stream.read_exact(&mut answer)?;
    Answer(&answer)
        .transactions()
        .unwrap_or_else(|| Err(strange()))
}

fn request() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(LIST_TRANSACTIONS.to_be_bytes());
    body.extend(0_i16.to_be_bytes());
    // The number of the request, the client's name (none), no tags.
    body.extend(1_i32.to_be_bytes());
    body.extend((-1_i16).to_be_bytes());
    body.push(0);
    // Of any state, of any producer, no tags.
    body.extend([1, 1, 0]);
    let len = u32::try_from(body.len()).expect("it is short");
    [&len.to_be_bytes()[..], &body].concat()
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no answer of a broker")
}

/// The rest of an answer.
struct Answer<'a>(&'a [u8]);

impl<'a> Answer<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A length or a count: seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0;
        for at in 0..5 {
            let byte = self.take(1)?[0];
            number |= usize::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<String> {
        let len = self.number()?.checked_sub(1)?;
        String::from_utf8(self.take(len)?.to_vec()).ok()
    }

    fn tags(&mut self) -> Option<()> {
        (self.number()? == 0).then_some(())
    }

    fn transactions(mut self) -> Option<io::Result<Vec<Transaction>>> {
        self.take(4)?;
        self.tags()?;
        // How long to wait.
        self.take(4)?;
        let error = i16::from_be_bytes(self.take(2)?.try_into().ok()?);
        if error != 0 {
            let message = format!("the broker answers with error {error}");
            return Some(Err(io::Error::other(message)));
        }
        for _ in 1..self.number()? {
            self.text()?;
        }
        let mut all = Vec::new();
        for _ in 1..self.number()? {
            let id = self.text()?;
            self.take(8)?;
            let state = self.text()?;
            self.tags()?;
            all.push(Transaction { id, state });
        }
        Some(Ok(all))
    }
}

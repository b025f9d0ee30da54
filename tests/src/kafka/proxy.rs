//! What stands between a job and its broker, and mistreats the answers that matter.
//!
//! ```text
//! job -- frames --> request pump --> broker          which request an answer belongs to
//! job <-- answer pump <-- frames --- broker          is told by its number
//! ```

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// Frames are shorter.
const FRAME_MAX: usize = 256 << 20;

/// What a client may ask a broker for, of all that it may those that commit something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Api {
    /// Records are to be kept.
    Produce = 0,
    /// A transactional id is taken over.
    InitProducerId = 22,
    /// A transaction is to span partitions.
    AddPartitionsToTxn = 24,
    /// A transaction is to be committed or aborted.
    EndTxn = 26,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Produce,
        Self::InitProducerId,
        Self::AddPartitionsToTxn,
        Self::EndTxn,
    ];
}

/// What becomes of a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The request arrives so much later, also if whoever has sent it has given up by then.
    LateRequest(Duration),
    /// The answer arrives so much later.
    LateAnswer(Duration),
    /// The answer never arrives, and the connection stays.
    Drop,
    /// The connection ends before the answer arrives.
    Cut,
    /// The connection ends before the request arrives.
    CutRequest,
}

/// What is to go wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// With what.
    pub api: Api,
    /// The first such request or a later one: counted from 1.
    pub nth: u32,
    /// How.
    pub action: Action,
}

/// A proxy; new connections are refused when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    broker: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    armed: Option<Fault>,
    /// Nothing passes.
    is_closed: bool,
    /// Faults that have happened.
    hits: u64,
}

impl Proxy {
    /// One before a broker that need not be there yet.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn start(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            broker,
            state: Mutex::default(),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        run(move || {
            for client in listener.incoming().flatten() {
                if accepting.is_over.load(Ordering::Acquire) {
                    return;
                }
                // Without a broker the client's connection ends at once.
                let _ = accepting.join(client);
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has something go wrong, instead of what was to before.
    pub fn arm(&self, fault: Fault) {
        self.shared.lock().armed = Some(fault);
    }

    /// Waits until it has gone wrong; `false` if it did not in so long, and then it will not.
    pub fn wait(&self, patience: Duration) -> bool {
        let shared = &self.shared;
        let waited = shared
            .changed
            .wait_timeout_while(shared.lock(), patience, |it| it.armed.is_some());
        let (mut state, _) = waited.expect("nobody panics");
        state.armed.take().is_none()
    }

    /// Lets nothing pass, in either direction; connections are accepted.
    pub fn close(&self) {
        self.shared.lock().is_closed = true;
    }

    /// Lets everything pass that has waited.
    pub fn open(&self) {
        self.shared.lock().is_closed = false;
        self.shared.changed.notify_all();
    }

    /// How many faults have happened.
    pub fn hits(&self) -> u64 {
        self.shared.lock().hits
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.open();
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    /// Waits as long as nothing may pass.
    fn pass(&self) {
        let waited = self.changed.wait_while(self.lock(), |it| it.is_closed);
        drop(waited.expect("nobody panics with it"));
    }

    /// What is to become of a request.
    fn judge(&self, api: i16) -> Option<Action> {
        let mut state = self.lock();
        let fault = state.armed.as_mut()?;
        if fault.api as i16 != api {
            return None;
        }
        fault.nth -= 1;
        let action = fault.action;
        if fault.nth > 0 {
            return None;
        }
        state.armed = None;
        state.hits += 1;
        self.changed.notify_all();
        Some(action)
    }

    fn join(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let broker = TcpStream::connect(self.broker)?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let waiting = Arc::new(Mutex::new(HashMap::new()));
        let requests = Pump {
            from: client.try_clone()?,
            to: broker.try_clone()?,
            waiting: Arc::clone(&waiting),
            shared: Arc::clone(self),
        };
        let answers = Pump {
            from: broker,
            to: client,
            waiting,
            shared: Arc::clone(self),
        };
        run(move || {
            let _ = requests.requests();
            let _ = requests.to.shutdown(Shutdown::Both);
        });
        run(move || {
            let _ = answers.answers();
            let _ = answers.to.shutdown(Shutdown::Both);
        });
        Ok(())
    }
}

/// One direction of a connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    /// What becomes of answers, by the numbers of their requests.
    waiting: Arc<Mutex<HashMap<i32, Action>>>,
    shared: Arc<Shared>,
}

impl Pump {
    fn requests(&self) -> io::Result<()> {
        loop {
            let frame = self.frame()?;
            let Some((api, number)) = head(&frame) else {
                return Ok(());
            };
            match self.shared.judge(api) {
                Some(Action::CutRequest) => return self.cut(),
                // Who has sent it may be gone when it arrives.
                Some(Action::LateRequest(delay)) => some_time(delay),
                Some(action) => {
                    let mut waiting = self.waiting.lock().expect("nobody panics with it");
                    waiting.insert(number, action);
                }
                None => (),
            }
            self.shared.pass();
            (&self.to).write_all(&frame)?;
        }
    }

    fn answers(&self) -> io::Result<()> {
        loop {
            let frame = self.frame()?;
            let number = frame.get(4..8).and_then(|it| it.try_into().ok());
            let number = number.map(i32::from_be_bytes).unwrap_or_default();
            let mut waiting = self.waiting.lock().expect("nobody panics with it");
            let action = waiting.remove(&number);
            drop(waiting);
            match action {
                Some(Action::Cut) => return self.cut(),
                Some(Action::Drop) => continue,
                Some(Action::LateAnswer(delay)) => some_time(delay),
                _ => (),
            }
            self.shared.pass();
            (&self.to).write_all(&frame)?;
        }
    }

    fn cut(&self) -> io::Result<()> {
        self.from.shutdown(Shutdown::Both)?;
        self.to.shutdown(Shutdown::Both)
    }

    /// The next frame, with its length.
    fn frame(&self) -> io::Result<Vec<u8>> {
        let mut len = [0; 4];
        (&self.from).read_exact(&mut len)?;
        let bytes = u32::from_be_bytes(len) as usize;
        if bytes > FRAME_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0; 4 + bytes];
        frame[..4].copy_from_slice(&len);
        (&self.from).read_exact(&mut frame[4..])?;
        Ok(frame)
    }
}

/// What a request asks for, and its number.
fn head(frame: &[u8]) -> Option<(i16, i32)> {
    let api = frame.get(4..6)?.try_into().ok()?;
    let number = frame.get(8..12)?.try_into().ok()?;
    Some((i16::from_be_bytes(api), i32::from_be_bytes(number)))
}

#[allow(
    clippy::disallowed_methods,
    reason = "a delay is what is asked for; nothing is expected to have happened"
)]
fn some_time(delay: Duration) {
    thread::sleep(delay);
}

#[allow(
    clippy::disallowed_methods,
    reason = "the threads of a connection end with it, whoever owns the proxy"
)]
fn run(what: impl FnOnce() + Send + 'static) {
    drop(thread::spawn(what));
}

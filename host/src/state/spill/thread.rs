//! The thread of a subtask that reads and writes its disk: nothing else waits for it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use async_channel::{Receiver, Sender, bounded};

use crate::crash_point::{CrashPoint, reach};
use crate::spawn;
use crate::state::rocksdb::{Batch, Disk, DiskClocks, Frozen};

/// Orders that may wait.
const ORDERS_MAX: usize = 4;

/// A folder of this process for what has left memory; it goes with the process, or is removed by
/// the next one.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    /// Held while the process lives.
    _lock: File,
}

impl Scratch {
    /// A new folder, after removing those of dead processes.
    pub(super) fn create(root: &Path, job: &str) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        // One process at a time looks around, so that a folder without a lock is a dead one's.
        let looking = File::create(root.join(".lock"))?;
        looking.lock()?;
        let prefix = format!("{job}.");
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with(&prefix)) {
                remove_if_dead(&path);
            }
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = root.join(format!("{prefix}{}.{number}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join(LOCK))?;
        lock.try_lock().map_err(io::Error::from)?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Where a subtask's keys go.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next process.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const LOCK: &str = "lock";
/// Folders that this process has made.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The lock of a process goes with it, however it ends.
fn remove_if_dead(folder: &Path) {
    let is_dead = match File::open(folder.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_dead {
        let _ = fs::remove_dir_all(folder);
        reach(CrashPoint::DiskCleared);
    }
}

/// Something for the thread to do, in order.
pub(super) enum Order {
    /// No answer, unless something has failed.
    Write(Batch),
    Get(Vec<Vec<u8>>),
    /// A domain, up to when, and at most how many.
    TakeDue(u8, i64, usize),
    Freeze,
}

/// What became of it.
pub(super) enum Answer {
    Records(Vec<Option<Vec<u8>>>),
    /// Those that are due, and when the next one is.
    Due(Vec<Vec<u8>>, Option<i64>),
    Frozen(Arc<Frozen>),
}

/// The thread, as its subtask sees it.
pub(super) struct DiskThread {
    orders: Sender<Order>,
    answers: Receiver<Result<Answer, String>>,
    thread: Option<JoinHandle<()>>,
}

impl DiskThread {
    /// Makes a disk of about so many bytes of memory in a new folder.
    pub(super) fn start(
        scratch: &Arc<Scratch>,
        folder: PathBuf,
        bytes: usize,
        clocks: Arc<DiskClocks>,
    ) -> Result<Self, String> {
        let disk = Disk::create((scratch, &folder), bytes, clocks)?;
        let (orders, to_do) = bounded(ORDERS_MAX);
        let (done, answers) = bounded(1);
        let thread = spawn::thread("state-disk", move || serve(&disk, &to_do, &done));
        Ok(Self {
            orders,
            answers,
            thread: Some(thread),
        })
    }

    /// Has something written.
    pub(super) async fn send(&self, order: Order) -> Result<(), String> {
        let sent = self.orders.send(order).await;
        sent.map_err(|_| self.failure())
    }

    /// The same, where a thread may wait.
    pub(super) fn send_now(&self, order: Order) -> Result<(), String> {
        let sent = self.orders.send_blocking(order);
        sent.map_err(|_| self.failure())
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, order: Order) -> Result<Answer, String> {
        self.send(order).await?;
        let answer = self.answers.recv().await;
        answer.unwrap_or_else(|_| Err("its thread has ended".into()))
    }

    /// Why the thread takes no more orders.
    fn failure(&self) -> String {
        match self.answers.try_recv() {
            Ok(Err(reason)) => reason,
            _ => "its thread has ended".into(),
        }
    }
}

impl Drop for DiskThread {
    fn drop(&mut self) {
        self.orders.close();
        self.answers.close();
        if let Some(thread) = self.thread.take() {
            // A panic of it has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Does what is ordered until nobody orders any more, or something fails: the failure is the last
/// answer.
fn serve(disk: &Disk, orders: &Receiver<Order>, answers: &Sender<Result<Answer, String>>) {
    while let Ok(order) = orders.recv_blocking() {
        let answer = match order {
            Order::Write(batch) => match disk.write(batch) {
                Ok(()) => {
                    reach(CrashPoint::KeysLeft);
                    continue;
                }
                Err(reason) => Err(reason),
            },
            Order::Get(places) => disk.get(&places).map(Answer::Records),
            Order::TakeDue(domain, until, keys_max) => disk
                .take_due(domain, until, keys_max)
                .map(|(due, next)| Answer::Due(due, next)),
            Order::Freeze => Ok(Answer::Frozen(Arc::new(disk.freeze()))),
        };
        let has_failed = answer.is_err();
        if answers.send_blocking(answer).is_err() || has_failed {
            return;
        }
    }
}

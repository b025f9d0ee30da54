//! The thread that advances the epoch while guests run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use crate::spawn;

/// The length of a tick.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a running call after which the ticker rests: waking it costs a system call.
const IDLE_TICKS: u32 = 50;

/// Ticks while calls run, rests when none has for a while.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Calls that run now.
    running: AtomicUsize,
    resting: AtomicBool,
    stopping: AtomicBool,
}

/// A running call: as long as it lives, the ticker ticks.
#[derive(Debug)]
pub(super) struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ticker {
    pub(super) fn start(engine: &wasmtime::Engine) -> Self {
        let shared = Arc::new(Shared::default());
        let (theirs, engine) = (Arc::clone(&shared), engine.weak());
        let handle = spawn::thread("wasm-ticker", move || {
            tick(&theirs, || {
                engine
                    .upgrade()
                    .map(|engine| engine.increment_epoch())
                    .is_some()
            });
        });
        Self {
            shared,
            thread: handle.thread().clone(),
            handle: Some(handle),
        }
    }

    /// Announces a call.
    pub(super) fn running(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.resting.load(Ordering::SeqCst) {
            self.shared.resting.store(false, Ordering::SeqCst);
            self.thread.unpark();
        }
        Running(&self.shared)
    }
}

fn tick(shared: &Shared, advance: impl Fn() -> bool) {
    let mut idle = 0;
    while !shared.stopping.load(Ordering::SeqCst) {
        thread::park_timeout(TICK);
        if !advance() {
            return;
        }
        idle = match shared.running.load(Ordering::Relaxed) {
            0 => idle + 1,
            _ => 0,
        };
        if idle >= IDLE_TICKS {
            shared.resting.store(true, Ordering::SeqCst);
            // A call that began before `resting` was seen must not run without ticks.
            while shared.resting.load(Ordering::SeqCst)
                && shared.running.load(Ordering::SeqCst) == 0
                && !shared.stopping.load(Ordering::SeqCst)
            {
                thread::park();
            }
            shared.resting.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.thread.unpark();
        if let Some(handle) = self.handle.take() {
            // The ticker cannot panic; there is nothing to report.
            let _ = handle.join();
        }
    }
}

//! The input: files that grow while the job runs, at a pace that outlasts every kill.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmill_tests::Random;
use wasmill_tests::sales::{OUT_OF_ORDERNESS, Sale, Sales, time};

use crate::some_time;

/// Files that the rows of each source are dealt over.
pub(crate) const FILES: usize = 2;
/// Rows of each source in a second.
const RATE: f64 = 600.0;
/// Milliseconds between two writes.
const PACE: u64 = 20;
/// Accounts that pay.
const ACCOUNTS: u64 = 40;
/// Shops where they do.
const SHOPS: u64 = 12;

/// A payment; an account's payments come in their order, through one file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payment {
    pub(crate) account: u64,
    pub(crate) shop: u64,
    pub(crate) amount: u64,
    pub(crate) at: i64,
}

/// All that was fed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Fed {
    /// With the number of the file.
    pub(crate) sales: Vec<(usize, Sale)>,
    pub(crate) payments: Vec<Payment>,
}

/// A thread that feeds, until it is told to stop.
pub(crate) struct Feeder {
    stop: Arc<AtomicBool>,
    fed: Arc<Mutex<Fed>>,
    thread: JoinHandle<()>,
}

impl Feeder {
    /// Begins to feed files in a folder, which is made.
    pub(crate) fn start(folder: &Path, seed: u64) -> Self {
        fs::create_dir_all(folder).expect("the test's folder is writable");
        let (stop, fed) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut feed = Feed::new(folder, seed, Arc::clone(&fed));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            while !stopped.load(Ordering::Acquire) {
                feed.until(start.elapsed());
                some_time(PACE);
            }
            feed.finish();
        });
        Self { stop, fed, thread }
    }

    /// Stops; gives all rows.
    pub(crate) fn stop(self) -> Fed {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("the feeder has room");
        let mut fed = self.fed.lock().expect("the feeder has ended");
        std::mem::take(&mut fed)
    }
}

struct Feed {
    random: Random,
    sales: Sales,
    /// Times of late, so that each is used once and the order of all sales is known.
    used: BTreeSet<i64>,
    clock: i64,
    rows: u64,
    files: Vec<(File, String)>,
    fed: Arc<Mutex<Fed>>,
}

impl Feed {
    fn new(folder: &Path, seed: u64, fed: Arc<Mutex<Fed>>) -> Self {
        let names = ["sales", "payments"].into_iter();
        let names = names.flat_map(|name| (0..FILES).map(move |at| format!("{name}-{at}.csv")));
        let headers = names.clone().map(|name| match name.starts_with("sales") {
            true => "key,shop,amount,at\n".to_owned(),
            false => "account,shop,amount,at\n".to_owned(),
        });
        let open = |name| File::create(folder.join(name)).expect("the folder is writable");
        Self {
            random: Random(seed ^ 0xfeed),
            sales: Sales::new(seed),
            used: BTreeSet::new(),
            clock: 100_000_000,
            rows: 0,
            files: names.map(open).zip(headers).collect(),
            fed,
        }
    }

    /// Feeds what is due after so long.
    fn until(&mut self, elapsed: Duration) {
        let due = (elapsed.as_secs_f64() * RATE) as u64;
        while self.rows < due {
            self.rows += 1;
            self.sale();
            self.payment();
        }
        for (file, waiting) in &mut self.files {
            // A write ends anywhere: readers must wait for the rest of a row.
            let len = self.random.below(waiting.len() as u64 + 1) as usize;
            let rest = waiting.split_off(len);
            file.write_all(waiting.as_bytes()).expect("there is room");
            *waiting = rest;
        }
    }

    fn sale(&mut self) {
        let sale = self.sales.next().expect("sales do not end");
        if !self.used.insert(sale.at) {
            return;
        }
        let past = sale.at - 2 * OUT_OF_ORDERNESS;
        self.used = self.used.split_off(&past);
        let at = self.rows as usize % FILES;
        writeln!(self.files[at].1, "{}", sale.csv()).expect("memory");
        self.fed
            .lock()
            .expect("nobody panics")
            .sales
            .push((at, sale));
    }

    fn payment(&mut self) {
        self.clock += 1 + self.random.below(200_000) as i64;
        let payment = Payment {
            account: self.random.below(ACCOUNTS),
            shop: self.random.below(SHOPS),
            amount: self.random.below(1_000),
            at: self.clock,
        };
        let at = FILES + payment.account as usize % FILES;
        let Payment {
            account,
            shop,
            amount,
            at: time_us,
        } = payment;
        let line = format!("{account},{shop},{amount},{}", time(time_us));
        writeln!(self.files[at].1, "{line}").expect("memory");
        self.fed
            .lock()
            .expect("nobody panics")
            .payments
            .push(payment);
    }

    fn finish(mut self) {
        for (file, waiting) in &mut self.files {
            file.write_all(waiting.as_bytes()).expect("there is room");
        }
    }
}

//! Whoever reads the outputs while the job is killed: what was seen once stays as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::job::{Job, OUTPUTS, Output, Place, table};
use crate::oracle::Row;
use crate::some_time;

/// Milliseconds between two looks.
const PACE: u64 = 50;

/// A thread that reads, until it is told to stop.
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What has been seen of each output.
pub(crate) struct Seen {
    files: Vec<(Output, Vec<u8>)>,
    tables: Vec<(Output, Vec<Row>)>,
    /// Looks that showed something new.
    pub(crate) news: usize,
}

impl Reader {
    pub(crate) fn start(job: &Arc<Job>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (job, stopped) = (Arc::clone(job), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::new();
            while !stopped.load(Ordering::Acquire) {
                seen.look(&job);
                some_time(PACE);
            }
            seen
        });
        Self { stop, thread }
    }

    /// Stops; gives what was seen.
    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Release);
        self.thread
            .join()
            .expect("a reader says what it does not like")
    }
}

impl Seen {
    fn new() -> Self {
        let of = |place| {
            OUTPUTS
                .into_iter()
                .filter(move |output| output.place == place)
        };
        Self {
            files: of(Place::File).map(|output| (output, Vec::new())).collect(),
            tables: of(Place::Sqlite)
                .map(|output| (output, Vec::new()))
                .collect(),
            news: 0,
        }
    }

    /// Reads what there is.
    ///
    /// # Panics
    ///
    /// If something is gone, or is not as it was.
    fn look(&mut self, job: &Job) {
        for (output, seen) in &mut self.files {
            let now = job.bytes(*output);
            assert!(
                now.starts_with(seen),
                "{output:?}: of {} bytes that were seen, {} are as they were",
                seen.len(),
                seen.iter()
                    .zip(&now)
                    .take_while(|(seen, now)| seen == now)
                    .count()
            );
            self.news += usize::from(now.len() > seen.len());
            *seen = now;
        }
        let Some(database) = job.database() else {
            return;
        };
        for (output, seen) in &mut self.tables {
            // Not there before the job's first start has come so far.
            let Ok(count) = count(&database, output.of) else {
                continue;
            };
            assert!(count >= seen.len(), "{output:?}: rows are gone");
            let Ok(new) = table(&database, output.of, seen.len()) else {
                continue;
            };
            self.news += usize::from(!new.is_empty());
            seen.extend(new);
        }
    }

    /// What was seen is the beginning of what is there in the end.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub(crate) fn check(&self, job: &Job) {
        for (output, seen) in &self.files {
            assert!(job.bytes(*output).starts_with(seen), "{output:?}");
        }
        for (output, seen) in &self.tables {
            assert!(job.rows(*output).starts_with(seen), "{output:?}");
        }
    }
}

fn count(database: &rusqlite::Connection, table: &str) -> rusqlite::Result<usize> {
    let query = format!("select count(*) from {table}");
    let count: i64 = database.query_row(&query, [], |row| row.get(0))?;
    Ok(usize::try_from(count).expect("counts are not negative"))
}

//! Whoever reads the outputs while the job is killed: what was seen once stays as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::job::Job;
use crate::oracle::Row;
use crate::outputs::{Output, Place};
use crate::some_time;

/// Milliseconds between two looks.
const PACE: u64 = 50;
/// Looks from one at PostgreSQL to the next: a program is started for it.
const LOOKS: u64 = 10;

/// A thread that reads, until it is told to stop.
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What has been seen of each output.
pub(crate) struct Seen {
    files: Vec<(Output, Vec<u8>)>,
    tables: Vec<(Output, Vec<Row>)>,
    /// With the number of the last row.
    postgres: Vec<(Output, u64, Vec<Row>)>,
    /// Looks that showed something new.
    pub(crate) news: usize,
}

impl Reader {
    pub(crate) fn start(job: &Arc<Job>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (job, stopped) = (Arc::clone(job), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::new(&job);
            let mut looks = 0;
            while !stopped.load(Ordering::Acquire) {
                seen.look(&job);
                if looks % LOOKS == 0 {
                    seen.look_at_postgres(&job);
                }
                looks += 1;
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
    fn new(job: &Job) -> Self {
        let of = |place| job.outputs().filter(move |output| output.place == place);
        Self {
            files: of(Place::File).map(|output| (output, Vec::new())).collect(),
            tables: of(Place::Sqlite)
                .map(|output| (output, Vec::new()))
                .collect(),
            postgres: of(Place::Postgres)
                .map(|output| (output, 0, Vec::new()))
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
        let Some(database) = job.sqlite() else {
            return;
        };
        for (output, seen) in &mut self.tables {
            // Not there before the job's first start has come so far.
            let Ok(count) = count(&database, output.of) else {
                continue;
            };
            assert!(count >= seen.len(), "{output:?}: rows are gone");
            let Ok(new) = output.table(&database, seen.len()) else {
                continue;
            };
            self.news += usize::from(!new.is_empty());
            seen.extend(new);
        }
    }

    fn look_at_postgres(&mut self, job: &Job) {
        for (output, last, seen) in &mut self.postgres {
            let table = output.of;
            let seen_before = format!("select count(*) from {table} where number <= {last}");
            let count = job.postgres().number(&seen_before);
            assert_eq!(
                count,
                Some(seen.len() as u64),
                "{output:?}: rows are gone, or come between"
            );
            let new = output.postgres_rows(job.postgres(), *last);
            self.news += usize::from(!new.is_empty());
            *last = new.last().map_or(*last, |(number, _)| *number);
            seen.extend(new.into_iter().map(|(_, row)| row));
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
        let postgres = self.postgres.iter().map(|(output, _, seen)| (output, seen));
        let tables = self.tables.iter().map(|(output, seen)| (output, seen));
        for (output, seen) in tables.chain(postgres) {
            assert!(job.rows(*output).starts_with(seen), "{output:?}");
        }
    }
}

fn count(database: &rusqlite::Connection, table: &str) -> rusqlite::Result<usize> {
    let query = format!("select count(*) from {table}");
    let count: i64 = database.query_row(&query, [], |row| row.get(0))?;
    Ok(usize::try_from(count).expect("counts are not negative"))
}

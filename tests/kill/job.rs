//! The job that is killed: its processes and what they brought out.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use wasmill_tests::postgres::Database;
use wasmill_tests::s3::{self, S3Server};
use wasmill_tests::{Signal, programs, signal};

use crate::document::Document;
use crate::oracle::Row;
use crate::outputs::{OUTPUTS, Output, Place, TABLES};
use crate::some_time;

/// A run that does not do what it should for so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a process.
const LOOK: u64 = 5;

/// Where an operator keeps its state while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backend(pub(crate) &'static str);

/// The backends that this wasmill knows.
pub(crate) fn backends() -> Vec<Backend> {
    let schema = Command::new(programs().join("wasmill"))
        .arg("schema")
        .output();
    let schema = schema.expect("wasmill starts").stdout;
    let schema = String::from_utf8(schema).expect("a schema is text");
    let has_rocksdb = schema.contains("\"rocksdb\"");
    let rocksdb = has_rocksdb.then_some(Backend("rocksdb"));
    [Backend("memory")].into_iter().chain(rocksdb).collect()
}

/// Where checkpoints are kept.
pub(crate) enum Storage {
    /// In the job's folder.
    Folder,
    /// In a bucket.
    Bucket(S3Server),
}

/// A folder with a job.
pub(crate) struct Job {
    backend: Backend,
    /// Ends before its folder goes.
    storage: Storage,
    /// Where it writes to beside its folder.
    database: Option<Database>,
    /// The version of one of its plugins.
    ledger: AtomicU32,
    folder: tempfile::TempDir,
}

impl Job {
    pub(crate) fn new(backend: Backend) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        Self {
            folder,
            backend,
            storage: Storage::Folder,
            database: None,
            ledger: AtomicU32::new(1),
        }
    }

    /// One that writes into PostgreSQL, too.
    pub(crate) fn with_postgres(mut self) -> Self {
        let database = Database::shared();
        database.ask(TABLES);
        self.database = Some(database);
        self
    }

    /// The same job with all its files, in another folder.
    pub(crate) fn copy(&self) -> Self {
        assert!(self.database.is_none(), "what is in a database is no file");
        let copy = Self::new(self.backend);
        let all = self.folder().join(".");
        let copied = Command::new("cp")
            .arg("-r")
            .arg(all)
            .arg(copy.folder())
            .status();
        assert!(copied.expect("cp starts").success());
        copy
    }

    /// One whose checkpoints lie in a bucket of a server of its own.
    pub(crate) fn in_bucket(backend: Backend) -> Self {
        let mut job = Self::new(backend);
        let server = S3Server::start(job.folder());
        fs::write(job.folder().join("secret.txt"), s3::SECRET).expect("the folder is writable");
        job.storage = Storage::Bucket(server);
        job
    }

    /// The objects of the job's log, as files.
    pub(crate) fn log(&self) -> PathBuf {
        let all = match &self.storage {
            Storage::Folder => self.folder().join("checkpoints"),
            Storage::Bucket(server) => server.bucket().join("some/prefix"),
        };
        all.join("default/kill/0-127/log")
    }

    /// What the document says of it.
    fn storage(&self) -> String {
        match &self.storage {
            Storage::Folder => "  storage: checkpoints\n".into(),
            Storage::Bucket(server) => bucket(&server.endpoint(), s3::BUCKET),
        }
    }

    pub(crate) fn backend(&self) -> Backend {
        self.backend
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn input(&self) -> PathBuf {
        self.folder().join("input")
    }

    fn document(&self, follow: bool) -> String {
        let document = Document {
            backend: self.backend,
            storage: self.storage(),
            ledger: self.ledger.load(Ordering::Relaxed),
            database: self.database.as_ref(),
            follow,
        };
        document.text()
    }

    /// Has the next processes run this version of the ledger.
    pub(crate) fn use_ledger(&self, version: u32) {
        self.ledger.store(version, Ordering::Relaxed);
    }

    /// What it brings out.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = Output> {
        let has_database = self.database.is_some();
        let outputs = OUTPUTS.into_iter();
        outputs.filter(move |output| has_database || output.place != Place::Postgres)
    }

    /// Starts a process. Without `follow` it comes to an end with its input.
    pub(crate) fn start(&self, parallelism: u64, follow: bool, crash_at: Option<&str>) -> Running {
        let pipeline = self.folder().join("pipeline.yaml");
        fs::write(pipeline, self.document(follow)).expect("the folder is writable");
        self.spawn(("data", "log.txt"), parallelism, crash_at)
    }

    /// Starts one as from another machine, of the document that the last one had.
    pub(crate) fn start_elsewhere(&self, (data, log): (&str, &str), parallelism: u64) -> Running {
        self.spawn((data, log), parallelism, None)
    }

    fn spawn(
        &self,
        (data, log): (&str, &str),
        parallelism: u64,
        crash_at: Option<&str>,
    ) -> Running {
        let log = self.folder().join(log);
        let said = File::create(&log).expect("the folder is writable");
        let mut command = Command::new(programs().join("wasmill"));
        // What the clock on the wall says decides nothing.
        command.env("WASMILL_CLOCK_JUMPS", parallelism.to_string());
        command.env("S3_KEY", s3::KEY);
        self.at_home(&mut command, data);
        command.args(["run", "pipeline.yaml", "--parallelism"]);
        command.arg(parallelism.to_string());
        command.stderr(said).stdout(Stdio::null());
        if let Some(point) = crash_at {
            command.env("WASMILL_CRASH_AT", point);
        }
        let child = command.spawn().expect("wasmill starts");
        Running { child, log }
    }

    fn at_home(&self, command: &mut Command, data: &str) {
        command.current_dir(self.folder());
        command.env("XDG_DATA_HOME", self.folder().join(data));
        // Jobs of one name have one address there.
        command.env_remove("XDG_RUNTIME_DIR");
    }

    /// Asks the running job for a savepoint, and does not wait.
    pub(crate) fn ask_for_savepoint(&self) -> Child {
        let mut command = Command::new(programs().join("wasmill"));
        self.at_home(&mut command, "data");
        command.args(["savepoint", "pipeline.yaml"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("wasmill starts")
    }

    /// The bytes of an output file that a reader takes for whole lines.
    pub(crate) fn bytes(&self, output: Output) -> Vec<u8> {
        let path = self.folder().join(output.file());
        let mut bytes = fs::read(path).unwrap_or_default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(whole.map_or(0, |at| at + 1));
        bytes
    }

    /// All rows of an output, in their order.
    pub(crate) fn rows(&self, output: Output) -> Vec<Row> {
        match output.place {
            Place::File => {
                let bytes = self.bytes(output);
                let text = String::from_utf8(bytes).expect("the output is text");
                let lines = text.lines().skip(usize::from(output.has_header()));
                lines.map(|line| output.row_of_line(line)).collect()
            }
            Place::Sqlite => {
                let database = self.sqlite().expect("the job made its database");
                output.table(&database, 0).expect("the job made its tables")
            }
            Place::Postgres => {
                let rows = output.postgres_rows(self.postgres(), 0).into_iter();
                rows.map(|(_, row)| row).collect()
            }
        }
    }

    /// The SQLite database, to be read; none before it is there.
    pub(crate) fn sqlite(&self) -> Option<rusqlite::Connection> {
        let path = self.folder().join("out.db");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = rusqlite::Connection::open_with_flags(path, flags).ok()?;
        database.busy_timeout(PATIENCE).expect("a timeout");
        Some(database)
    }

    /// The PostgreSQL database.
    ///
    /// # Panics
    /// If the job has none.
    pub(crate) fn postgres(&self) -> &Database {
        self.database.as_ref().expect("the job writes into it")
    }
}

/// What a document says of a bucket; its secret stands in a file.
pub(crate) fn bucket(endpoint: &str, bucket: &str) -> String {
    format!(
        "  storage: s3://{bucket}/some/prefix
  s3:
    endpoint: {endpoint}
    access-key: {{ env: S3_KEY }}
    secret-key: {{ file: secret.txt }}
"
    )
}

/// A process of the job.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Drop for Running {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Running {
    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Lets it run for so long, then kills it; it must not have ended by itself.
    pub(crate) fn kill_after(mut self, milliseconds: u64) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(milliseconds) {
            let ended = self.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "the job ended by itself: {}", self.said());
            some_time(LOOK);
        }
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Asks it to take its last checkpoint.
    pub(crate) fn drain(&self) {
        signal(&self.child, Signal::TERM);
    }

    /// Waits until it dies by itself; gives how.
    pub(crate) fn wait(&mut self, what: &str) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            if start.elapsed() > PATIENCE {
                self.child.kill().expect("a child can be killed");
                self.child.wait().expect("a killed child ends");
                panic!("{what}: nothing happened for {PATIENCE:?}: {}", self.said());
            }
            some_time(LOOK);
        }
    }

    /// Waits for it to die as `kill -9` ends a process.
    pub(crate) fn crash(mut self, point: &str) {
        let status = self.wait(point);
        let said = self.said();
        assert_eq!(
            status.signal(),
            Some(9),
            "`{point}` was never reached: {status}: {said}"
        );
    }

    /// Waits for it to end well; gives what it said.
    pub(crate) fn finish(mut self) -> String {
        let status = self.wait("its end");
        let said = self.said();
        assert!(status.success(), "{status}: {said}");
        said
    }
}

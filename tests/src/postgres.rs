//! PostgreSQL as a test's other side: the shared server that `cargo xtask test` starts, and servers
//! of a test's own, which it may stop and start.

use std::cell::Cell;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// It refuses to run as root; then it runs as the user that its package makes.
const USER: &str = "postgres";

/// A database that can be asked.
pub struct Database {
    /// Where it is.
    pub url: String,
    /// A schema of the test's own, first on the search path of what [`Database::ask`] asks.
    pub schema: String,
}

impl Database {
    /// The shared server.
    ///
    /// # Panics
    ///
    /// If there is none: `cargo xtask test` starts one.
    pub fn shared() -> Self {
        let url = std::env::var("POSTGRES_URL").expect(
            "run `cargo xtask test`, or set POSTGRES_URL to what `cargo xtask postgres up` says",
        );
        Self::new(url)
    }

    fn new(url: String) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let schema = format!("outside_{}_{number}", std::process::id());
        let this = Self { url, schema };
        this.ask(&format!("create schema {}", this.schema));
        this
    }

    /// The lines that a statement gives; columns are separated by `|`.
    ///
    /// # Panics
    ///
    /// If the database refuses.
    pub fn ask(&self, sql: &str) -> Vec<String> {
        let output = self.psql(sql);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {complaint}");
        let text = String::from_utf8(output.stdout).expect("psql writes text");
        text.lines().map(str::to_owned).collect()
    }

    /// The number that a statement gives; none if the database refuses, or the table is not there
    /// yet.
    pub fn number(&self, sql: &str) -> Option<u64> {
        let output = self.psql(sql);
        let text = String::from_utf8(output.stdout).expect("psql writes text");
        text.trim().parse().ok()
    }

    fn psql(&self, sql: &str) -> Output {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d"]);
        psql.arg(&self.url).args(["-c", sql]);
        psql.env(
            "PGOPTIONS",
            format!("-c search_path={},public", self.schema),
        );
        psql.output()
            .expect("psql starts: its package is postgresql-client")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.psql(&format!("drop schema {} cascade", self.schema));
    }
}

/// A server of the test's own, gone with it.
pub struct Server {
    folder: tempfile::TempDir,
    port: u16,
    is_up: Cell<bool>,
}

impl Server {
    /// A server that lets everybody in, or with a password nobody without it.
    ///
    /// # Panics
    ///
    /// If PostgreSQL is not installed, or does not start.
    pub fn start(password: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let server = Self {
            folder,
            port,
            is_up: Cell::new(false),
        };
        let file = server.folder.path().join("password");
        fs::write(&file, password.unwrap_or("none")).expect("the folder is ours");
        if is_root() {
            let mut own = Command::new("chown");
            own.args(["-R", USER]).arg(server.folder.path());
            assert!(own.status().expect("chown starts").success());
        }
        let method = if password.is_some() {
            "scram-sha-256"
        } else {
            "trust"
        };
        let mut make = server.program("initdb");
        make.args([
            "-A",
            method,
            "-U",
            USER,
            "--no-sync",
            "-E",
            "UTF8",
            "--pwfile",
        ]);
        make.arg(&file).arg("-D").arg(server.data());
        succeed(&mut make);
        server.up();
        server
    }

    /// Where it is, for those who need no password.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{USER}", self.port)
    }

    /// A database of it; with a password, for the one who knows it.
    pub fn database(&self, password: Option<&str>) -> Database {
        let login = password.map_or(String::new(), |it| format!(":{it}"));
        let url = self
            .url()
            .replace(&format!("{USER}@"), &format!("{USER}{login}@"));
        Database::new(url)
    }

    /// Starts it again.
    pub fn up(&self) {
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1",
            self.port,
            self.folder.path().display()
        );
        let mut start = self.program("pg_ctl");
        start
            .arg("-D")
            .arg(self.data())
            .args(["-w", "start", "-o"])
            .arg(options);
        start.arg("-l").arg(self.folder.path().join("log"));
        succeed(&mut start);
        self.is_up.set(true);
    }

    /// Ends it as a crash does: nobody says goodbye, and nothing is written.
    pub fn crash(&self) {
        let mut stop = self.program("pg_ctl");
        stop.arg("-D")
            .arg(self.data())
            .args(["-m", "immediate", "-w", "stop"]);
        succeed(&mut stop);
        self.is_up.set(false);
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let program = programs().join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.is_up.get() {
            self.crash();
        }
    }
}

/// Its output goes nowhere: a server keeps what it is given open.
fn succeed(command: &mut Command) {
    let status = command.stdout(std::process::Stdio::null()).status();
    assert!(status.expect("it starts").success(), "{command:?}");
}

/// Where Debian keeps the server's programs, those of the newest version.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions
        .filter_map(Result::ok)
        .map(|version| version.path().join("bin"));
    let newest = versions.filter(|bin| bin.join("initdb").is_file()).max();
    newest.unwrap_or_else(|| Path::new("/usr/bin").into())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

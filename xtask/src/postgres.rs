//! `cargo xtask postgres up|down`: a real PostgreSQL for tests, of this machine's packages, on
//! loopback.
//!
//! It stays up until it is taken down: it idles, and starting one for each run would cost more. The
//! variable `POSTGRES_URL` names another to use instead.

use crate::{setup, shell, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The variable that names the server to the tests.
const URL: &str = "POSTGRES_URL";
/// It refuses to run as root; then it runs as the user that its package makes.
const USER: &str = "postgres";
/// Where it can be reached: written when it is up, and read by tests that are run by hand.
const URL_FILE: &str = "url";

/// Starts, stops or shows the server.
pub(crate) fn run(args: &[String]) -> Result<()> {
    match args {
        [word] if word == "up" => {
            println!("export {URL}={}", up()?);
            Ok(())
        }
        [word] if word == "down" => down(),
        _ => bail!("say `cargo xtask postgres up` or `cargo xtask postgres down`"),
    }
}

/// Has a server run; gives its URL.
pub(crate) fn up() -> Result<String> {
    if let Ok(url) = std::env::var(URL) {
        return Ok(url);
    }
    setup::postgres()?;
    let server = Server::find()?;
    if let Some(url) = server.url_if_up() {
        return Ok(url);
    }
    server.start()
}

/// The name and the value that a child process is told the server by.
pub(crate) fn variable() -> Result<(&'static str, String)> {
    Ok((URL, up()?))
}

fn down() -> Result<()> {
    let server = Server::find()?;
    if server.url_if_up().is_none() {
        return Ok(());
    }
    let mut stop = server.program("pg_ctl");
    stop.arg("-D")
        .arg(server.data())
        .args(["-m", "fast", "-w", "stop"]);
    shell::run(&mut stop)
}

/// A server's programs and files.
struct Server {
    programs: PathBuf,
    folder: PathBuf,
}

impl Server {
    fn find() -> Result<Self> {
        let programs = programs().context("`initdb` is missing: run `cargo xtask setup`")?;
        let folder = folder()?;
        Ok(Self { programs, folder })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// One of its programs, as a user that it runs as.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if shell::is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        // What it says would stand before the URL that a shell may read.
        command.current_dir(&self.folder).stdout(Stdio::null());
        command
    }

    /// Where it can be reached, if it answers.
    fn url_if_up(&self) -> Option<String> {
        let url = fs::read_to_string(self.folder.join(URL_FILE)).ok()?;
        let mut ask = self.program("pg_isready");
        let answers = ask.arg("-q").arg("-d").arg(&url).status();
        answers.is_ok_and(|status| status.success()).then_some(url)
    }

    fn start(&self) -> Result<String> {
        if !self.data().join("PG_VERSION").is_file() {
            let mut make = self.program("initdb");
            make.args(["-A", "trust", "-U", USER, "--no-sync", "-E", "UTF8", "-D"])
                .arg(self.data());
            shell::run(make.arg("--no-instructions"))?;
        }
        // One that was killed, with the machine or by a test, may have left its files.
        let port = free_port()?;
        let options = format!(
            "-p {port} -k {} -c listen_addresses=127.0.0.1 -c max_connections=200",
            self.folder.display()
        );
        let mut start = self.program("pg_ctl");
        start.arg("-D").arg(self.data()).arg("-o").arg(options);
        start.arg("-l").arg(self.folder.join("log"));
        shell::run(start.args(["-w", "start"]))?;
        let url = format!("postgres://{USER}@127.0.0.1:{port}/{USER}");
        fs::write(self.folder.join(URL_FILE), &url).context("the server's URL cannot be noted")?;
        Ok(url)
    }
}

/// Where Debian keeps the server's programs: the newest version of them, or those on `PATH`.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions.filter_map(Result::ok).filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        let bin = version.path().join("bin");
        bin.join("initdb").is_file().then_some((number, bin))
    });
    let newest = versions.max().map(|(_, bin)| bin);
    newest.or_else(|| Some(shell::find("initdb")?.parent()?.to_path_buf()))
}

/// Whether the server's programs are on this machine.
pub(crate) fn is_installed() -> bool {
    programs().is_some() && shell::find("psql").is_some()
}

/// The server's folder, which belongs to the user that it runs as.
fn folder() -> Result<PathBuf> {
    if shell::is_root() {
        // Nobody else can enter root's own cache.
        let folder = Path::new("/var/cache/wasmill-postgres");
        fs::create_dir_all(folder).context("the server's folder cannot be made")?;
        let mut own = Command::new("chown");
        shell::run_quietly(own.arg(format!("{USER}:{USER}")).arg(folder))?;
        return Ok(folder.into());
    }
    let folder = workspace::cache()?.join("postgres");
    fs::create_dir_all(&folder).context("the server's folder cannot be made")?;
    Ok(folder)
}

/// A port that nobody listens on.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free on loopback")?;
    Ok(listener.local_addr()?.port())
}

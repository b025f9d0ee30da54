//! `cargo xtask registry up|down`: a real schema registry for tests, on loopback.
//!
//! It keeps everything in memory and needs no broker. It stays up until it is taken down. The
//! variable `SCHEMA_REGISTRY_URL` names another to use instead.

use crate::{setup, shell, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The variable that names the registry to the tests.
pub(crate) const VARIABLE: &str = "SCHEMA_REGISTRY_URL";
/// What comes from Maven.
const ARTIFACT: &str = "io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all";
/// Its file.
const ARCHIVE: &str = "apicurio-registry-app-3.0.9-all.tar.gz";
/// The program in it.
const PROGRAM: &str = "apicurio-registry-app-3.0.9-runner.jar";
/// Its digest (SHA-256).
const DIGEST: &str = include_str!("../registry/archive.sha256");
/// Where it has the interface of Confluent's registry.
const INTERFACE: &str = "/apis/ccompat/v7";
/// Memory of the registry for all tests.
const HEAP: &str = "-Xmx256m";
/// It is up within seconds; on a busy machine it may take some more.
const PATIENCE: Duration = Duration::from_secs(120);
/// So long it may take to end.
const END_PATIENCE: Duration = Duration::from_secs(30);
/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts or stops the registry.
pub(crate) fn run(args: &[String]) -> Result<()> {
    match args {
        [word] if word == "up" => {
            println!("export {VARIABLE}={}", up()?);
            Ok(())
        }
        [word] if word == "down" => down(),
        _ => bail!("say `cargo xtask registry up` or `cargo xtask registry down`"),
    }
}

/// Has a registry run; gives its address.
pub(crate) fn up() -> Result<String> {
    if let Ok(url) = std::env::var(VARIABLE) {
        return Ok(url);
    }
    let registry = Registry::find()?;
    let address = match registry.address_if_up() {
        Some(address) => address,
        None => registry.start(&program()?)?,
    };
    Ok(format!("http://{address}{INTERFACE}"))
}

fn down() -> Result<()> {
    let registry = Registry::find()?;
    let Some(pid) = registry.pid() else {
        return Ok(());
    };
    shell::run(Command::new("kill").arg(pid.to_string()))?;
    let since = Instant::now();
    while registry.pid().is_some() {
        if since.elapsed() > END_PATIENCE {
            bail!(
                "the registry, process {pid}, does not end: see {}",
                registry.log().display()
            );
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The program, fetched if need be.
fn program() -> Result<PathBuf> {
    setup::kafka()?;
    let folder = workspace::cache()?.join("registry/program");
    let whole = folder.join("whole");
    if fs::read_to_string(&whole).is_ok_and(|known| known == DIGEST) {
        return Ok(folder.join(PROGRAM));
    }
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut fetch = shell::command("mvn");
    fetch.args(["--quiet", "--batch-mode", "dependency:copy"]);
    fetch.arg(format!("-Dartifact={ARTIFACT}"));
    fetch.arg(format!("-DoutputDirectory={}", folder.display()));
    // What it says would stand before the address that a shell may read.
    shell::run(fetch.stdout(Stdio::null()))?;
    let mut check = Command::new("sha256sum");
    check.current_dir(&folder).args(["--check", "--quiet"]);
    check.arg(workspace::root().join("xtask/registry/archive.sha256"));
    shell::run(check.stdout(Stdio::null()))?;
    let mut unpack = Command::new("tar");
    shell::run(unpack.current_dir(&folder).args(["-xzf", ARCHIVE]))?;
    fs::remove_file(folder.join(ARCHIVE)).context("the cache folder is writable")?;
    fs::write(&whole, DIGEST).context("the cache folder is writable")?;
    Ok(folder.join(PROGRAM))
}

/// The registry's files.
struct Registry {
    folder: PathBuf,
}

impl Registry {
    fn find() -> Result<Self> {
        let folder = workspace::cache()?.join("registry/run");
        fs::create_dir_all(&folder).context("the registry's folder cannot be made")?;
        Ok(Self { folder })
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The process, if it runs: a number that is another program's by now is not the registry's.
    fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.folder.join("pid")).ok()?;
        let pid = text.trim().parse().ok()?;
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let mut words = words.split(|byte| *byte == 0);
        words
            .any(|word| word.ends_with(PROGRAM.as_bytes()))
            .then_some(pid)
    }

    /// Where it can be reached, if it answers.
    fn address_if_up(&self) -> Option<SocketAddr> {
        self.pid()?;
        let text = fs::read_to_string(self.folder.join("address")).ok()?;
        let address = text.parse().ok()?;
        answers(address).then_some(address)
    }

    fn start(&self, program: &Path) -> Result<SocketAddr> {
        if let Some(pid) = self.pid() {
            bail!("the registry, process {pid}, does not answer: run `cargo xtask registry down`");
        }
        let free = TcpListener::bind("127.0.0.1:0").context("no port is free on loopback")?;
        let address = free.local_addr()?;
        drop(free);
        let child = self.spawn(program, address.port())?;
        fs::write(self.folder.join("pid"), child.id().to_string())?;
        self.wait(child, address)?;
        fs::write(self.folder.join("address"), address.to_string())?;
        Ok(address)
    }

    fn spawn(&self, program: &Path, port: u16) -> Result<Child> {
        let log = fs::File::create(self.log()).context("the registry's folder is writable")?;
        let mut server = Command::new("java");
        server.args([HEAP, "-Dquarkus.http.host=127.0.0.1"]);
        server.arg(format!("-Dquarkus.http.port={port}"));
        server.arg("-jar").arg(program);
        server.stdin(Stdio::null()).stdout(log.try_clone()?);
        // A group of its own: Ctrl-C in a terminal is not meant for it.
        server.stderr(log).process_group(0);
        server.spawn().context("cannot start java")
    }

    fn wait(&self, mut child: Child, address: SocketAddr) -> Result<()> {
        let since = Instant::now();
        while !answers(address) {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "the registry ended with {status}: see {}",
                    self.log().display()
                );
            }
            if since.elapsed() > PATIENCE {
                child.kill().ok();
                bail!(
                    "the registry is not up in time: see {}",
                    self.log().display()
                );
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// Whether the interface is there: the port alone is there before it.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(END_PATIENCE))?;
        write!(
            stream,
            "GET {INTERFACE}/subjects HTTP/1.0\r\nHost: {address}\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split(' ').nth(1) == Some("200"))
    };
    ask().unwrap_or(false)
}

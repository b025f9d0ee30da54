//! `cargo xtask kafka up|down`: a real Apache Kafka for tests, on loopback.
//!
//! It stays up until it is taken down: starting one for each run would cost more. The variable
//! `KAFKA_BROKERS` names another to use instead.

use crate::{setup, shell, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The variable that names the broker to the tests.
pub(crate) const BROKERS: &str = "KAFKA_BROKERS";
/// The digests (SHA-256) of what comes from Maven.
const DIGESTS: &str = include_str!("../kafka/jars.sha256");
/// How a broker is set up.
const PROPERTIES: &str = include_str!("../kafka/broker.properties");
/// Memory of the broker for all tests.
const HEAP: &str = "-Xmx512m";
/// It says a line a second otherwise.
const LOG_LEVEL: &str = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn";
/// A broker is up within seconds; on a busy machine it may take some more.
const PATIENCE: Duration = Duration::from_secs(120);
/// So long a program may take to end.
const END_PATIENCE: Duration = Duration::from_secs(30);
/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts, stops or shows the broker.
pub(crate) fn run(args: &[String]) -> Result<()> {
    match args {
        [word] if word == "up" => {
            println!("export {BROKERS}={}", up()?);
            Ok(())
        }
        [word] if word == "down" => down(),
        _ => bail!("say `cargo xtask kafka up` or `cargo xtask kafka down`"),
    }
}

/// Has a broker run; gives its address.
pub(crate) fn up() -> Result<String> {
    if let Ok(brokers) = std::env::var(BROKERS) {
        return Ok(brokers);
    }
    let classes = classes()?;
    let broker = Broker::find()?;
    match broker.address_if_up() {
        Some(address) => Ok(address.to_string()),
        None => broker.start(&classes),
    }
}

fn down() -> Result<()> {
    let broker = Broker::find()?;
    let Some(pid) = broker.pid() else {
        return Ok(());
    };
    shell::run(Command::new("kill").arg(pid.to_string()))?;
    let since = Instant::now();
    while broker.pid().is_some() {
        if since.elapsed() > END_PATIENCE {
            bail!(
                "the broker, process {pid}, does not end: see {}",
                broker.log().display()
            );
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The folder of the server's classes, fetched if need be.
fn classes() -> Result<PathBuf> {
    setup::kafka()?;
    let folder = workspace::cache()?.join("kafka/classes");
    let whole = folder.join("whole");
    if fs::read_to_string(&whole).is_ok_and(|known| known == DIGESTS) {
        return Ok(folder);
    }
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut fetch = shell::command("mvn");
    fetch.args(["--quiet", "--batch-mode", "--file"]);
    fetch.arg(workspace::root().join("xtask/kafka/pom.xml"));
    fetch.arg("dependency:copy-dependencies");
    fetch.arg(format!("-DoutputDirectory={}", folder.display()));
    // What it says would stand before the address that a shell may read.
    shell::run(fetch.stdout(Stdio::null()))?;
    check(&folder)?;
    fs::write(&whole, DIGESTS).context("the cache folder is writable")?;
    Ok(folder)
}

/// Compares what came with what was expected, file by file.
fn check(folder: &Path) -> Result<()> {
    let list = workspace::root().join("xtask/kafka/jars.sha256");
    let mut check = Command::new("sha256sum");
    check.current_dir(folder).args(["--check", "--quiet"]);
    shell::run(check.arg(list).stdout(Stdio::null()))?;
    let wanted = DIGESTS.lines().count();
    let came = fs::read_dir(folder)?.count();
    if came != wanted {
        bail!("Maven gave {came} files for Kafka, and {wanted} are known: see xtask/kafka");
    }
    Ok(())
}

/// The broker's files.
struct Broker {
    folder: PathBuf,
}

impl Broker {
    fn find() -> Result<Self> {
        let folder = workspace::cache()?.join("kafka/broker");
        fs::create_dir_all(&folder).context("the broker's folder cannot be made")?;
        Ok(Self { folder })
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The process, if it runs: a number that is another program's by now is not the broker's.
    fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.folder.join("pid")).ok()?;
        let pid = text.trim().parse().ok()?;
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let properties = self.properties().display().to_string();
        let mut words = words.split(|byte| *byte == 0);
        words
            .any(|word| word == properties.as_bytes())
            .then_some(pid)
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("broker.properties")
    }

    /// Where it can be reached, if it answers.
    fn address_if_up(&self) -> Option<SocketAddr> {
        self.pid()?;
        let text = fs::read_to_string(self.folder.join("address")).ok()?;
        let address = text.parse().ok()?;
        TcpStream::connect(address).ok().map(|_| address)
    }

    /// Starts it without the data of the one before: topics of killed tests are of no use.
    fn start(&self, classes: &Path) -> Result<String> {
        if let Some(pid) = self.pid() {
            bail!("the broker, process {pid}, does not answer: run `cargo xtask kafka down`");
        }
        let data = self.folder.join("data");
        fs::remove_dir_all(&data).ok();
        let (port, controller) = free_ports()?;
        let properties = PROPERTIES
            .replace("{port}", &port.to_string())
            .replace("{advertised}", &port.to_string())
            .replace("{controller}", &controller.to_string())
            .replace("{data}", &data.display().to_string())
            .replace("{expiration}", "604800000");
        fs::write(self.properties(), properties).context("the broker's folder is writable")?;
        let mut format = java(classes);
        format.args(["kafka.tools.StorageTool", "format", "--cluster-id"]);
        format.args(["d2FzbWlsbC10ZXN0cy0xMQ", "--config"]);
        shell::run(format.arg(self.properties()).stdout(Stdio::null()))?;
        let child = self.spawn(classes)?;
        fs::write(self.folder.join("pid"), child.id().to_string())?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        self.wait(child, address)?;
        fs::write(self.folder.join("address"), address.to_string())?;
        Ok(address.to_string())
    }

    fn spawn(&self, classes: &Path) -> Result<Child> {
        let log = fs::File::create(self.log()).context("the broker's folder is writable")?;
        let mut server = java(classes);
        server.arg("kafka.Kafka").arg(self.properties());
        server.stdin(Stdio::null()).stdout(log.try_clone()?);
        // A group of its own: Ctrl-C in a terminal is not meant for it.
        server.stderr(log).process_group(0);
        server.spawn().context("cannot start java")
    }

    fn wait(&self, mut child: Child, address: SocketAddr) -> Result<()> {
        let since = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "the broker ended with {status}: see {}",
                    self.log().display()
                );
            }
            if since.elapsed() > PATIENCE {
                child.kill().ok();
                bail!("the broker is not up in time: see {}", self.log().display());
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// Java with the server's classes.
fn java(classes: &Path) -> Command {
    let mut command = Command::new("java");
    command.args([HEAP, LOG_LEVEL, "-cp"]);
    command.arg(format!("{}/*", classes.display()));
    command
}

/// Two ports that nobody listens on.
fn free_ports() -> Result<(u16, u16)> {
    let listen = || TcpListener::bind("127.0.0.1:0").context("no port is free on loopback");
    let (first, second) = (listen()?, listen()?);
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

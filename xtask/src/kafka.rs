//! `cargo xtask kafka up|down`: a real Apache Kafka for tests, on loopback.
//!
//! It stays up until it is taken down: starting one for each run would cost more. The variable
//! `KAFKA_BROKERS` names another to use instead.

use crate::server::{self, Server};
use crate::{setup, shell, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The variable that names the broker to the tests.
pub(crate) const BROKERS: &str = "KAFKA_BROKERS";
/// The variable under which tests that start brokers of their own find the server's classes.
pub(crate) const CLASSES: &str = "WASMILL_KAFKA_CLASSES";
/// The digests (SHA-256) of what comes from Maven.
const DIGESTS: &str = include_str!("../kafka/jars.sha256");
/// How a broker is set up.
const PROPERTIES: &str = include_str!("../kafka/broker.properties");
/// Memory of the broker for all tests.
const HEAP: &str = "-Xmx512m";
/// It says a line a second otherwise.
const LOG_LEVEL: &str = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn";
/// How the broker is set up this time, in its folder.
const SETTINGS: &str = "broker.properties";

/// Starts, stops or shows the broker.
pub(crate) fn run(args: &[String]) -> Result<()> {
    match args {
        [word] if word == "up" => {
            println!("export {BROKERS}={}", up()?);
            Ok(())
        }
        [word] if word == "down" => broker()?.down(),
        _ => bail!("say `cargo xtask kafka up` or `cargo xtask kafka down`"),
    }
}

/// Has a broker run; gives its address.
pub(crate) fn up() -> Result<String> {
    if let Ok(brokers) = std::env::var(BROKERS) {
        return Ok(brokers);
    }
    let classes = classes()?;
    let broker = broker()?;
    match broker.address_if_up() {
        Some(address) => Ok(address.to_string()),
        None => start(&broker, &classes),
    }
}

fn broker() -> Result<Server> {
    let answers = |address| TcpStream::connect(address).is_ok();
    let words = ("the broker", "cargo xtask kafka down");
    Server::find(
        words,
        ("kafka/broker", "kafka/broker/broker.properties"),
        answers,
    )
}

/// The folder of the server's classes, fetched if need be.
pub(crate) fn classes() -> Result<PathBuf> {
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
    check(&folder, &workspace::root().join("xtask/kafka/jars.sha256"))?;
    fs::write(&whole, DIGESTS).context("the cache folder is writable")?;
    Ok(folder)
}

/// Compares what came with a list of digests, file by file.
pub(crate) fn check(folder: &Path, list: &Path) -> Result<()> {
    let mut check = Command::new("sha256sum");
    check.current_dir(folder).args(["--check", "--quiet"]);
    shell::run(check.arg(list).stdout(Stdio::null()))?;
    let wanted = fs::read_to_string(list)?.lines().count();
    let came = fs::read_dir(folder)?.count();
    if came != wanted {
        let list = list.display();
        bail!("Maven gave {came} files, and {wanted} are known: see {list}");
    }
    Ok(())
}

/// Starts it without the data of the one before: topics of killed tests are of no use.
fn start(broker: &Server, classes: &Path) -> Result<String> {
    broker.check_down()?;
    let data = broker.file("data");
    fs::remove_dir_all(&data).ok();
    let [address, controller] = server::free_addresses()?;
    let properties = PROPERTIES
        .replace("{port}", &address.port().to_string())
        .replace("{advertised}", &address.port().to_string())
        .replace("{controller}", &controller.port().to_string())
        .replace("{data}", &data.display().to_string())
        .replace("{expiration}", "604800000");
    let settings = broker.file(SETTINGS);
    fs::write(&settings, properties).context("the broker's folder is writable")?;
    let mut format = java(classes);
    format.args(["kafka.tools.StorageTool", "format", "--cluster-id"]);
    format.args(["d2FzbWlsbC10ZXN0cy0xMQ", "--config"]);
    shell::run(format.arg(&settings).stdout(Stdio::null()))?;
    let mut server = java(classes);
    server.arg("kafka.Kafka").arg(&settings);
    broker.start(server, address)?;
    Ok(address.to_string())
}

/// Java with the server's classes.
fn java(classes: &Path) -> Command {
    let mut command = Command::new("java");
    command.args([HEAP, LOG_LEVEL, "-cp"]);
    command.arg(format!("{}/*", classes.display()));
    command
}

//! `cargo xtask registry up|down`: a real schema registry for tests, on loopback.
//!
//! It keeps everything in memory and needs no broker. It stays up until it is taken down. The
//! variable `SCHEMA_REGISTRY_URL` names another to use instead.

use crate::server::{self, Server};
use crate::{setup, shell, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

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
/// So long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Starts or stops the registry.
pub(crate) fn run(args: &[String]) -> Result<()> {
    match args {
        [word] if word == "up" => {
            println!("export {VARIABLE}={}", up()?);
            Ok(())
        }
        [word] if word == "down" => registry()?.down(),
        _ => bail!("say `cargo xtask registry up` or `cargo xtask registry down`"),
    }
}

/// Has a registry run; gives its address.
pub(crate) fn up() -> Result<String> {
    if let Ok(url) = std::env::var(VARIABLE) {
        return Ok(url);
    }
    let registry = registry()?;
    let address = match registry.address_if_up() {
        Some(address) => address,
        None => start(&registry)?,
    };
    Ok(format!("http://{address}{INTERFACE}"))
}

fn registry() -> Result<Server> {
    let words = ("the registry", "cargo xtask registry down");
    Server::find(words, ("registry/run", PROGRAM), answers)
}

fn start(registry: &Server) -> Result<SocketAddr> {
    let program = program()?;
    registry.check_down()?;
    let [address] = server::free_addresses()?;
    let mut server = Command::new("java");
    server.args([HEAP, "-Dquarkus.http.host=127.0.0.1"]);
    server.arg(format!("-Dquarkus.http.port={}", address.port()));
    server.arg("-jar").arg(program);
    registry.start(server, address)?;
    Ok(address)
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

/// Whether the interface is there: the port alone is there before it.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER))?;
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

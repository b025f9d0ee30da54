//! A real S3 server, for as long as a test needs it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

/// The variable that says where the server's program is; `cargo xtask test` sets it.
const PROGRAM: &str = "WASMILL_S3_SERVER";
/// What the server is opened with. No message and no file of wasmill's may show the secret.
pub const KEY: &str = "kill";
/// The secret that belongs to it.
pub const SECRET: &str = "planted-secret-4711";
/// Ports that are tried.
const STARTS_MAX: usize = 10;
/// The one bucket.
pub const BUCKET: &str = "bucket";

/// A server; it ends when this is dropped.
#[derive(Debug)]
pub struct S3Server {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl S3Server {
    /// Starts a server whose objects lie in a folder.
    ///
    /// # Panics
    ///
    /// If there is none, or it does not start.
    pub fn start(folder: &Path) -> Self {
        let program = std::env::var_os(PROGRAM).map_or_else(in_cache, PathBuf::from);
        assert!(
            program.is_file(),
            "{} is missing: run `cargo xtask test`, which sets the S3 server up",
            program.display()
        );
        let data = folder.join("s3");
        fs::create_dir_all(data.join(BUCKET)).expect("the test's folder is writable");
        for _ in 0..STARTS_MAX {
            if let Some(server) = Self::try_start(&program, folder, &data) {
                return server;
            }
        }
        panic!("the S3 server does not listen: see {}", folder.display());
    }

    /// Starts it on a port that is free; none if somebody has taken that in between.
    #[allow(
        clippy::disallowed_methods,
        reason = "a server cannot tell that it listens: one looks again"
    )]
    fn try_start(program: &Path, folder: &Path, data: &Path) -> Option<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr());
        let address = free.expect("a free port");
        let log = File::create(folder.join("s3.log")).expect("the folder is writable");
        let mut command = Command::new(program);
        command
            .args(["--port", &address.to_string(), "posix"])
            .arg(data);
        command
            .env("ROOT_ACCESS_KEY", KEY)
            .env("ROOT_SECRET_KEY", SECRET);
        command
            .stderr(log.try_clone().expect("a handle"))
            .stdout(log);
        let mut server = Self {
            child: command.spawn().expect("the server starts"),
            address,
            folder: data.into(),
        };
        for _ in 0..1_000 {
            std::thread::sleep(Duration::from_millis(20));
            // One that finds its port taken ends, and then another one answers there.
            if server.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return None;
            }
            let said = fs::read_to_string(folder.join("s3.log")).unwrap_or_default();
            if said.contains("listening on") && TcpStream::connect(address).is_ok() {
                std::thread::sleep(Duration::from_millis(100));
                let ended = server.child.try_wait();
                return ended.is_ok_and(|ended| ended.is_none()).then_some(server);
            }
        }
        None
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder where the bucket's objects lie as files.
    pub fn bucket(&self) -> PathBuf {
        self.folder.join(BUCKET)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `cargo xtask test` puts it.
fn in_cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(variable("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("wasmill/tools/versitygw")
}

//! A server of the tests that stays up from one run to the next: its process, its log, where it
//! listens.

use crate::workspace;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server is up within seconds; on a busy machine it may take some more.
const PATIENCE: Duration = Duration::from_secs(120);
/// So long a program may take to end.
const END_PATIENCE: Duration = Duration::from_secs(30);
/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// A server and its folder in the cache.
pub(crate) struct Server {
    /// What people call it: `the broker`.
    name: &'static str,
    /// The command that ends it.
    down: &'static str,
    /// How a word of its command line ends, by which its process is known.
    mark: String,
    folder: PathBuf,
    /// Whether it answers.
    answers: fn(SocketAddr) -> bool,
}

impl Server {
    /// The server with this folder in the cache, which is made if need be.
    pub(crate) fn find(
        (name, down): (&'static str, &'static str),
        (folder, mark): (&str, &str),
        answers: fn(SocketAddr) -> bool,
    ) -> Result<Self> {
        let folder = workspace::cache()?.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("{name}'s folder cannot be made"))?;
        Ok(Self {
            name,
            down,
            mark: mark.into(),
            folder,
            answers,
        })
    }

    /// A file of its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn log(&self) -> PathBuf {
        self.file("log")
    }

    /// The process, if it runs: a number that is another program's by now is not this one's.
    fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.file("pid")).ok()?;
        let pid = text.trim().parse().ok()?;
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let mut words = words.split(|byte| *byte == 0);
        words
            .any(|word| word.ends_with(self.mark.as_bytes()))
            .then_some(pid)
    }

    /// Where it can be reached, if it answers.
    pub(crate) fn address_if_up(&self) -> Option<SocketAddr> {
        self.pid()?;
        let text = fs::read_to_string(self.file("address")).ok()?;
        let address = text.parse().ok()?;
        (self.answers)(address).then_some(address)
    }

    /// Whether there is no process of it, so that one may be started.
    pub(crate) fn check_down(&self) -> Result<()> {
        if let Some(pid) = self.pid() {
            let (name, down) = (self.name, self.down);
            bail!("{name}, process {pid}, does not answer: run `{down}`");
        }
        Ok(())
    }

    /// Starts it, and waits until it answers at an address.
    pub(crate) fn start(&self, mut command: Command, address: SocketAddr) -> Result<()> {
        let log = fs::File::create(self.log())
            .with_context(|| format!("{}'s folder is writable", self.name))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?);
        // A group of its own: Ctrl-C in a terminal is not meant for it.
        command.stderr(log).process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        fs::write(self.file("pid"), child.id().to_string())?;
        self.wait(child, address)?;
        fs::write(self.file("address"), address.to_string())?;
        Ok(())
    }

    fn wait(&self, mut child: Child, address: SocketAddr) -> Result<()> {
        let (name, log) = (self.name, self.log());
        let since = Instant::now();
        while !(self.answers)(address) {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended with {status}: see {}", log.display());
            }
            if since.elapsed() > PATIENCE {
                child.kill().ok();
                bail!("{name} is not up in time: see {}", log.display());
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Ends it, if it runs.
    pub(crate) fn down(&self) -> Result<()> {
        let Some(pid) = self.pid() else {
            return Ok(());
        };
        // A small system has no program for that.
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let process = process.context("the process has no number")?;
        kill_process(process, Signal::TERM)?;
        let since = Instant::now();
        while self.pid().is_some() {
            if since.elapsed() > END_PATIENCE {
                let (name, log) = (self.name, self.log());
                bail!("{name}, process {pid}, does not end: see {}", log.display());
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// Addresses on loopback where nobody listens.
pub(crate) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    // All at once, so that they differ.
    let listen = |_| TcpListener::bind("127.0.0.1:0").context("no port is free on loopback");
    let listeners: Vec<TcpListener> = (0..N).map(listen).collect::<Result<_>>()?;
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for (address, listener) in addresses.iter_mut().zip(&listeners) {
        *address = listener.local_addr()?;
    }
    Ok(addresses)
}

//! The process of a broker, its data and its ports.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::ask::{self, Transaction};
use super::logins::Logins;
use super::proxy::Proxy;
use crate::Signal;

/// The variable that says where the server's classes are; `cargo xtask test` sets it.
const CLASSES: &str = "WASMILL_KAFKA_CLASSES";
/// How a broker is set up.
const PROPERTIES: &str = include_str!("../../../xtask/kafka/broker.properties");
/// A small machine that is up soon.
const JAVA: &[&str] = &[
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];
/// What it does not do for so long it does not do.
const PATIENCE: Duration = Duration::from_secs(120);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(25);
/// Ports from here on are not given to outgoing connections: nobody takes that of a broker that
/// is away, and whoever tries to connect to it does not meet himself.
const PORTS: (u16, u16) = (15_000, 32_000);

/// How a broker is set up, where tests differ.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// A transactional id that nobody uses is forgotten after so long.
    pub expiration: Duration,
    /// Whether it also listens where one has to log in: [`Broker::login`].
    pub logins: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        Self {
            expiration: week,
            logins: false,
        }
    }
}

/// A broker; it ends when this is dropped, its data too.
#[derive(Debug)]
pub struct Broker {
    child: Mutex<Option<Child>>,
    proxy: Proxy,
    direct: SocketAddr,
    logins: Option<Logins>,
    classes: PathBuf,
    folder: tempfile::TempDir,
}

impl Broker {
    /// Starts one without any topics.
    ///
    /// # Panics
    ///
    /// If Kafka is not there, or does not start.
    pub fn start(settings: Settings) -> Self {
        let classes = std::env::var_os(CLASSES).map_or_else(in_cache, PathBuf::from);
        assert!(
            classes.join("whole").is_file(),
            "{} is missing: run `cargo xtask test`, which fetches Kafka",
            classes.display()
        );
        let folder = tempfile::tempdir().expect("a folder for the broker's files");
        let logins = settings.logins.then(|| Logins::new(folder.path()));
        let [behind, direct, controller] = [free_port(), free_port(), free_port()];
        let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, behind)));
        let data = folder.path().join("data");
        let expiration = settings.expiration.as_millis();
        let mut properties = PROPERTIES
            .replace("{controller}", &controller.to_string())
            .replace("{data}", &data.display().to_string())
            .replace("{expiration}", &expiration.to_string());
        // Of two lines of one name the later one counts.
        let advertised = proxy.address();
        properties += &format!(
            "
listeners=CLIENT://127.0.0.1:{behind},DIRECT://127.0.0.1:{direct},\
CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENT://{advertised},DIRECT://127.0.0.1:{direct}
listener.security.protocol.map=CLIENT:PLAINTEXT,DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=DIRECT
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"
        );
        if let Some(logins) = &logins {
            logins.add_to(&mut properties);
        }
        fs::write(folder.path().join("broker.properties"), properties).expect("it is ours");
        let broker = Self {
            child: Mutex::new(None),
            proxy,
            direct: SocketAddr::from((Ipv4Addr::LOCALHOST, direct)),
            logins,
            classes,
            folder,
        };
        let mut format = broker.java();
        format.args(["kafka.tools.StorageTool", "format", "--cluster-id"]);
        format.args(["d2FzbWlsbC10ZXN0cy0xMQ", "--config"]);
        format.arg(broker.folder.path().join("broker.properties"));
        if broker.logins.is_some() {
            format.args(Logins::format());
        }
        let formatted = format.status().expect("java starts: it is there");
        assert!(formatted.success(), "{}", broker.said());
        broker.up();
        broker
    }

    /// Where those listen who are not to be disturbed.
    pub fn direct(&self) -> String {
        self.direct.to_string()
    }

    /// Where those listen who have to log in.
    ///
    /// # Panics
    ///
    /// If it was not started with [`Settings::logins`].
    pub fn login(&self) -> &Logins {
        self.logins.as_ref().expect("it was started with logins")
    }

    /// What stands between the job and the broker.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Starts it again with what it has, and waits until it answers.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn up(&self) {
        let mut server = self.java();
        server.arg("kafka.Kafka");
        server.arg(self.folder.path().join("broker.properties"));
        // Ctrl-C in a terminal is for the test, which then ends it.
        let child = server.process_group(0).spawn().expect("java starts");
        *self.child.lock().expect("nobody panics") = Some(child);
        let said = || format!("the broker is not up: {}", self.said());
        wait(said, || {
            let ended = self.with(|child| child.try_wait().expect("a child can be asked"));
            assert!(ended.is_none(), "the broker ended: {}", self.said());
            self.transactions().is_ok()
        });
    }

    /// The transactional ids that it knows.
    ///
    /// # Errors
    ///
    /// If it does not answer, or does not know them all yet.
    pub fn transactions(&self) -> std::io::Result<Vec<Transaction>> {
        ask::transactions(self.direct)
    }

    /// Waits until what it knows of transactions is so.
    ///
    /// # Panics
    ///
    /// If that never comes.
    pub fn wait_for(&self, what: &str, mut is_so: impl FnMut(&[Transaction]) -> bool) {
        let said = || format!("in vain: {what}: {:?}", self.transactions());
        wait(said, || {
            self.transactions().is_ok_and(|known| is_so(&known))
        });
    }

    /// Has it end as one that is updated ends, and waits for that.
    pub fn stop(&self) {
        self.signal(Signal::TERM);
        self.gone();
    }

    /// Ends it as `kill -9` ends a process.
    pub fn crash(&self) {
        self.signal(Signal::KILL);
        self.gone();
    }

    /// Has it stand still until [`Broker::go_on`].
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Has it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Leaves its files behind when it ends, for whoever looks into what went wrong; gives where.
    pub fn keep_files(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    fn signal(&self, signal: Signal) {
        self.with(|child| crate::signal(child, signal));
    }

    fn gone(&self) {
        let mut child = self.child.lock().expect("nobody panics");
        let child = child.take();
        child.expect("it runs").wait().expect("a child ends");
    }

    fn with<T>(&self, what: impl FnOnce(&mut Child) -> T) -> T {
        let mut child = self.child.lock().expect("nobody panics");
        what(child.as_mut().expect("the broker runs"))
    }

    /// What it has said, for messages.
    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Java with the server's classes; what it says stands in a file.
    fn java(&self) -> Command {
        let mut log = File::options();
        let log = log.create(true).append(true);
        let log = log
            .open(self.folder.path().join("log"))
            .expect("it is ours");
        let mut java = Command::new("java");
        java.args(JAVA).arg("-cp");
        java.arg(format!("{}/*", self.classes.display()));
        java.stdin(Stdio::null());
        java.stdout(log.try_clone().expect("a handle")).stderr(log);
        java
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let place = self.keep_files().display();
            let _ = writeln!(std::io::stderr(), "the broker's files stand in {place}");
        }
        if let Ok(Some(child)) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for something to become so; looks again until it is.
#[allow(
    clippy::disallowed_methods,
    reason = "a server cannot tell that it is up: one looks again"
)]
fn wait(said: impl Fn() -> String, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "{}", said());
        std::thread::sleep(LOOK);
    }
}

/// A port that nobody listens on, another one each time.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (first, last) = PORTS;
    let width = last - first;
    let own = u16::try_from(std::process::id() % u32::from(width)).expect("it is less");
    for _ in 0..width {
        let at = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = first + (u32::from(own) * 7 + u32::from(at)).rem_euclid(u32::from(width)) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free on loopback");
}

/// Where `cargo xtask test` puts the classes.
fn in_cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(variable("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("wasmill/kafka/classes")
}

//! `cargo xtask setup`: installs what this machine lacks, or says the one command that does.

use crate::{postgres, shell};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What plugins compile to.
pub(crate) const WASM_TARGET: &str = "wasm32-wasip2";

/// Something that comes with the system's packages.
struct Tool {
    what: What,
    package: &'static str,
    reason: &'static str,
}

/// How to see whether a tool is there.
enum What {
    /// A program on `PATH`.
    Program(&'static str),
    /// A shared library whose file's name begins so.
    Library(&'static str),
    /// A header of a C library.
    Header(&'static str),
    /// A server with its programs, which Debian does not put on `PATH`.
    Server(&'static str, fn() -> bool),
}

impl Tool {
    fn is_there(&self) -> bool {
        match self.what {
            What::Program(program) => shell::find(program).is_some(),
            What::Library(stem) => library_folders()
                .iter()
                .any(|folder| holds_library(folder, stem)),
            What::Header(header) => ["/usr/include", "/usr/local/include"]
                .iter()
                .any(|folder| Path::new(folder).join(header).exists()),
            What::Server(_, is_there) => is_there(),
        }
    }

    fn name(&self) -> &'static str {
        match self.what {
            What::Program(name)
            | What::Library(name)
            | What::Header(name)
            | What::Server(name, _) => name,
        }
    }
}

/// What building needs beside Rust.
const BUILD_TOOLS: &[Tool] = &[
    Tool {
        what: What::Program("c++"),
        package: "build-essential",
        reason: "RocksDB, zstd and SQLite are compiled from C and C++",
    },
    Tool {
        what: What::Program("make"),
        package: "build-essential",
        reason: "the allocator and Kafka's client are built by it",
    },
    Tool {
        what: What::Library("libclang"),
        package: "libclang-dev",
        reason: "it reads RocksDB's header for the bindings",
    },
    Tool {
        what: What::Header("openssl/ssl.h"),
        package: "libssl-dev",
        reason: "Kafka's client speaks TLS and SASL with it",
    },
    Tool {
        what: What::Program("pkg-config"),
        package: "pkg-config",
        reason: "it tells where OpenSSL stands",
    },
];

/// What the programs to compare with need.
const PEER_TOOLS: &[Tool] = &[
    Tool {
        what: What::Program("javac"),
        package: "openjdk-17-jdk-headless",
        reason: "Flink runs on Java",
    },
    Tool {
        what: What::Program("mvn"),
        package: "maven",
        reason: "Flink comes from Maven",
    },
];

/// What tests of the database's sink need.
const POSTGRES_TOOLS: &[Tool] = &[
    Tool {
        what: What::Server("postgres", postgres::is_installed),
        package: "postgresql",
        reason: "tests write to a real PostgreSQL",
    },
    Tool {
        what: What::Program("setpriv"),
        package: "util-linux",
        reason: "PostgreSQL refuses to run as root",
    },
];

/// What tests of the broker need.
const KAFKA_TOOLS: &[Tool] = &[
    Tool {
        what: What::Program("java"),
        package: "openjdk-17-jre-headless",
        reason: "Kafka runs on Java",
    },
    Tool {
        what: What::Program("mvn"),
        package: "maven",
        reason: "Kafka comes from Maven",
    },
];

/// What a bare Debian needs.
const FRESH_TOOLS: &[Tool] = &[Tool {
    what: What::Program("debootstrap"),
    package: "debootstrap",
    reason: "it makes the bare Debian",
}];

/// What fetches Go.
const GO_TOOLS: &[Tool] = &[
    Tool {
        what: What::Program("curl"),
        package: "curl",
        reason: "it fetches Go, which builds the S3 server of the tests",
    },
    Tool {
        what: What::Program("unzip"),
        package: "unzip",
        reason: "Go comes as an archive",
    },
];

/// Prepares a machine for building, testing and the demo.
pub(crate) fn run(_args: &[String]) -> Result<()> {
    ensure_tools(BUILD_TOOLS)?;
    ensure_wasm_target()
}

/// Prepares a machine for `bench --peers`.
pub(crate) fn peers() -> Result<()> {
    ensure_tools(PEER_TOOLS)
}

/// Prepares a machine for `postgres up`.
pub(crate) fn postgres() -> Result<()> {
    ensure_tools(POSTGRES_TOOLS)
}

/// Prepares a machine for fetching Go.
pub(crate) fn go() -> Result<()> {
    ensure_tools(GO_TOOLS)
}

/// Prepares a machine for `kafka up`.
pub(crate) fn kafka() -> Result<()> {
    ensure_tools(KAFKA_TOOLS)
}

/// Prepares a machine for `fresh`.
pub(crate) fn fresh() -> Result<()> {
    ensure_tools(FRESH_TOOLS)
}

fn ensure_tools(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !tool.is_there()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        eprintln!("`{}` is missing: {}", tool.name(), tool.reason);
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    install(&packages)
}

/// Where shared libraries stand, with those of each version of LLVM, as the bindings' generator
/// looks for them.
fn library_folders() -> Vec<PathBuf> {
    let named = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let llvm = read_folder("/usr/lib")
        .filter(|path| starts_with(path, "llvm"))
        .map(|path| path.join("lib"));
    let usual = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ];
    let usual = usual.into_iter().map(PathBuf::from);
    named.into_iter().chain(llvm).chain(usual).collect()
}

fn holds_library(folder: &Path, stem: &str) -> bool {
    read_folder(folder).any(|path| {
        let is_shared = path.to_string_lossy().contains(".so");
        // `libclang-cpp` is another library.
        is_shared
            && (starts_with(&path, &format!("{stem}.")) || starts_with(&path, &format!("{stem}-1")))
    })
}

fn read_folder(folder: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path())
}

fn starts_with(path: &Path, stem: &str) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(stem))
}

fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if shell::find("apt-get").is_none() {
        bail!("install what Debian calls `{list}` with your system's package manager, then repeat");
    }
    if !shell::is_root() {
        bail!("run `sudo apt-get install -y {list}`, then repeat");
    }
    shell::run(shell::command("apt-get").arg("update"))?;
    let mut command = shell::command("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages);
    shell::run(&mut command)
}

/// Adds the Wasm target to the toolchain in use, unless its library is there already.
fn ensure_wasm_target() -> Result<()> {
    let sysroot = shell::output(Command::new("rustc").args(["--print", "sysroot"]))
        .context("Rust is missing: install it from https://rustup.rs, then repeat")?;
    let library = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(WASM_TARGET)
        .join("lib");
    if library.is_dir() {
        return Ok(());
    }
    if shell::find("rustup").is_none() {
        bail!(
            "this Rust has no `{WASM_TARGET}` and no rustup to add it: install https://rustup.rs"
        );
    }
    shell::run(shell::command("rustup").args(["target", "add", WASM_TARGET]))
}

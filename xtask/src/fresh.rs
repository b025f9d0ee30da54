//! `cargo xtask fresh`: does what the README says on a machine that has nothing.
//!
//! The machine is a bare Debian in a folder, entered by `chroot`: git, a compiler and Rust, as the
//! README asks, then the committed tree and the README's own commands.

use crate::workspace::{Workspace, root};
use crate::{setup, shell};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The release of Debian that must be enough.
const RELEASE: &str = "bookworm";
/// What the README asks for beside Rust; the certificates let apt and cargo reach their registries.
const PACKAGES: &[&str] = &["build-essential", "ca-certificates", "git"];
/// The target that `setup` must add itself, so that it is taken out of the copied toolchain.
const REMOVED: &str = setup::WASM_TARGET;
/// So long a process may take to end after it was asked to.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(100);
/// Where the tree stands in there.
const PLACE: &str = "root/wasmill";

/// Runs the README's commands, or the ones given, each as one argument.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if !shell::is_root() {
        bail!("a chroot needs root: run `sudo -E cargo xtask fresh`");
    }
    setup::fresh()?;
    let commands = if args.is_empty() {
        readme_commands()?
    } else {
        args.to_vec()
    };
    let chroot = Chroot::make(Workspace::load()?.target.join("fresh"))?;
    chroot.bring_rust()?;
    chroot.bring_tree()?;
    let mut report = String::new();
    for command in &commands {
        let start = Instant::now();
        chroot.run(&format!("cd /{PLACE} && {command}"))?;
        report.push_str(&format!("{:>6} s  {command}\n", start.elapsed().as_secs()));
    }
    println!("\non a bare Debian {RELEASE}:\n{report}");
    Ok(())
}

fn readme_commands() -> Result<Vec<String>> {
    let readme = fs::read_to_string(root().join("README.md")).context("cannot read README.md")?;
    first_commands(&readme)
}

/// The commands of the README's first block that calls xtask.
fn first_commands(readme: &str) -> Result<Vec<String>> {
    let is_task = |line: &&str| line.starts_with("cargo xtask ");
    let block = readme
        .split("```")
        .skip(1)
        .step_by(2)
        .find(|block| block.lines().any(|l| is_task(&l)));
    let block = block.context("README.md shows no `cargo xtask` command")?;
    let bare = |line: &str| line.split('#').next().unwrap_or(line).trim_end().to_owned();
    Ok(block.lines().filter(is_task).map(bare).collect())
}

/// A bare Debian; dropping it takes it away.
struct Chroot {
    folder: PathBuf,
}

impl Chroot {
    fn make(folder: PathBuf) -> Result<Self> {
        let chroot = Self { folder };
        // A run that was killed may have left one behind.
        chroot.remove()?;
        fs::create_dir_all(&chroot.folder)?;
        shell::run(
            shell::command("debootstrap")
                .args(["--variant=minbase", "--include=ca-certificates", RELEASE])
                .arg(&chroot.folder),
        )?;
        for file in ["etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"] {
            chroot.bring(&Path::new("/").join(file), file)?;
        }
        let proc = chroot.folder.join("proc");
        shell::run(
            shell::command("mount")
                .args(["-t", "proc", "proc"])
                .arg(proc),
        )?;
        let packages = PACKAGES.join(" ");
        chroot.run(&format!(
            "apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
             apt-get install -qq -y --no-install-recommends {packages} >/dev/null"
        ))?;
        chroot.bring_certificates()?;
        Ok(chroot)
    }

    /// Lets every program in there trust whom this machine trusts besides the public authorities:
    /// the file brought before is for one that reads it, and Java reads another, which Debian makes
    /// of these when Java is installed.
    fn bring_certificates(&self) -> Result<()> {
        let folder = "usr/local/share/ca-certificates";
        let own = Path::new("/").join(folder);
        for entry in own.read_dir().into_iter().flatten() {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(name) = name.filter(|name| name.ends_with(".crt")) {
                self.bring(&path, &format!("{folder}/{name}"))?;
            }
        }
        self.run("update-ca-certificates >/dev/null")
    }

    /// Copies one file to the same or another place in there.
    fn bring(&self, from: &Path, to: &str) -> Result<()> {
        let to = self.folder.join(to);
        fs::remove_file(&to).ok();
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    /// Copies the toolchain in use with rustup, and cargo's configuration; no crate, no artifact.
    fn bring_rust(&self) -> Result<()> {
        let home = PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?);
        let rustup = std::env::var_os("RUSTUP_HOME").map_or(home.join(".rustup"), PathBuf::from);
        let cargo = std::env::var_os("CARGO_HOME").map_or(home.join(".cargo"), PathBuf::from);
        let sysroot = shell::output(Command::new("rustc").args(["--print", "sysroot"]))?;
        let toolchain = Path::new(sysroot.trim());
        let name = toolchain.file_name().context("the toolchain has no name")?;
        let place = self.folder.join("root/.rustup/toolchains");
        fs::create_dir_all(&place)?;
        copy_tree(toolchain, &place.join(name))?;
        copy_tree(
            &rustup.join("settings.toml"),
            &self.folder.join("root/.rustup/settings.toml"),
        )?;
        fs::create_dir_all(self.folder.join("root/.cargo"))?;
        for part in ["bin", "env", "config.toml"] {
            let from = cargo.join(part);
            if from.exists() {
                copy_tree(&from, &self.folder.join("root/.cargo").join(part))?;
            }
        }
        self.run(&format!("rustup target remove {REMOVED}"))
    }

    /// Unpacks the committed tree.
    fn bring_tree(&self) -> Result<()> {
        let place = self.folder.join(PLACE);
        fs::create_dir_all(&place)?;
        let mut archive = shell::command("git")
            .args(["archive", "HEAD"])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start git")?;
        let tree = archive.stdout.take().context("git has no output")?;
        shell::run(
            shell::command("tar")
                .arg("-x")
                .arg("-C")
                .arg(&place)
                .stdin(tree),
        )?;
        if !archive.wait()?.success() {
            bail!("git archive failed");
        }
        Ok(())
    }

    /// Runs a line of shell in there with nothing of this machine's environment.
    fn run(&self, line: &str) -> Result<()> {
        let path = "/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let mut command = shell::command("chroot");
        command
            .arg(&self.folder)
            .args(["/bin/sh", "-ec", line])
            .env_clear();
        command.envs([
            ("HOME", "/root"),
            ("PATH", path),
            ("LANG", "C.UTF-8"),
            ("TERM", "dumb"),
        ]);
        shell::run(&mut command)
    }

    /// The processes that see this folder as their root.
    fn processes(&self) -> impl Iterator<Item = Pid> {
        let folder = self.folder.canonicalize().ok();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(move |entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let root = fs::read_link(entry.path().join("root")).ok()?;
            Pid::from_raw(pid).filter(|_| folder.as_ref() == Some(&root))
        })
    }

    /// Ends what the commands have left running: servers of tests stay up from one run to the next.
    fn end_processes(&self) -> Result<()> {
        let start = Instant::now();
        let mut signal = Signal::TERM;
        loop {
            let processes: Vec<Pid> = self.processes().collect();
            if processes.is_empty() {
                return Ok(());
            }
            if start.elapsed() > 2 * END_PATIENCE {
                bail!("the processes {processes:?} of the bare Debian do not end");
            }
            for pid in processes {
                // One that has ended meanwhile is what is wanted.
                let _ = kill_process(pid, signal);
            }
            if start.elapsed() > END_PATIENCE {
                signal = Signal::KILL;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Takes the folder away, its processes and the mount first: nothing of this machine may be
    /// deleted through it.
    fn remove(&self) -> Result<()> {
        self.end_processes()?;
        let proc = self.folder.join("proc");
        if proc.join("self").exists() {
            shell::run(shell::command("umount").arg(&proc))?;
        }
        if self.folder.exists() {
            shell::run(
                shell::command("rm")
                    .args(["-rf", "--one-file-system"])
                    .arg(&self.folder),
            )?;
        }
        Ok(())
    }
}

impl Drop for Chroot {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("cannot remove {}: {error:#}", self.folder.display());
        }
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    shell::run(shell::command("cp").arg("-a").arg(from).arg(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_what_runs() {
        let readme = "text\n```sh\ncd x\ncargo xtask demo   # why\ncargo xtask test\n```\nmore\n\
                      ```sh\ncargo xtask bench\n```\n";
        let commands = first_commands(readme).unwrap();
        assert_eq!(commands, ["cargo xtask demo", "cargo xtask test"]);
        assert!(first_commands("```sh\nls\n```\n").is_err());
    }
}

//! A disk that is full, and one that must not be written: the job says so once and clearly, and
//! what was decided is as it was.
//!
//! To mount a disk takes a namespace of one's own, as root, as the root of a user's namespace, or
//! by a `sudo` that asks for no password. A machine that allows none of these tries nothing and
//! says so. Where `CI` is set that is a failure, as nobody reads there what was not tried; only a
//! machine that cannot have any of them may say `KILL_DISKS=none`.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use wasmill_tests::{programs, root};

/// Rows of the job.
const RECORDS: u64 = 60_000;
/// Bytes of the disk.
const DISK: u64 = 16 << 20;
/// Keys of the job that has state: more than it has memory for.
const ACCOUNTS: u64 = 10_000;

/// What lies where.
#[derive(Clone, Copy)]
struct Places {
    checkpoints: &'static str,
    output: &'static str,
    /// Where keys go that leave memory; none of a job without any.
    state: Option<&'static str>,
}

/// Each with one of the places in a folder, and the others beside it.
const fn places(folder: &'static str) -> [Places; 3] {
    let beside = Places {
        checkpoints: "checkpoints",
        output: "elsewhere",
        state: None,
    };
    [
        Places {
            output: folder,
            ..beside
        },
        Places {
            checkpoints: folder,
            ..beside
        },
        Places {
            state: Some(folder),
            ..beside
        },
    ]
}

impl Places {
    fn document(&self) -> String {
        let Self {
            checkpoints,
            output,
            state,
        } = self;
        let (columns, input) = match state {
            None => ("n: { sequence: true, type: u64 }".to_owned(), "n"),
            Some(_) => (
                format!("account: {{ mod: {ACCOUNTS} }}, amount: {{ sequence: true, type: f64 }}"),
                "counts",
            ),
        };
        let mut text = format!(
            "name: numbers
checkpoint: {{ interval: 20ms, storage: {checkpoints} }}
sources:
  n:
    generator:
      rate: 30000
      records: {RECORDS}
      columns: {{ {columns} }}
sinks:
  out: {{ input: {input}, file: {{ path: {output}/out.jsonl }} }}
"
        );
        if let Some(folder) = state {
            let plugin = root().join("target/plugins/count-by-key.wasm");
            let plugin = plugin.display();
            text += &format!(
                "parallelism: 2
operators:
  counts: {{ input: n, key-by: [account], plugin: {plugin} }}
state: {{ backend: rocksdb, cache: 64KiB, directory: {folder} }}
"
            );
        }
        text
    }

    /// The rows that are to come out.
    fn expected(&self) -> BTreeSet<String> {
        let line = |row: u64| match self.state {
            None => format!("{{\"n\":{row}}}"),
            Some(_) => {
                let (account, before) = (row % ACCOUNTS, row / ACCOUNTS);
                let sum = account * (before + 1) + ACCOUNTS * (before * (before + 1) / 2);
                let count = before + 1;
                format!("{{\"account\":{account},\"count\":{count},\"sum\":{sum}.0}}")
            }
        };
        (0..RECORDS).map(line).collect()
    }

    /// Each row once, whatever has happened on the way.
    fn check(&self, output: &Path) {
        let text = fs::read_to_string(output).expect("its output");
        let found: BTreeSet<String> = text.lines().map(str::to_owned).collect();
        let expected = self.expected();
        let differs = found.symmetric_difference(&expected).next();
        assert_eq!(differs, None);
        assert_eq!(text.lines().count() as u64, RECORDS);
    }

    /// A folder with the job.
    fn folder(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        let document = folder.path().join("pipeline.yaml");
        fs::write(document, self.document()).expect("the folder is writable");
        folder
    }
}

/// How a disk may be mounted.
const WAYS: [&[&str]; 3] = [
    &["unshare", "-m"],
    &["unshare", "-rm"],
    &["sudo", "-n", "unshare", "-m"],
];

/// Runs a script with a small disk of its own at `disk`, which is gone with it, and gives what the
/// job has said; none if this machine lets nobody mount one. The output is brought to the folder.
fn on_a_disk(folder: &Path, script: &str) -> Option<String> {
    fs::create_dir(folder.join("disk")).expect("the folder is writable");
    let script = format!(
        "set -u
        mount -t tmpfs -o size={DISK} none disk || exit 99
        : > mounted
        run() {{ {} run pipeline.yaml 2>> said; echo \"ended with $?\" >> said; }}
        {script}
        cp disk/out.jsonl out.jsonl 2> /dev/null || cp elsewhere/out.jsonl out.jsonl
        copied=$?
        [ -z \"${{SUDO_UID:-}}\" ] || chown -R \"$SUDO_UID:$SUDO_GID\" .
        exit $copied",
        programs().join("wasmill").display()
    );
    for way in WAYS {
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).args(["sh", "-c", &script]);
        let Ok(output) = command.current_dir(folder).output() else {
            continue;
        };
        let said = || fs::read_to_string(folder.join("said")).unwrap_or_default();
        if output.status.success() {
            return Some(said());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!folder.join("mounted").exists(), "{complaint}{}", said());
    }
    untried("this machine does not let a test mount a disk");
    None
}

/// Says what the machine does not allow.
fn untried(reason: &str) {
    let has = |variable: &str| std::env::var_os(variable).is_some_and(|it| !it.is_empty());
    let is_impossible = std::env::var_os("KILL_DISKS").is_some_and(|it| it == "none");
    assert!(
        !has("CI") || is_impossible,
        "{reason}: allow user namespaces (kernel.apparmor_restrict_unprivileged_userns=0), or a \
         `sudo` without password, or say KILL_DISKS=none"
    );
    println!("not tried: {reason}");
}

/// The errors with which a run has ended; restarts are told on the way.
fn errors(said: &str) -> Vec<&str> {
    let told = said
        .lines()
        .filter(|line| line.starts_with("wasmill: ") && !line.contains("; restart "));
    told.collect()
}

/// How a job met a full disk.
#[derive(Debug, PartialEq)]
enum Met {
    /// It waited for room, and went on.
    Waited,
    /// It could not begin.
    AtTheStart,
    /// It began, and ended.
    Ended,
}

/// Fills the disk but for so many bytes, and makes room after a while, in which the job fails, or
/// waits; then it is started again. Says what it did, if that could be tried.
fn full(places: Places, room: u64) -> Option<Met> {
    let folder = places.folder();
    let script = format!(
        "head -c $(({DISK} - {room})) /dev/zero > disk/filler
        (sleep 4; rm disk/filler) & run; wait; run"
    );
    let said = on_a_disk(folder.path(), &script)?;
    let (first, second) = said.split_once("ended with").expect("it ended");
    assert!(first.contains("No space left on device"), "{said}");
    let told = errors(first);
    if second.starts_with(" 1") {
        assert_eq!(told.len(), 1, "one error: {said}");
        assert!(told[0].contains("No space left on device"), "{said}");
        let place = ["disk", "default/numbers"];
        assert!(place.iter().any(|place| told[0].contains(place)), "{said}");
        if !first.contains("; restart ") {
            return Some(Met::AtTheStart);
        }
    } else {
        assert!(
            second.starts_with(" 0") && told.is_empty(),
            "it waited: {said}"
        );
    }
    assert!(second.ends_with("ended with 0\n"), "{said}");
    places.check(&folder.path().join("out.jsonl"));
    Some(match second.starts_with(" 0") {
        true => Met::Waited,
        false => Met::Ended,
    })
}

const OUTPUT: Places = places("disk")[0];
const CHECKPOINTS: Places = places("disk")[1];
const STATE: Places = places("disk")[2];

#[test]
fn a_full_disk_for_the_output_damages_nothing() {
    full(OUTPUT, 400_000);
}

#[test]
fn a_full_disk_for_checkpoints_damages_nothing() {
    full(CHECKPOINTS, 24_000);
    full(CHECKPOINTS, 28_000);
}

#[test]
fn a_full_disk_for_keys_that_leave_memory_damages_nothing() {
    // What two subtasks put down to begin with may fill the disk: then it is tried again.
    let mut met = (0..10).map(|_| full(STATE, 400_000));
    let met = met.find(|met| *met != Some(Met::AtTheStart));
    // The outer none: it never began; the inner one: this machine mounts no disk.
    assert!(matches!(met, Some(None | Some(Met::Waited))), "{met:?}");
}

#[test]
fn a_disk_that_must_not_be_written_is_named() {
    for places in places("disk") {
        let folder = places.folder();
        let script = "mount -o remount,ro disk; run; mount -o remount,rw disk; run";
        let Some(said) = on_a_disk(folder.path(), script) else {
            return;
        };
        let (first, second) = said.split_once("ended with").expect("it ended");
        is_named(first, "Read-only file system", "disk");
        assert!(
            !second.starts_with(" 0") && second.ends_with("ended with 0\n"),
            "{said}"
        );
        places.check(&folder.path().join("out.jsonl"));
    }
}

#[track_caller]
fn is_named(said: &str, reason: &str, place: &str) {
    let told = errors(said);
    assert_eq!(told.len(), 1, "one error: {said}");
    assert!(
        told[0].contains(reason) && told[0].contains(place),
        "{said}"
    );
}

/// Runs a program that may write only where its user may: root could write everywhere.
fn without_rights(folder: &Path, program: &Path, arguments: &[&str]) -> Output {
    let user = Command::new("id").arg("-u").output().expect("id starts");
    let mut command = match user.stdout.trim_ascii() == b"0" {
        true => {
            let mut command = Command::new("setpriv");
            command.args([
                "--bounding-set=-dac_override",
                "--inh-caps=-dac_override",
                "--",
            ]);
            command.arg(program);
            command
        }
        false => Command::new(program),
    };
    command.args(arguments).current_dir(folder);
    command.output().expect("it starts")
}

#[test]
fn a_folder_that_must_not_be_written_is_named() {
    for places in places("closed") {
        let folder = places.folder();
        let closed = folder.path().join("closed");
        fs::create_dir(&closed).expect("the folder is writable");
        let allow = |mode| {
            let allowed = fs::set_permissions(&closed, Permissions::from_mode(mode));
            allowed.expect("it is the test's own");
        };
        allow(0o500);
        if without_rights(folder.path(), Path::new("touch"), &["closed/tried"])
            .status
            .success()
        {
            return untried("who runs this test may write everywhere");
        }
        let wasmill = programs().join("wasmill");
        let run = || without_rights(folder.path(), &wasmill, &["run", "pipeline.yaml"]);
        let first = run();
        assert!(!first.status.success());
        is_named(
            &String::from_utf8_lossy(&first.stderr),
            "Permission denied",
            "closed",
        );
        allow(0o700);
        let second = run();
        let said = String::from_utf8_lossy(&second.stderr);
        assert!(second.status.success(), "{said}");
        places.check(&folder.path().join(places.output).join("out.jsonl"));
    }
}

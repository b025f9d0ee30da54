use std::{
    os::unix::fs::{FileExt, MetadataExt},
    sync::Arc,
};

use parking_lot::Mutex;
use proptest::prelude::*;
use wasmill_core::checkpoint::AttemptId;
use wasmill_core::pipeline::document::{EncodeCsv, EncodeJson};

use super::*;
use crate::connector::Spooled;
use crate::connector::sink::Fence;
use crate::connector::sink::model::{self, Output, Power, Step};

/// A disk that fails when it is told to, and forgets what was not synced.
#[derive(Clone, Default)]
struct FaultyDisk(Arc<Mutex<Faults>>);

#[derive(Default)]
struct Faults {
    /// Steps that are left.
    left: Option<u64>,
    unsynced: Vec<Undo>,
    /// Lengths of the files behind each write.
    ends: Vec<u64>,
}

/// What brings back what was before a change.
enum Undo {
    Write {
        /// Another opening of the file: one that is shared would keep its lock.
        file: File,
        offset: u64,
        len: u64,
        before: Vec<u8>,
        len_before: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        before: Option<Vec<u8>>,
    },
}

fn inode(file: &File) -> u64 {
    file.metadata().expect("an open file").ino()
}

impl Faults {
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => Err(io::Error::other("the disk fails")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn note(&mut self, file: &File, offset: u64, len: u64) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = File::options().read(true).write(true).open(path)?;
        let len_before = file.metadata()?.len();
        let mut before = vec![0; len_before.saturating_sub(offset).min(len) as usize];
        file.read_exact_at(&mut before, offset)?;
        self.unsynced.push(Undo::Write {
            file,
            offset,
            len,
            before,
            len_before,
        });
        Ok(())
    }
}

impl Disk for FaultyDisk {
    fn write(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut faults = self.0.lock();
        faults.note(file, offset, bytes.len() as u64)?;
        let spent = faults.spend();
        let len = if spent.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        file.write_all_at(&bytes[..len], offset)?;
        faults.ends.push(offset + len as u64);
        spent
    }

    fn cut(&mut self, file: &File, len: u64) -> io::Result<()> {
        let mut faults = self.0.lock();
        faults.spend()?;
        faults.note(file, len, u64::MAX)?;
        file.set_len(len)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        let mut faults = self.0.lock();
        faults.spend()?;
        let synced = inode(file);
        let is_of_another = |undo: &Undo| match undo {
            Undo::Write { file, .. } => inode(file) != synced,
            Undo::Rename { .. } => true,
        };
        faults.unsynced.retain(is_of_another);
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let mut faults = self.0.lock();
        faults.spend()?;
        let before = std::fs::read(to).ok();
        std::fs::rename(from, to)?;
        if let Err(error) = faults.spend() {
            let (from, to) = (from.into(), to.into());
            faults.unsynced.push(Undo::Rename { from, to, before });
            return Err(error);
        }
        // Syncing the folder makes earlier changes of names durable too.
        let is_write = |undo: &Undo| matches!(undo, Undo::Write { .. });
        faults.unsynced.retain(is_write);
        Ok(())
    }
}

impl Undo {
    fn undo(self, power: Power) {
        match self {
            Self::Write {
                file,
                offset,
                len,
                before,
                len_before,
            } => {
                let found = file.metadata().expect("an open file").len();
                let end = offset.saturating_add(len).min(found);
                if power == Power::Zeros && end >= len_before {
                    let zeros = vec![0; end.saturating_sub(offset.max(len_before)) as usize];
                    file.write_all_at(&zeros, offset.max(len_before))
                        .expect("it is ours");
                } else {
                    file.write_all_at(&before, offset).expect("it is ours");
                    file.set_len(len_before).expect("it is ours");
                }
            }
            Self::Rename { from, to, before } => {
                std::fs::rename(&to, from).expect("it is ours");
                if let Some(before) = before {
                    std::fs::write(to, before).expect("it is ours");
                }
            }
        }
    }
}

struct Text {
    folder: tempfile::TempDir,
    disk: FaultyDisk,
    format: EncodeSpec,
}

impl Text {
    fn new(format: EncodeSpec) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            disk: FaultyDisk::default(),
            format,
        }
    }

    fn json() -> Self {
        Self::new(EncodeSpec::Json(EncodeJson::default()))
    }

    fn csv() -> Self {
        Self::new(EncodeSpec::Csv(EncodeCsv::default()))
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap_or_default()
    }

    fn follower(
        &self,
        opening: &Opening<'_>,
        sink: &str,
    ) -> Result<FileFollower<FaultyDisk>, ConnectorError> {
        let spec = FileSpec {
            sink,
            path: &self.path(),
            format: &self.format,
        };
        let metadata = Metadata::new(&model::batch(0, 0).rows.schema(), &[], opening.job);
        FileFollower::open_on(self.disk.clone(), &spec, metadata, opening)
    }

    fn refused(&self, opening: &Opening<'_>) -> String {
        let refused = self.follower(opening, "sink").err();
        refused.expect("it is refused").to_string()
    }

    /// Two checkpoints with three rows, applied.
    fn applied(&self, is_fresh: bool) -> FileFollower<FaultyDisk> {
        let mut follower = self
            .follower(&self.opening(is_fresh, None), "sink")
            .expect("opens");
        for (checkpoint, first, len) in [(1, 0, 2), (2, 2, 1)] {
            let checkpoint = CheckpointId(checkpoint);
            follower
                .write(&model::batch(first, len))
                .expect("there is room");
            let share = follower.share(checkpoint).expect("there is room");
            follower.decided(checkpoint);
            follower
                .apply(checkpoint, &share)
                .expect("nothing is in its way");
        }
        follower
    }

    fn opening(&self, is_fresh: bool, since: Option<u64>) -> Opening<'_> {
        Opening {
            job: "job",
            fence: Fence {
                attempt: AttemptId(1),
                begun_us: 1,
            },
            is_fresh,
            since: since.map(CheckpointId),
            is_detour: false,
            spool: self.folder.path(),
        }
    }
}

impl Output for Text {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Box<dyn Follower>, ConnectorError> {
        Ok(Box::new(self.follower(opening, "sink")?))
    }

    fn rows(&self) -> Vec<u64> {
        let text = self.text();
        let text = text.split('\0').next().unwrap_or_default();
        // A last line may be cut.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut lines = whole.lines();
        if matches!(self.format, EncodeSpec::Csv(_)) {
            assert!(lines.next().is_none_or(|header| header == "n"));
        }
        let number = |line: &str| {
            let number = line
                .strip_prefix("{\"n\":")
                .and_then(|it| it.strip_suffix('}'));
            number.unwrap_or(line).parse().expect("a whole row")
        };
        lines.map(number).collect()
    }

    fn arm(&mut self, steps: u64) {
        self.disk.0.lock().left = Some(steps).filter(|steps| *steps < u64::MAX);
    }

    fn crash(&mut self, power: Power) {
        if power != Power::On {
            let unsynced = std::mem::take(&mut self.disk.0.lock().unsynced);
            unsynced.into_iter().rev().for_each(|undo| undo.undo(power));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn nothing_is_lost_or_doubled_wherever_it_stops(steps in model::steps(), is_csv: bool) {
        let mut output = if is_csv { Text::csv() } else { Text::json() };
        model::run(&mut output, &steps);
    }
}

#[test]
fn every_step_of_apply_may_be_the_last() {
    for power in [Power::On, Power::Lost, Power::Zeros] {
        for before in [0, 1] {
            for last in 0..12 {
                let mut steps = vec![
                    Step::Write(3),
                    Step::Checkpoint(model::Outcome::Decided),
                    Step::Write(2),
                    Step::Checkpoint(model::Outcome::Decided),
                    Step::Write(1),
                ];
                steps.extend(vec![Step::Apply; before]);
                steps.push(Step::ApplyAndCrash(last, power));
                steps.push(Step::ApplyAndCrash(last, power));
                model::run(&mut Text::csv(), &steps);
            }
        }
    }
}

#[test]
fn the_old_file_stands_until_the_first_checkpoint_is_decided() {
    let text = Text::csv();
    std::fs::write(text.path(), "old").expect("it is ours");
    let error = text.refused(&text.opening(false, None));
    assert!(
        error.contains("out") && error.contains("--fresh"),
        "{error}"
    );
    let mut follower = text
        .follower(&text.opening(true, None), "sink")
        .expect("opens");
    follower.write(&model::batch(0, 1)).expect("there is room");
    let share = follower.share(CheckpointId(1)).expect("there is room");
    assert_eq!(text.text(), "old");
    follower
        .apply(CheckpointId(1), &share)
        .expect("nothing is in its way");
    assert_eq!(text.text(), "n\n0\n");
}

#[test]
fn another_fresh_run_replaces_the_file_and_its_log() {
    let text = Text::csv();
    drop(text.applied(true));
    assert_eq!(text.text(), "n\n0\n1\n2\n");
    let mut follower = text
        .follower(&text.opening(true, None), "sink")
        .expect("opens");
    assert_eq!(follower.marker().expect("it is known"), None);
    let share = follower.share(CheckpointId(3)).expect("there is room");
    follower
        .apply(CheckpointId(3), &share)
        .expect("nothing is in its way");
    assert_eq!(text.text(), "n\n");
}

/// What `change` does to the file must be refused with an error that says `part`.
fn check_changed(change: impl Fn(&Path), part: &str) {
    let text = Text::json();
    drop(text.applied(true));
    change(&text.path());
    let error = text.refused(&text.opening(false, Some(2)));
    assert!(error.contains(part) && error.contains("out`"), "{error}");
}

#[test]
fn a_file_that_is_not_as_it_was_left_is_refused() {
    let write = |bytes: &'static str| move |path: &Path| std::fs::write(path, bytes).expect("ours");
    check_changed(write("{\"n\":0}\n"), "has 8 bytes");
    check_changed(
        |path| std::fs::remove_file(path).expect("ours"),
        "has 0 bytes",
    );
    let changed = "the rows of checkpoint 2, from byte 16 on,";
    check_changed(write("{\"n\":0}\n{\"n\":1}\n{\"n\":3}\n"), changed);
    let remove_log = |path: &Path| std::fs::remove_file(beside(path, ".commits")).expect("ours");
    check_changed(remove_log, "without its commit log");
}

#[test]
fn what_others_append_is_refused() {
    let text = Text::json();
    let mut follower = text.applied(true);
    let append = |bytes: &str| {
        std::fs::write(
            text.path(),
            format!("{{\"n\":0}}\n{{\"n\":1}}\n{{\"n\":2}}\n{bytes}"),
        )
        .expect("it is ours");
    };
    follower.write(&model::batch(3, 1)).expect("there is room");
    let share = follower.share(CheckpointId(3)).expect("there is room");
    for theirs in ["{\"n\":4", "{\"n\":3}\n{", "\n"] {
        append(theirs);
        let error = follower
            .apply(CheckpointId(3), &share)
            .expect_err(theirs)
            .to_string();
        assert!(error.contains("behind byte 24"), "{error}");
    }
    append("{\"n\":");
    follower
        .apply(CheckpointId(3), &share)
        .expect("these are our own bytes");
    assert_eq!(text.rows(), [0, 1, 2, 3]);
}

#[test]
fn another_run_on_the_same_file_is_noticed() {
    let text = Text::json();
    let mut old = text.applied(true);
    let mut new = text
        .follower(&text.opening(false, Some(2)), "sink")
        .expect("opens");
    let share = |follower: &mut FileFollower<_>, checkpoint| {
        follower
            .write(&model::batch(checkpoint, 1))
            .expect("there is room");
        let share = follower
            .share(CheckpointId(checkpoint))
            .expect("there is room");
        follower.decided(CheckpointId(checkpoint));
        share
    };
    let three = share(&mut new, 3);
    new.apply(CheckpointId(3), &three)
        .expect("nothing is in its way");
    // The same decided share, by the run that was overtaken: it is there already.
    old.apply(CheckpointId(3), &three).expect("it is done");
    let four = share(&mut new, 4);
    new.apply(CheckpointId(4), &four)
        .expect("nothing is in its way");
    let five = share(&mut old, 5);
    let error = old
        .apply(CheckpointId(5), &five)
        .expect_err("overtaken")
        .to_string();
    assert!(
        error.contains("its marker stands at checkpoint 4"),
        "{error}"
    );
    assert_eq!(text.rows(), [0, 1, 2, 3, 4]);
    let error = text.follower(&text.opening(false, None), "other").err();
    let error = error.expect("another sink's file").to_string();
    assert!(
        error.contains("belongs to sink `sink` of job `job`"),
        "{error}"
    );
}

#[test]
fn a_share_that_does_not_begin_where_the_file_ends_is_refused() {
    let text = Text::json();
    drop(text.applied(true));
    for since in [Some(1), None, Some(3)] {
        let mut follower = text
            .follower(&text.opening(false, since), "sink")
            .expect("opens");
        let share = follower.share(CheckpointId(4)).expect("there is room");
        let error = follower
            .apply(CheckpointId(4), &share)
            .expect_err("a gap")
            .to_string();
        assert!(error.contains("those up to checkpoint 2"), "{error}");
    }
}

#[test]
fn other_columns_cannot_follow_a_header() {
    let text = Text::csv();
    drop(text.applied(true));
    let spec = FileSpec {
        sink: "sink",
        path: &text.path(),
        format: &text.format,
    };
    let rows = crate::format::testing::json_rows(&[("m", "u64")], "");
    let metadata = Metadata::new(&rows.schema(), &[], "job");
    let error = FileFollower::open(&spec, metadata, &text.opening(false, Some(2))).err();
    let error = error.expect("another column").to_string();
    assert!(
        error.contains("columns n, and the pipeline writes m"),
        "{error}"
    );
}

#[test]
fn large_shares_are_written_line_by_line_in_bounded_pieces() {
    let text = Text::json();
    let mut follower = text.applied(true);
    text.disk.0.lock().ends.clear();
    let rows = 3 + 400_000;
    for first in (3..rows).step_by(10_000) {
        follower
            .write(&model::batch(first, 10_000.min(rows - first)))
            .expect("there is room");
    }
    let share = follower.share(CheckpointId(3)).expect("there is room");
    assert!(
        matches!(share.objects[..], [Spooled::File(..)]),
        "too much for memory"
    );
    follower
        .apply(CheckpointId(3), &share)
        .expect("nothing is in its way");
    assert_eq!(text.rows(), (0..rows).collect::<Vec<_>>());
    let bytes = text.text().into_bytes();
    let ends = std::mem::take(&mut text.disk.0.lock().ends);
    let (_commit, ends) = ends.split_last().expect("the commit log is written last");
    assert!(ends.len() > 3);
    for end in ends {
        assert_eq!(bytes[*end as usize - 1], b'\n');
    }
}

#[test]
fn pipes_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let spec = FileSpec {
        sink: "sink",
        path: Path::new("/dev/null"),
        format: &EncodeSpec::Json(EncodeJson::default()),
    };
    let metadata = Metadata::new(&model::batch(0, 0).rows.schema(), &[], "job");
    let opening = Opening {
        job: "job",
        fence: Fence {
            attempt: AttemptId(1),
            begun_us: 1,
        },
        is_fresh: true,
        since: None,
        is_detour: false,
        spool: folder.path(),
    };
    let error = FileFollower::open(&spec, metadata, &opening).err();
    let error = error.expect("a device").to_string();
    assert!(error.contains("delivery: at-least-once"), "{error}");
}

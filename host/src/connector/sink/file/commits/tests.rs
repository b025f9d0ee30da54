use super::*;
use crate::connector::sink::file::disk::LocalDisk;

fn commit(checkpoint: u64) -> Commit {
    Commit {
        checkpoint: CheckpointId(checkpoint),
        offset: (checkpoint - 1) * 10,
        bytes: 10,
        digest: Digest::of(&checkpoint.to_le_bytes()),
    }
}

/// A log with so many commits.
fn log(folder: &Path, commits: u64) -> PathBuf {
    let path = folder.join("log");
    let owner = Owner::new("job", "sink", "a,\"check\":\"b\n".into());
    CommitLog::create(&mut LocalDisk, &path, &owner).expect("it is ours");
    for checkpoint in 1..=commits {
        let mut log = held(&path);
        log.append(&mut LocalDisk, commit(checkpoint))
            .expect("it is ours");
    }
    path
}

fn held(path: &Path) -> CommitLog {
    let log = CommitLog::hold(path).unwrap_or_else(|error| panic!("{error}"));
    log.expect("it is there")
}

#[test]
fn the_lines_are_as_documented() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = std::fs::read_to_string(log(folder.path(), 1)).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            concat!(
                r#"{"commits":1,"job":"job","sink":"sink","header":"a,\"check\":\"b\n","#,
                r#""check":"e10c9f4ea90e752c"}"#
            ),
            concat!(
                r#"{"checkpoint":1,"offset":0,"bytes":10,"#,
                r#""digest":"7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8","#,
                r#""check":"04450edc813387cd"}"#
            )
        ]
    );
}

#[test]
fn a_torn_last_line_does_not_count_and_gives_way() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = log(folder.path(), 3);
    let whole = std::fs::read(&path).expect("the log");
    let two = std::fs::read(log(folder.path(), 2)).expect("the log").len();
    for len in two..whole.len() {
        std::fs::write(&path, &whole[..len]).expect("it is ours");
        assert_eq!(held(&path).last, Some(commit(2)), "{len}");
    }
    let zeros = [&whole[..two], &[0; 300]].concat();
    std::fs::write(&path, zeros).expect("it is ours");
    held(&path)
        .append(&mut LocalDisk, commit(3))
        .expect("it is ours");
    assert_eq!(std::fs::read(&path).expect("the log"), whole);
}

#[test]
fn a_flipped_bit_is_damage_or_takes_the_last_line_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let two = std::fs::read(log(folder.path(), 2)).expect("the log").len();
    let path = log(folder.path(), 3);
    let whole = std::fs::read(&path).expect("the log");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        std::fs::write(&path, bytes).expect("it is ours");
        match CommitLog::hold(&path) {
            Ok(Some(log)) => assert!(at >= two && log.last == Some(commit(2)), "{at}"),
            Ok(None) => panic!("it is there"),
            Err(error) => assert!(at < two && error.to_string().contains("damaged"), "{error}"),
        }
    }
}

#[test]
fn it_is_held_by_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = log(folder.path(), 1);
    let first = held(&path);
    let error = CommitLog::hold(&path).expect_err("it is held").to_string();
    assert!(error.contains("another process is writing to"), "{error}");
    drop(first);
    held(&path);
}

#[test]
fn a_long_log_keeps_its_last_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = log(folder.path(), 1000);
    let mut log = held(&path);
    assert_eq!(log.last, Some(commit(1000)));
    assert_eq!(log.owner.job, "job");
    assert!(log.end < LOG_BYTES_MAX);
    log.settle(&mut LocalDisk).expect("it is ours");
    drop(log);
    assert_eq!(held(&path).last, Some(commit(1000)));
}

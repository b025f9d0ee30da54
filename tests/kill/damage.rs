//! Files of real checkpoints with a flipped bit, or cut short: the job goes on and brings out what
//! it should, or refuses with the file's name. It never goes on with wrong state.

use std::fs;
use std::path::{Path, PathBuf};

use wasmill_tests::{Difference, Random, kill::report};

use crate::feed::Feeder;
use crate::job::{Backend, Job};
use crate::number;
use crate::run::compare;

/// How long the job runs before its files are damaged, in milliseconds.
const LIFE: u64 = 2_500;

#[test]
fn a_damaged_file_is_refused_with_its_name_or_does_not_matter() {
    let (damages, seed) = (number("KILL_DAMAGES", 24), number("KILL_SEED", 1));
    let mut random = Random(seed);
    let job = Job::new(Backend("memory"));
    let feeder = Feeder::start(&job.input(), seed);
    job.start(2, true, None).kill_after(LIFE);
    let fed = feeder.stop();
    let (mut refused, mut harmless) = (0, 0);
    for _ in 0..damages {
        let copy = job.copy();
        // Only the newer version tells of each account in the end.
        copy.use_ledger(2);
        let checkpoints = copy.folder().join("checkpoints");
        let files = files(&checkpoints.join("default"));
        let file = random.pick(&files);
        let name = file.strip_prefix(&checkpoints).expect("it lies there");
        let name = name.to_str().expect("names are text").to_owned();
        let what = damage(file, &mut random);
        let mut process = copy.start(1 + random.below(3), false, None);
        let status = process.wait("an end of whatever kind");
        let said = process.said();
        match status.code() {
            Some(0) => {
                let difference = compare(&copy, &fed);
                assert_eq!(
                    difference,
                    Difference::default(),
                    "{what} in {name}: {said}"
                );
                harmless += 1;
            }
            Some(1) => {
                assert!(said.contains(&name), "{what} in {name}: {said}");
                refused += 1;
            }
            other => panic!("{what} in {name}: {other:?}: {said}"),
        }
    }
    report(&format!(
        "kill, damage: {refused} files refused with their names, {harmless} did not matter, \
         seed {seed}"
    ));
    assert!(refused > 0, "nothing was refused");
}

/// All files below a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("the job has made it") {
        let path = entry.expect("it can be read").path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all.sort();
    all
}

fn damage(file: &Path, random: &mut Random) -> &'static str {
    let mut bytes = fs::read(file).expect("it can be read");
    let at = random.below(bytes.len().max(1) as u64) as usize;
    let what = match random.below(2) {
        0 if !bytes.is_empty() => {
            bytes[at] ^= 1 << random.below(8);
            "a flipped bit"
        }
        _ => {
            bytes.truncate(at);
            "a truncated file"
        }
    };
    fs::write(file, bytes).expect("it can be written");
    what
}

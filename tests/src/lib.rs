//! What tests from outside share: where things lie, servers, numbers by seed, oracles.

mod difference;
pub mod folds;
mod guard;
pub mod kafka;
pub mod kill;
pub mod postgres;
mod random;
pub mod s3;
pub mod sales;
mod signal;

use std::path::PathBuf;

pub use difference::Difference;
pub use guard::{guarded, run_guarded};
pub use random::Random;
pub use signal::{Signal, signal};

/// The repository's root.
///
/// # Panics
///
/// Never: this package stands in a folder of the root.
pub fn root() -> PathBuf {
    let tests = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    tests.parent().expect("a folder of the root").to_path_buf()
}

/// The folder of the programs that this build made, `wasmill` among them.
///
/// # Panics
///
/// If `wasmill` is not there: `cargo xtask test` builds it before the tests run.
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    let programs = test
        .ancestors()
        .nth(2)
        .expect("tests stand in `deps`")
        .to_path_buf();
    let wasmill = programs.join("wasmill");
    assert!(
        wasmill.is_file(),
        "{} is missing: run `cargo xtask test`",
        wasmill.display()
    );
    programs
}

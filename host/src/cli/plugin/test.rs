//! `wasmill plugin test`: builds the plugin and holds it against its fixtures.

use std::path::{Path, PathBuf};

use super::{TestArguments, build, fixture, fixture::Fixture};
use crate::cli::{self, failure::Failure};
use crate::plugin_store::{self, Loaded};

pub(super) fn run(arguments: &TestArguments) -> Result<(), Failure> {
    let component = match &arguments.plugin {
        Some(component) => component.clone(),
        None => build::build(&arguments.folder)?,
    };
    let engine = plugin_store::engine().map_err(Failure::failed)?;
    let loaded = plugin_store::load(&engine, &component).map_err(Failure::invalid)?;
    let fixtures = fixtures(&arguments.folder)?;
    let (mut passed, mut failed, mut unread) = (0, 0, Vec::new());
    for path in &fixtures {
        match fixture::read(path) {
            Ok(fixture) => match one(path, fixture, &loaded)? {
                true => passed += 1,
                false => failed += 1,
            },
            Err(mistakes) => unread.push(mistakes),
        }
    }
    let unreadable = match unread.len() {
        0 => String::new(),
        count => format!(", {count} cannot be read"),
    };
    cli::print(&format!("{passed} passed, {failed} failed{unreadable}\n"))?;
    if !unread.is_empty() {
        return Err(Failure::Invalid(unread.join("\nwasmill: ")));
    }
    if failed > 0 {
        let fixtures = cli::count(failed as u64, "fixture");
        return Err(Failure::Failed(format!("{fixtures} failed")));
    }
    Ok(())
}

/// Runs one fixture and tells how it went.
fn one(path: &Path, fixture: Fixture, loaded: &Loaded) -> Result<bool, Failure> {
    let shown = path.display();
    let name = fixture.name.clone();
    let outcome = fixture::run(fixture, loaded);
    match &outcome {
        Ok(()) => cli::print(&format!("ok     {shown}: {name}\n"))?,
        Err(message) => {
            let message = message.replace('\n', "\n       ");
            cli::print(&format!("failed {shown}: {name}\n       {message}\n"))?;
        }
    }
    Ok(outcome.is_ok())
}

/// The fixtures of a plugin's folder, `tests/*.json` and `tests/*.yaml`, by name.
fn fixtures(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let tests = folder.join("tests");
    let entries = tests.read_dir().map_err(|error| {
        let tests = tests.display();
        Failure::Invalid(format!(
            "`{tests}` cannot be read: {error}; put fixtures there"
        ))
    })?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut fixtures: Vec<PathBuf> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end == "json" || end == "yaml")
        })
        .collect();
    fixtures.sort();
    if fixtures.is_empty() {
        let tests = tests.display();
        let message =
            format!("there is no fixture in `{tests}`: put one there, NAME.json or NAME.yaml");
        return Err(Failure::Invalid(message));
    }
    Ok(fixtures)
}

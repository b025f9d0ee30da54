//! From a path to a sound pipeline.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use wasmill_core::pipeline::{self, Pipeline};

use super::failure::{Failure, chain};
use crate::plugin_store::{self, PluginStore};

/// A pipeline and what it runs.
pub(super) struct Loaded {
    pub(super) pipeline: Pipeline,
    pub(super) plugins: PluginStore,
    /// The document's folder, which the paths in it are relative to.
    pub(super) folder: PathBuf,
}

/// Reads and validates a document; every mistake is one line, with file, line and column.
pub(super) fn load(path: &Path) -> Result<Loaded, Failure> {
    let text = read(path)?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let engine = plugin_store::engine().map_err(Failure::failed)?;
    let plugins = PluginStore::new(engine, &folder);
    let find = |reference: &str| {
        let loaded = plugins.load(reference).map_err(|error| chain(&error))?;
        Ok(Arc::clone(&loaded.descriptor))
    };
    let pipeline = pipeline::parse(&text)
        .and_then(|written| written.validate(&find))
        .map_err(|errors| {
            let lines = errors
                .0
                .iter()
                .map(|error| placed(path, &error.to_string()));
            Failure::Invalid(lines.collect::<Vec<_>>().join("\nwasmill: "))
        })?;
    for warning in &pipeline.warnings {
        let warning = placed(path, &warning.to_string());
        super::complain(&format!("wasmill: warning: {warning}"));
    }
    Ok(Loaded {
        pipeline,
        plugins,
        folder,
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Failure::Invalid(placed(path, " the file is not UTF-8 text")),
        _ => Failure::Invalid(placed(path, &format!(" cannot be read: {error}"))),
    })
}

/// A message about the document; one about a place in it begins with line and column.
fn placed(path: &Path, message: &str) -> String {
    format!("{}:{message}", path.display())
}

/// The parallelism of a run: as asked for, as the document says, or the number of cores.
pub(super) fn parallelism(pipeline: &Pipeline, asked: Option<usize>) -> usize {
    asked
        .or(pipeline.parallelism)
        .or_else(|| thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1)
}

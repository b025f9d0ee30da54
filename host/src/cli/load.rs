//! From a path to a sound pipeline.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use wasmill_core::{
    pipeline::{
        self, Limits, OperatorKind, Pipeline, Written,
        document::{Brokers, ClientOptions, OneOrMore, SourceDocument},
    },
    tree,
};

use super::failure::{Failure, chain};
use crate::{
    connector::{
        file::FileSource,
        kafka::{self, KafkaError},
    },
    operator,
    plugin_store::{self, PluginStore},
    secret,
    wasm::{CallError, block_on},
    window,
};

/// A pipeline and what it runs.
pub(super) struct Loaded {
    pub(super) pipeline: Pipeline,
    pub(super) plugins: PluginStore,
    /// The document's folder, which the paths in it are relative to.
    pub(super) folder: PathBuf,
}

/// Whether a command needs the files that a pipeline reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Inputs {
    Needed,
    /// As for `Needed`, but secrets may be missing: they are told at the place where it runs.
    Looked,
    Unread,
}

/// Reads and validates a document; every mistake is one line, with file, line and column.
pub(super) fn load(path: &Path, inputs: Inputs) -> Result<Loaded, Failure> {
    let text = read(path)?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let engine = plugin_store::engine().map_err(Failure::failed)?;
    let plugins = PluginStore::new(engine, &folder);
    let find = |reference: &str| {
        let loaded = plugins.load(reference).map_err(|error| chain(&error))?;
        Ok(Arc::clone(&loaded.descriptor))
    };
    let pipeline = pipeline::parse(&text)
        .and_then(|mut written| {
            if inputs != Inputs::Unread {
                missing_files(&mut written, &folder);
                own_inputs(&mut written, &folder);
                wrong_options(&mut written);
                missing_secrets(&mut written, |message| match inputs {
                    Inputs::Needed => true,
                    _ => {
                        let message = placed(path, &format!(" {message}"));
                        super::complain(&format!("wasmill: warning: {message}"));
                        false
                    }
                });
            }
            let pipeline = written.validate(&find)?;
            if inputs != Inputs::Unread && refused(&mut written, &pipeline, &plugins) {
                return written.validate(&find);
            }
            Ok(pipeline)
        })
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

/// Notes the paths of sources that lead to no file.
fn missing_files(written: &mut Written, folder: &Path) {
    let mut missing = Vec::new();
    for (name, source) in &written.document().sources {
        let Some(file) = &source.file else { continue };
        let path = tree::Path::keys(&["sources", name, "file", "path"]);
        for (at, error) in FileSource::new(file, folder).check() {
            let path = match file.path {
                OneOrMore::One(_) => path.clone(),
                OneOrMore::More(_) => path.index(at),
            };
            missing.push((path, chain(&error)));
        }
    }
    for (path, message) in missing {
        written.wrong(&path, message, None);
    }
}

/// Notes the sinks whose files the pipeline reads.
fn own_inputs(written: &mut Written, folder: &Path) {
    let document = written.document();
    let mut wrong = Vec::new();
    for (name, sink) in &document.sinks {
        let Some(file) = &sink.file else { continue };
        let reads = |source: &SourceDocument| {
            let file_of = source.file.as_ref().map(|it| FileSource::new(it, folder));
            file_of.is_some_and(|it| it.reads(Path::new(&file.path)))
        };
        if let Some((source, _)) = document.sources.iter().find(|(_, it)| reads(it)) {
            let path = tree::Path::keys(&["sinks", name, "file", "path"]);
            wrong.push((path, format!("source `{source}` reads this file")));
        }
    }
    for (path, message) in wrong {
        written.wrong(&path, message, Some("write into another one".into()));
    }
}

/// Notes the plugins that do not start with what the document gives them; says whether there are
/// any.
fn refused(written: &mut Written, pipeline: &Pipeline, plugins: &PluginStore) -> bool {
    let mut is_any = false;
    let mut start = |path: tree::Path, used: (&str, String, &Limits)| {
        let (plugin, context, limits) = used;
        let Ok(loaded) = plugins.load(plugin) else {
            return;
        };
        let started = operator::try_start(loaded.plugin.clone(), context, limits);
        if let Err(error) = block_on(started) {
            let field = match error {
                CallError::Limit { .. } => "limits",
                _ => "config",
            };
            let message = format!("the plugin does not start: {}", chain(&error));
            let remedy = "mend its `config` or its `limits`";
            written.wrong(&path.key(field), message, Some(remedy.into()));
            is_any = true;
        }
    };
    for operator in &pipeline.operators {
        let name = &operator.name;
        match &operator.kind {
            OperatorKind::Plugin(used) => {
                let context = operator::first_context(name, used);
                let path = tree::Path::keys(&["operators", name]);
                start(path, (&used.plugin, context, &used.limits));
            }
            OperatorKind::Window(windowing) => {
                for (aggregate, used) in windowing.plugins() {
                    let names = (&**name, &*aggregate.name);
                    let context = window::first_context(names, used);
                    let keys = ["operators", name, "aggregates", &aggregate.name];
                    start(
                        tree::Path::keys(&keys),
                        (&used.plugin, context, &used.limits),
                    );
                }
            }
            OperatorKind::Join(_) => {}
        }
    }
    is_any
}

/// Notes the options of Kafka's client that it does not take, and what is no address of a broker
/// where the document says that one is to be found.
fn wrong_options(written: &mut Written) {
    let mut wrong = Vec::new();
    let mut check = |kind: &str, name: &str, (brokers, options): (&Brokers, &ClientOptions)| {
        let path = tree::Path::keys(&[kind, name, "kafka"]);
        // What is not there is told among the secrets.
        if let Err(error @ KafkaError::Address { .. }) = kafka::addresses(brokers) {
            wrong.push((path.key("brokers"), error.to_string()));
        }
        for (option, error) in kafka::wrong_options(options) {
            wrong.push((path.key("options").key(option), error.to_string()));
        }
    };
    for (name, source) in &written.document().sources {
        if let Some(topic) = &source.kafka {
            check("sources", name, (&topic.brokers, &topic.options));
        }
    }
    for (name, sink) in &written.document().sinks {
        if let Some(topic) = &sink.kafka {
            check("sinks", name, (&topic.brokers, &topic.options));
        }
    }
    for (path, message) in wrong {
        written.wrong(&path, message, None);
    }
}

/// Finds the secrets that the document wants and that are not there: mistakes, if `is_wrong` says
/// so.
fn missing_secrets(written: &mut Written, is_wrong: impl Fn(&str) -> bool) {
    let mut missing = Vec::new();
    for (path, reference) in written.document().secrets() {
        if let Err(error) = secret::find(reference) {
            missing.push((path, chain(&error)));
        }
    }
    for (path, message) in missing {
        if is_wrong(&format!("{path}: {message}")) {
            written.wrong(&path, message, None);
        }
    }
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

//! From a document to a graph: names are resolved, every mistake is collected.

mod aggregated;
mod bound;
mod joined;
mod order;
mod parts;
mod shared;
mod windowed;

use std::collections::{HashMap, HashSet};

use super::document::{Document, OnError, OperatorDocument};
use super::{
    FindPlugin, InputBinding, Operator, Pipeline, PipelineError, PipelineErrors, Policy, Producer,
    Sink, SinkId, Source, SourceId, Spilling, Stream, StreamId, Written,
};
use crate::dead_letter;
use crate::json_schema::is_name;
use crate::spelling;
use crate::tree::{Node, Path};

pub(super) fn build(
    written: &Written,
    plugins: FindPlugin<'_>,
) -> Result<Pipeline, PipelineErrors> {
    let mut builder = Builder {
        document: &written.document,
        tree: &written.tree,
        marred: &written.marred,
        plugins,
        errors: written.mistakes.clone(),
        warnings: Vec::new(),
        streams: Vec::new(),
        by_name: HashMap::new(),
        broken: written.marred.clone(),
        dead_letters: HashMap::new(),
    };
    let pipeline = builder.pipeline();
    if builder.errors.is_empty() {
        return Ok(pipeline);
    }
    let mut errors = builder.errors;
    errors.sort_by_cached_key(|error| (error.position, error.to_string()));
    errors.dedup();
    Err(PipelineErrors(errors))
}

/// What is known while a document is read.
pub(super) struct Builder<'a> {
    pub(super) document: &'a Document,
    tree: &'a Node,
    /// What the document lacks something of: it is checked as far as that goes.
    marred: &'a HashSet<String>,
    plugins: FindPlugin<'a>,
    errors: Vec<PipelineError>,
    warnings: Vec<PipelineError>,
    pub(super) streams: Vec<Stream>,
    by_name: HashMap<String, StreamId>,
    /// Sources and operators that are wrong: what reads them is not blamed.
    broken: HashSet<String>,
    /// The stream and the number of each sink that takes dead letters.
    dead_letters: HashMap<String, StreamId>,
}

impl<'a> Builder<'a> {
    /// Sources, then operators, then sinks: each finds the streams that it reads. A warning about a
    /// document with mistakes would often be about the mistakes.
    fn pipeline(&mut self) -> Pipeline {
        self.names();
        self.dead_letter_streams();
        let sources = self.sources();
        let operators = self.operators();
        let mut sinks = self.sinks();
        self.distinct_places(&sinks);
        let checkpoint = self.checkpointing(&sources, &sinks);
        let restart = self.restart(checkpoint.as_ref());
        let takes_checkpoints = checkpoint.is_some();
        self.deliveries(&sources, &operators, (&mut sinks, takes_checkpoints));
        self.one_decider(&sinks);
        if self.errors.is_empty() {
            self.unused(&operators, &sinks);
        }
        Pipeline {
            name: self.document.name.clone(),
            parallelism: self.document.parallelism.map(|n| n as usize),
            checkpoint,
            spilling: self.document.state.as_ref().and_then(Spilling::of),
            restart,
            sources,
            operators,
            sinks,
            streams: std::mem::take(&mut self.streams),
            warnings: std::mem::take(&mut self.warnings),
        }
    }

    /// Notes a mistake.
    pub(super) fn wrong(&mut self, path: &Path, message: &str, remedy: Option<&str>) {
        let error = self.at(path, message, remedy);
        self.errors.push(error);
    }

    /// Notes what is allowed and most likely not meant.
    pub(super) fn warn(&mut self, path: &Path, message: &str, remedy: Option<&str>) {
        let warning = self.at(path, message, remedy);
        self.warnings.push(warning);
    }

    /// A message about a path, at the place in the text that it leads to.
    fn at(&self, path: &Path, message: &str, remedy: Option<&str>) -> PipelineError {
        PipelineError {
            position: self.tree.locate(path),
            path: path.clone(),
            message: message.into(),
            remedy: remedy.map(str::to_owned),
        }
    }

    /// The one of several fields that is given.
    pub(super) fn exactly_one(
        &mut self,
        path: &Path,
        what: &str,
        fields: &[(&'static str, bool)],
    ) -> Option<&'static str> {
        let given: Vec<&'static str> = fields
            .iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| *name)
            .collect();
        let all: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        match given.as_slice() {
            [one] => return Some(one),
            [] => {
                let remedy = format!("add one of {}", spelling::list(&all));
                self.wrong(path, &format!("{what} needs a kind"), Some(&remedy));
            }
            [_, second, ..] => {
                let message = format!("{what} has one kind, here stand {}", spelling::list(&given));
                self.wrong(&path.key(second), &message, Some("keep one of them"));
            }
        }
        None
    }

    /// Sources, operators and sinks have names of their own.
    fn names(&mut self) {
        let document = self.document;
        let rooms = [
            ("sources", document.sources.keys().collect::<Vec<_>>()),
            ("operators", document.operators.keys().collect()),
            ("sinks", document.sinks.keys().collect()),
        ];
        let mut seen: HashMap<&str, &str> = HashMap::new();
        for (room, names) in &rooms {
            for name in names {
                let path = Path::keys(&[room, name]);
                if !is_name(name) {
                    let remedy = "use a to z, 0 to 9, - and _, beginning with a letter";
                    self.wrong(&path, &format!("`{name}` is not a name"), Some(remedy));
                }
                if let Some(other) = seen.insert(name, room) {
                    let message = format!("there is a `{name}` in `{other}` already");
                    self.wrong(&path, &message, Some("choose another name"));
                }
            }
        }
        if document.sources.is_empty() {
            let remedy = "add a source";
            self.wrong(
                &Path::keys(&["sources"]),
                "there are no sources",
                Some(remedy),
            );
        }
    }

    /// Adds a stream under its name.
    fn stream(&mut self, stream: Stream) -> StreamId {
        let id = StreamId(self.streams.len());
        self.by_name.insert(stream.name.clone(), id);
        self.streams.push(stream);
        id
    }

    /// Sinks without `input` take dead letters. Their streams come first: sources and operators
    /// name them before the sinks themselves are looked at. No `input`
    /// can name them.
    fn dead_letter_streams(&mut self) {
        for (index, (name, sink)) in self.document.sinks.iter().enumerate() {
            if sink.input.is_none() {
                let id = StreamId(self.streams.len());
                self.streams.push(Stream {
                    name: format!("dead letters of {name}"),
                    schema: dead_letter::schema(),
                    has_time: false,
                    is_changelog: false,
                    producer: Producer::DeadLetters(SinkId(index)),
                });
                self.dead_letters.insert(name.clone(), id);
            }
        }
    }

    /// The sources, each with its stream and, where it has event time, that of its late rows.
    fn sources(&mut self) -> Vec<Source> {
        let mut sources = Vec::new();
        let mut stdin: Option<&str> = None;
        for (name, document) in &self.document.sources {
            let path = Path::keys(&["sources", name]);
            if document.stdin.is_some()
                && let Some(other) = stdin.replace(name)
            {
                let message = format!("`{other}` reads standard input already");
                self.wrong(&path.key("stdin"), &message, Some("read it once"));
            }
            let on_error = self.policy(&path, document.on_error.as_ref());
            if self.marred.contains(name) {
                continue;
            }
            let Some(mut source) = self.source(name, document) else {
                self.broken.insert(name.clone());
                continue;
            };
            let id = SourceId(sources.len());
            source.on_error = on_error;
            let stream = |suffix: &str, producer| Stream {
                name: format!("{name}{suffix}"),
                schema: source.schema.clone(),
                has_time: source.event_time.is_some(),
                is_changelog: source.kind.is_changelog(),
                producer,
            };
            let late = stream(".late", Producer::SourceLate(id));
            source.stream = self.stream(stream("", Producer::Source(id)));
            source.late = source.event_time.is_some().then(|| self.stream(late));
            sources.push(source);
        }
        sources
    }

    /// Where rows that fail go. A sink that was cut out is not missed.
    fn policy(&mut self, path: &Path, on_error: Option<&OnError>) -> Policy {
        let name = match on_error {
            None | Some(OnError::Fail) => return Policy::Fail,
            Some(OnError::Skip) => return Policy::Skip,
            Some(OnError::DeadLetter(name)) => name,
        };
        let path = path.key("on-error").key("dead-letter");
        if let Some(stream) = self.dead_letters.get(name) {
            return Policy::DeadLetter(*stream);
        }
        if self.document.sinks.contains_key(name) {
            let message = format!("`{name}` has an `input`, and dead letters have other columns");
            self.wrong(&path, &message, Some("use a sink without `input`"));
        } else if !self.marred.contains(name) {
            let targets = self.dead_letters.keys().map(String::as_str);
            let hint = spelling::hint(name, targets)
                .unwrap_or_else(|| "add a sink of that name without `input`".into());
            self.wrong(&path, &format!("there is no sink `{name}`"), Some(&hint));
        }
        Policy::Fail
    }

    /// The operators, producers first: a stream's columns are known when it is read.
    fn operators(&mut self) -> Vec<Operator> {
        let mut operators = Vec::new();
        for name in order::order(self) {
            let document = &self.document.operators[&name];
            match self.operator(operators.len(), &name, document) {
                Some(operator) => operators.push(operator),
                None => {
                    self.broken.insert(name);
                }
            }
        }
        operators
    }

    /// The stream of a name; none, with the mistake noted, if there is none.
    fn find(&mut self, path: &Path, name: &str) -> Option<StreamId> {
        if let Some(id) = self.by_name.get(name) {
            return Some(*id);
        }
        let producer = name.split('.').next().unwrap_or(name);
        if self.broken.contains(producer) {
            return None;
        }
        let message = match self.document.operators.contains_key(name) {
            true => format!("the operator `{name}` emits nothing"),
            false => format!("there is no stream `{name}`"),
        };
        let mut names: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
        names.sort_unstable();
        let hint = match name.split_once('.') {
            Some((_, "late")) if self.by_name.contains_key(producer) => {
                let hint = "only sources with `event-time`, windows, and operators with `order: \
                            event-time` have late rows";
                Some(hint.into())
            }
            _ => spelling::hint(name, names),
        };
        self.wrong(path, &message, hint.as_deref());
        None
    }

    /// The sinks; that of dead letters reads the stream that was made for it.
    fn sinks(&mut self) -> Vec<Sink> {
        let mut sinks = Vec::new();
        for (name, document) in &self.document.sinks {
            let path = Path::keys(&["sinks", name, "input"]);
            let mut inputs = Vec::new();
            match &document.input {
                None => inputs.extend(self.dead_letters.get(name)),
                Some(input) => inputs.extend(self.find_all(&path, input.iter())),
            }
            if !self.marred.contains(name) {
                sinks.extend(self.sink(name, document, inputs));
            }
        }
        sinks
    }

    /// The streams of a list, each once.
    fn find_all<'n>(&mut self, path: &Path, names: impl Iterator<Item = &'n str>) -> Vec<StreamId> {
        let (mut found, mut is_empty) = (Vec::new(), true);
        for (index, name) in names.enumerate() {
            is_empty = false;
            let listed = path.index(index);
            let path = if self.tree.at(&listed).is_some() {
                &listed
            } else {
                path
            };
            match self.find(path, name) {
                Some(id) if found.contains(&id) => {
                    self.wrong(
                        path,
                        &format!("`{name}` stands twice"),
                        Some("name it once"),
                    );
                }
                Some(id) => found.push(id),
                None => {}
            }
        }
        if is_empty {
            self.wrong(
                path,
                "the list of streams is empty",
                Some("name at least one"),
            );
        }
        found
    }

    /// Streams that nobody reads are allowed, and mostly a mistake.
    fn unused(&mut self, operators: &[Operator], sinks: &[Sink]) {
        let mut used: HashSet<StreamId> = sinks
            .iter()
            .flat_map(|sink| sink.inputs.iter().copied())
            .filter(|id| !matches!(self.streams[id.0].producer, Producer::DeadLetters(_)))
            .collect();
        used.extend(
            operators
                .iter()
                .flat_map(|op| op.inputs.iter().map(|input| input.stream)),
        );
        let policies = self
            .document
            .sources
            .values()
            .map(|source| &source.on_error);
        let policies = policies.chain(self.document.operators.values().map(|op| &op.on_error));
        let targets: HashSet<&str> = policies
            .filter_map(|policy| match policy {
                Some(OnError::DeadLetter(name)) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        for index in 0..self.streams.len() {
            let stream = self.streams[index].clone();
            let producer = stream.name.split('.').next().unwrap_or_default();
            let (path, message) = match stream.producer {
                Producer::DeadLetters(sink) => {
                    let name = &sinks[sink.0].name;
                    if targets.contains(name.as_str()) {
                        continue;
                    }
                    let message = format!("no dead letters go to `{name}`");
                    (Path::keys(&["sinks", name]), message)
                }
                Producer::OperatorLate(id) => {
                    self.unread_late(&operators[id.0], StreamId(index), &used);
                    continue;
                }
                Producer::SourceLate(_) => continue,
                _ if used.contains(&StreamId(index)) => continue,
                Producer::Source(_) => {
                    let message = format!("nobody reads `{}`", stream.name);
                    (Path::keys(&["sources", producer]), message)
                }
                Producer::Output(..) => {
                    let message = format!("nobody reads `{}`", stream.name);
                    (Path::keys(&["operators", producer]), message)
                }
            };
            self.warn(&path, &message, None);
        }
    }

    /// Late rows that an operator leaves out and nobody reads, neither here nor at their sources,
    /// are lost: only a number in the summary tells of them.
    fn unread_late(&mut self, operator: &Operator, late: StreamId, used: &HashSet<StreamId>) {
        let is_read = |input: &InputBinding| match self.streams[input.stream.0].producer {
            Producer::Source(source) => self.streams.iter().enumerate().any(|(index, stream)| {
                stream.producer == Producer::SourceLate(source) && used.contains(&StreamId(index))
            }),
            _ => false,
        };
        // Of a join each side has late rows of its own.
        let is_right = operator.late_right == Some(late);
        let sides = match operator.late_right {
            Some(_) => &operator.inputs[usize::from(is_right)..][..1],
            None => &operator.inputs[..],
        };
        if used.contains(&late) || sides.iter().all(is_read) {
            return;
        }
        let late = self.streams[late.0].name.clone();
        let message = format!("rows that come late are left out, and nobody reads `{late}`");
        let remedy = format!("give a sink `input: {late}`, if only `discard: {{}}`");
        let path = Path::keys(&["operators", &operator.name]);
        self.warn(&path, &message, Some(&remedy));
    }

    fn operator(
        &mut self,
        index: usize,
        name: &str,
        document: &'a OperatorDocument,
    ) -> Option<Operator> {
        let kinds = [
            ("plugin", document.plugin.is_some()),
            ("window", document.window.is_some()),
            ("join", document.join.is_some()),
        ];
        let is_marred = self.marred.contains(name);
        if is_marred && kinds.iter().all(|(_, is_given)| !is_given) {
            // The very field that says what it is may be what was cut out.
            return None;
        }
        let path = Path::keys(&["operators", name]);
        self.exactly_one(&path, "an operator", &kinds)?;
        let built = match (&document.window, &document.join) {
            (Some(window), _) => windowed::operator(self, (index, name), (document, window)),
            (None, Some(join)) => joined::operator(self, (index, name), (document, join)),
            (None, None) => return bound::operator(self, index, name, document),
        };
        built.filter(|_| !is_marred)
    }
}

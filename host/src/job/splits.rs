//! The splits of a source, opened one after the other by its readers.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use wasmill_core::pipeline::{self, document::FileSource as FileDocument};

use crate::{
    connector::{
        ConnectorError, Position, SplitReader, Waiter,
        file::{self, FileSource, FileSplit, RowOptions},
    },
    format::framing::Framing,
    metrics::{Extent, SourceMetrics},
    spawn,
};

/// Files of a source that are read at the same time; files that are followed, at most.
const FILES_AT_ONCE: usize = 16;
/// Between two looks at what may have grown.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A split that is opened.
pub(super) struct Opened {
    /// Its number.
    pub split: u32,
    /// Its name.
    pub name: String,
    /// Where it is read from.
    pub from: Position,
    /// Its reader, or why it cannot be read.
    pub reader: Result<Box<dyn SplitReader>, ConnectorError>,
}

/// The splits of a source.
pub(super) struct Splits {
    /// How many there are at the start.
    pub count: u32,
    /// How many readers share them.
    pub at_once: usize,
    /// The next one; none when there are no more. May wait for new ones.
    pub open: Box<dyn FnMut() -> Option<Opened> + Send>,
}

/// The files of a source.
///
/// Those that a checkpoint knows go on where they were; `known` tells where that is, by name.
///
/// # Errors
/// If a path matches nothing or cannot be looked at.
pub(super) fn files(
    document: &FileDocument,
    format: &pipeline::Format,
    ((folder, known), metrics): ((&Path, BTreeMap<String, Position>), &Arc<SourceMetrics>),
    stopping: Arc<AtomicBool>,
) -> Result<Splits, ConnectorError> {
    let follow = document.follow;
    let mut source = FileSource::new(document, folder);
    source.number(known.iter().map(|(name, at)| (name.clone(), at.split)));
    let mut found: VecDeque<_> = source.discover()?.into();
    let numbers = known.values().map(|at| at.split);
    let numbers = numbers.chain(found.iter().map(|found| found.split));
    let count = numbers.max().map_or(0, |last| last.saturating_add(1));
    let at_once = if follow {
        FILES_AT_ONCE
    } else {
        FILES_AT_ONCE.min(found.len())
    };
    let options = RowOptions::new(Framing::of(format));
    let metrics = Arc::clone(metrics);
    found
        .iter()
        .for_each(|split| measure(&source, split, &metrics));
    let open = move || loop {
        if let Some(split) = found.pop_front() {
            let name = file::split_name(&split.path);
            let start = Position::start(split.split);
            let from = known.get(&name).copied().unwrap_or(start);
            if from.is_end {
                continue;
            }
            let waiter = follow.then(|| Box::new(Pause(stopping.clone())) as Box<dyn Waiter>);
            return Some(Opened {
                split: split.split,
                name,
                from,
                reader: source.open(&split, options, waiter, from),
            });
        }
        if !follow || !Pause(stopping.clone()).wait() {
            return None;
        }
        match source.discover() {
            Ok(new) => {
                new.iter()
                    .for_each(|split| measure(&source, split, &metrics));
                found.extend(new);
            }
            Err(error) => {
                return Some(Opened {
                    split: u32::MAX,
                    name: String::new(),
                    from: Position::default(),
                    reader: Err(error),
                });
            }
        }
    };
    Ok(Splits {
        count,
        at_once,
        open: Box::new(open),
    })
}

/// Tells how long a file is, where its bytes are those that are counted.
fn measure(source: &FileSource, split: &FileSplit, metrics: &SourceMetrics) {
    let metrics = metrics.split(&file::split_name(&split.path));
    if !source.is_packed(&split.path) {
        metrics.measure(Extent::File(split.path.clone()));
    }
}

/// Standard input.
pub(super) fn stdin(format: &pipeline::Format) -> Splits {
    let mut reader = Some(file::open_stdin(RowOptions::new(Framing::of(format))));
    Splits {
        count: 1,
        at_once: 1,
        open: Box::new(move || {
            Some(Opened {
                split: 0,
                name: "stdin".into(),
                from: Position::default(),
                reader: Ok(reader.take()?),
            })
        }),
    }
}

/// Waits a little while, unless the job stops.
struct Pause(Arc<AtomicBool>);

impl Waiter for Pause {
    fn wait(&mut self) -> bool {
        spawn::pause(LOOK_AGAIN);
        !self.0.load(Ordering::Acquire)
    }
}

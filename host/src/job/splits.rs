//! The splits of a source, opened one after the other by its readers.

use std::{
    collections::VecDeque,
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
        ConnectorError, SplitReader, Waiter,
        file::{self, FileSource, RowOptions},
    },
    format::framing::Framing,
    spawn,
};

/// Files of a source that are read at the same time; files that are followed, at most.
const FILES_AT_ONCE: usize = 16;
/// Between two looks at what may have grown.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A split and its reader, or why it cannot be read.
pub(super) type Opened = (u32, Result<Box<dyn SplitReader>, ConnectorError>);

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
/// # Errors
/// If a path matches nothing or cannot be looked at.
pub(super) fn files(
    document: &FileDocument,
    format: &pipeline::Format,
    folder: &Path,
    stopping: Arc<AtomicBool>,
) -> Result<Splits, ConnectorError> {
    let follow = document.follow;
    let mut source = FileSource::new(document, folder);
    let mut found: VecDeque<_> = source.discover()?.into();
    let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
    let at_once = if follow {
        FILES_AT_ONCE
    } else {
        FILES_AT_ONCE.min(found.len())
    };
    let options = RowOptions::new(Framing::of(format));
    let open = move || loop {
        if let Some(split) = found.pop_front() {
            let waiter = follow.then(|| Box::new(Pause(stopping.clone())) as Box<dyn Waiter>);
            return Some((split.split, source.open(&split, options, waiter)));
        }
        if !follow || !Pause(stopping.clone()).wait() {
            return None;
        }
        match source.discover() {
            Ok(new) => found.extend(new),
            Err(error) => return Some((u32::MAX, Err(error))),
        }
    };
    Ok(Splits {
        count,
        at_once,
        open: Box::new(open),
    })
}

/// Standard input.
pub(super) fn stdin(format: &pipeline::Format) -> Splits {
    let mut reader = Some(file::open_stdin(RowOptions::new(Framing::of(format))));
    Splits {
        count: 1,
        at_once: 1,
        open: Box::new(move || Some((0, Ok(reader.take()?)))),
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

//! What the host lends to an operator: the imports of the contract in a component, a stand-in in
//! native tests.

#[cfg(not(target_arch = "wasm32"))]
use crate::{Level, Malformed};

/// A directory and an arena, as they cross the boundary.
/// ```
/// use wasmill_sdk::native::Buffers;
/// // One row of input 0, whose column 0 is 7.
/// let row: Buffers = (vec![1 << 16, 0, 0, 1, 0, 1 << 16, 0, 2, 0, 8], vec![7]);
/// assert_eq!(row.0.len() % 5, 0, "five numbers an entry");
/// ```
#[allow(unreachable_pub, reason = "public where the operator runs natively")]
pub type Buffers = (Vec<u32>, Vec<u64>);

/// Stands in for the host where the operator runs natively: what a guest imports, as a trait. All
/// but maps has a stand-in that does nothing.
/// ```
/// use wasmill_sdk::native::{Buffers, Imports};
/// use wasmill_sdk::{Level, Malformed};
///
/// /// A host that keeps the log, and has no entries.
/// struct Log(Vec<String>);
///
/// impl Imports for Log {
///     fn log(&mut self, _: Level, line: &str) {
///         self.0.push(line.to_owned());
///     }
///
///     fn get_many(
///         &mut self, _: u32, _: bool, _: u32, _: Buffers,
///     ) -> Result<Buffers, Malformed> {
///         Ok((Vec::new(), Vec::new()))
///     }
/// }
/// let mut host = Log(Vec::new());
/// host.log(Level::Info, "begun");
/// assert_eq!(host.seed_of_row(7), 7);
/// assert_eq!(host.0, ["begun"]);
/// ```
#[cfg(not(target_arch = "wasm32"))]
pub trait Imports {
    /// Takes a line of the plugin's log. The host keeps it only while the call succeeds: lines of a
    /// call that fails go to the dead letters.
    fn log(&mut self, level: Level, line: &str) {
        let _ = (level, line);
    }

    /// Adds to a counter of the operator's own.
    fn count(&mut self, counter: &str, delta: u64) {
        let _ = (counter, delta);
    }

    /// The seed of a row of the call: the same whatever batch the row stands in.
    fn seed_of_row(&mut self, row: u32) -> u64 {
        u64::from(row)
    }

    /// The seed of a key of the call, from which those of its timers derive.
    fn seed_of_key(&mut self, key: u32) -> u64 {
        u64::from(key)
    }

    /// Answers a question for map entries (`all` = of the keys, whatever their map keys): `rows` is
    /// how many are asked for, question and answer are sections of state number `state`.
    ///
    /// # Errors
    /// If the question is malformed.
    fn get_many(
        &mut self,
        state: u32,
        all: bool,
        rows: u32,
        question: Buffers,
    ) -> Result<Buffers, Malformed>;
}

#[cfg(target_arch = "wasm32")]
mod imports {
    use super::Buffers;
    use crate::bindings::wasmill::operator::{log, metrics, random, state, types};
    use crate::{Level, Malformed};

    pub(crate) fn log(level: Level, line: &str) {
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, line);
    }

    pub(crate) fn count(counter: &str, delta: u64) {
        metrics::count(counter, delta);
    }

    pub(crate) fn seed_of_row(row: u32) -> u64 {
        random::of_row(row)
    }

    pub(crate) fn seed_of_key(key: u32) -> u64 {
        random::of_key(key)
    }

    pub(crate) fn get_many(
        state: u32,
        all: bool,
        rows: u32,
        (directory, arena): Buffers,
    ) -> Result<Buffers, Malformed> {
        let question = types::Buffers {
            rows,
            directory,
            arena,
        };
        let answer = match all {
            true => state::get_all(state, &question),
            false => state::get_many(state, &question),
        };
        Ok((answer.directory, answer.arena))
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod imports {
    use super::{Buffers, Imports};
    use crate::{Level, Malformed};
    use std::cell::RefCell;

    thread_local! {
        /// The stand-in of the instance that runs on this thread right now.
        static IMPORTS: RefCell<Option<Box<dyn Imports>>> = const { RefCell::new(None) };
    }

    fn with<T>(otherwise: T, call: impl FnOnce(&mut dyn Imports) -> T) -> T {
        IMPORTS.with_borrow_mut(|imports| match imports {
            Some(imports) => call(imports.as_mut()),
            None => otherwise,
        })
    }

    /// Puts a stand-in in place, and gives back the one before it.
    pub(crate) fn swap(imports: Option<Box<dyn Imports>>) -> Option<Box<dyn Imports>> {
        IMPORTS.replace(imports)
    }

    pub(crate) fn log(level: Level, line: &str) {
        with((), |imports| imports.log(level, line));
    }

    pub(crate) fn count(counter: &str, delta: u64) {
        with((), |imports| imports.count(counter, delta));
    }

    pub(crate) fn seed_of_row(row: u32) -> u64 {
        with(row.into(), |imports| imports.seed_of_row(row))
    }

    pub(crate) fn seed_of_key(key: u32) -> u64 {
        with(key.into(), |imports| imports.seed_of_key(key))
    }

    pub(crate) fn get_many(
        state: u32,
        all: bool,
        rows: u32,
        question: Buffers,
    ) -> Result<Buffers, Malformed> {
        let nobody = Err(Malformed::new("nobody stands in for the host"));
        with(nobody, |imports| {
            imports.get_many(state, all, rows, question)
        })
    }
}

pub(crate) use imports::*;

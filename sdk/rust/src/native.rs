//! An operator without a sandbox: the same code and the same bytes at its boundary, called
//! directly. For benchmarks that measure what the sandbox costs, and for the test harness.

use crate::engine::Engine;
pub use crate::host::{Buffers, Imports};

use crate::host;
use crate::{Fault, Operator, descriptor};

/// A native instance of an operator.
/// ```
/// # use wasmill_sdk::prelude::*;
/// # #[derive(Row)] struct Visit { user: u64 }
/// # struct Sample;
/// # impl Operator for Sample {
/// #     const PLUGIN: Plugin = plugin!("sample");
/// #     type Config = (); type Input<'a> = Visit; type Output<'a> = Visit; type State = ();
/// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
/// #     fn process(&mut self, row: Visit, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
/// #         cx.emit(row);
/// #         Ok(())
/// #     }
/// # }
/// use wasmill_sdk::native::Native;
///
/// assert!(Native::<Sample>::describe().contains("\"sample\""));
/// let mut instance = Native::<Sample>::open(r#"{ "context": 1, "config": {} }"#)?;
/// // One row of input 0, whose column 0 is 7.
/// let directory = [1 << 16, 0, 0, 1, 0, 1 << 16, 0, 2, 0, 8];
/// let (_, arena) = instance.process(1, &directory, &[7])?;
/// assert_eq!(arena, [7, 0], "the row, and its cause");
/// # Ok::<(), Fault>(())
/// ```
pub struct Native<Op: Operator> {
    engine: Engine<Op>,
    imports: Option<Box<dyn Imports>>,
}

impl<Op: Operator> Native<Op> {
    /// The operator's descriptor, a JSON document after docs/formats/descriptor.md: what `describe`
    /// of the component gives.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # fn main() {
    /// use wasmill_sdk::native::Native;
    /// assert!(Native::<Counter>::describe().contains("\"counter\""));
    /// # }
    /// ```
    pub fn describe() -> String {
        descriptor::descriptor::<Op>().to_string()
    }

    /// An instance from the context document, what `open` of the component is given.
    ///
    /// # Errors
    /// If the context is not of version 1, the configuration does not fit, or the operator refuses.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # fn main() {
    /// use wasmill_sdk::native::Native;
    /// let fault = Native::<Counter>::open(r#"{ "context": 2 }"#).err().unwrap();
    /// assert_eq!(fault.message, "the context is not of version 1");
    /// # }
    /// ```
    pub fn open(context: &str) -> Result<Self, Fault> {
        Ok(Self {
            engine: Engine::open(context)?,
            imports: None,
        })
    }

    /// The same instance with a stand-in for the host: without one, logs go nowhere and maps that
    /// no column binds cannot be read.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # fn main() {
    /// use wasmill_sdk::Malformed;
    /// use wasmill_sdk::native::{Buffers, Imports, Native};
    ///
    /// /// A host without entries.
    /// struct Empty;
    ///
    /// impl Imports for Empty {
    ///     fn get_many(
    ///         &mut self, _: u32, _: bool, _: u32, _: Buffers,
    ///     ) -> Result<Buffers, Malformed> {
    ///         Ok((Vec::new(), Vec::new()))
    ///     }
    /// }
    /// let counter = Native::<Counter>::open(r#"{ "context": 1 }"#).unwrap();
    /// let _counter = counter.with_imports(Empty);
    /// # }
    /// ```
    pub fn with_imports(mut self, imports: impl Imports + 'static) -> Self {
        self.imports = Some(Box::new(imports));
        self
    }

    /// Processes one batch: `rows` rows, a directory and an arena after docs/formats/buffers.md;
    /// and gives the answer's directory and arena. A panic of the operator goes through.
    ///
    /// # Errors
    /// If the batch is malformed, or the operator faults; the batch then has no effects.
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/sample.rs"));
    /// # fn main() {
    /// use wasmill_sdk::native::Native;
    /// let mut counter = Native::<Counter>::open(r#"{ "context": 1 }"#).unwrap();
    /// let fault = counter.process(1, &[], &[]).unwrap_err();
    /// assert_eq!(fault.message, "the input has another number of rows than the batch");
    /// # }
    /// ```
    pub fn process(
        &mut self,
        rows: u32,
        directory: &[u32],
        arena: &[u64],
    ) -> Result<Buffers, Fault> {
        let outer = host::swap(self.imports.take());
        let answer = self.engine.process(rows, directory, arena);
        self.imports = host::swap(outer);
        answer
    }
}

//! A live guest.

use std::sync::Arc;

use wasmtime::{
    Store, Trap,
    component::{self, InstancePre, TypedFunc},
};

use super::{
    bindings::{Buffers, BuffersIn, Fault},
    call::{CallContext, drive, micros},
    capability::Forbidden,
    engine::{Engine, STACK_BYTES_MAX},
    error::{CallError, TrapKind},
    guest::GuestState,
    limits::{Exceeded, Limit, Limits},
    log::{LogLine, escape},
    native::NativeOperator,
    plugin::Exports,
    record,
    seeds::Seeds,
    store::new_store,
};

/// Which world a plugin exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// `batch-operator`.
    Batch,
    /// `single-record-operator`.
    Record,
    /// `window-aggregate`.
    Aggregate,
}

/// What an aggregate is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// To add rows to accumulators.
    Add,
    /// To merge accumulators.
    Merge,
    /// For their results.
    Results,
}

/// How an instance runs.
#[derive(Debug, Clone)]
pub struct InstanceOptions {
    /// What it may use.
    pub limits: Limits,
    /// Asked at ticks: whether somebody else waits for this thread, so that the guest yields.
    pub somebody_is_ready: fn() -> bool,
}

impl Default for InstanceOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            somebody_is_ready: || false,
        }
    }
}

/// What a call gave back, unchecked: `wasmill_core::boundary::Decoder` reads it.
#[derive(Debug, Default)]
pub struct RawOutput {
    /// The directory.
    pub directory: Vec<u32>,
    /// The arena.
    pub arena: Vec<u64>,
    /// What the guest wrote to its log.
    pub log: Vec<LogLine>,
    /// What the guest added to its counters.
    pub metrics: Vec<(String, u64)>,
}

/// A guest that can be called, one call at a time.
///
/// A call that is dropped before its end, or that ends badly, leaves the instance spent.
pub struct Instance(Inner);

enum Inner {
    Wasm(Box<Sandbox>),
    Native(Box<dyn NativeOperator>),
}

type ProcessBatch = TypedFunc<(BuffersIn<'static>,), (Result<Buffers, Fault>,)>;
type ProcessRecord = TypedFunc<(record::InputRecord,), (Result<record::Effects, Fault>,)>;
type Open = TypedFunc<(&'static str,), (Result<(), Fault>,)>;

/// The exported function, by world.
enum Process {
    Batch(ProcessBatch),
    Record(ProcessRecord, Arc<record::Shape>),
    Aggregate([ProcessBatch; 3]),
}

struct Sandbox {
    engine: Engine,
    store: Store<GuestState>,
    open: Open,
    process: Process,
    spent: bool,
}

impl Instance {
    /// A native function in an instance's place.
    pub fn native(operator: Box<dyn NativeOperator>) -> Self {
        Self(Inner::Native(operator))
    }

    /// Whether the instance can still be called.
    pub fn is_usable(&self) -> bool {
        match &self.0 {
            Inner::Wasm(sandbox) => !sandbox.spent,
            Inner::Native(_) => true,
        }
    }

    /// Calls `open` with the context document. The instance's first call.
    ///
    /// # Errors
    /// If the guest fails or is stopped.
    pub async fn open(&mut self, context: &str) -> Result<(), CallError> {
        let Inner::Wasm(sandbox) = &mut self.0 else {
            return Ok(());
        };
        let open = sandbox.open;
        sandbox.begin(0, Seeds::default())?;
        let running = sandbox.engine.running();
        let guest = sandbox.store.data();
        let (meter, mailbox) = (guest.meter.clone(), guest.mailbox.clone());
        let call = open.call_async(&mut sandbox.store, (context,));
        let outcome = drive(call, &meter, &mailbox, None).await;
        drop(running);
        sandbox.end(outcome.map(|(answer,)| answer)).map(|_| ())
    }

    /// Calls an aggregate. What it computes depends on its arguments alone: there is no time and
    /// no chance.
    ///
    /// # Errors
    /// If the guest fails or is stopped, or is no aggregate.
    pub async fn fold(
        &mut self,
        fold: Fold,
        rows: u32,
        (directory, arena): (&[u32], &[u64]),
    ) -> Result<RawOutput, CallError> {
        let Inner::Wasm(sandbox) = &mut self.0 else {
            return Err(CallError::Spent);
        };
        let Process::Aggregate(functions) = &sandbox.process else {
            return Err(sandbox.fault(None, "it is no aggregate"));
        };
        let function = functions[fold as usize];
        let batch = BuffersIn {
            rows,
            directory,
            arena,
        };
        sandbox
            .process_batch(function, batch, CallContext::default())
            .await
    }

    /// Processes one batch.
    ///
    /// # Errors
    /// If the guest fails or is stopped: nothing of the call has happened then.
    pub async fn process(
        &mut self,
        rows: u32,
        directory: &[u32],
        arena: &[u64],
        context: CallContext<'_>,
    ) -> Result<RawOutput, CallError> {
        match &mut self.0 {
            Inner::Wasm(sandbox) => {
                let batch = BuffersIn {
                    rows,
                    directory,
                    arena,
                };
                match &sandbox.process {
                    Process::Batch(process) => {
                        let process = *process;
                        sandbox.process_batch(process, batch, context).await
                    }
                    Process::Aggregate(_) => Err(sandbox.fault(None, "it is an aggregate")),
                    Process::Record(process, shape) => {
                        let (process, shape) = (*process, Arc::clone(shape));
                        sandbox
                            .process_records(process, &shape, batch, context)
                            .await
                    }
                }
            }
            Inner::Native(operator) => match operator.process(rows, directory, arena) {
                Ok((directory, arena)) => Ok(RawOutput {
                    directory,
                    arena,
                    ..RawOutput::default()
                }),
                Err(fault) => Err(CallError::Fault {
                    row: fault.row,
                    message: fault.message,
                    log: Vec::new(),
                }),
            },
        }
    }
}

/// Makes an instance.
pub(super) async fn instantiate(
    engine: &Engine,
    pre: &InstancePre<GuestState>,
    exports: &Exports,
    options: &InstanceOptions,
) -> Result<Instance, CallError> {
    let (mut store, instance) = start(engine, pre, options).await?;
    let open = instance.get_typed_func(&mut store, exports.open);
    let open = open.map_err(|error| explain(&mut store, &error))?;
    let process = match (&exports.records, &exports.folds) {
        (_, Some(folds)) => {
            let [merge, results] = folds;
            let mut typed = |export| instance.get_typed_func(&mut store, export);
            typed(&exports.process).and_then(|add| {
                let (merge, results) = (typed(merge)?, typed(results)?);
                Ok(Process::Aggregate([add, merge, results]))
            })
        }
        (None, None) => instance
            .get_typed_func(&mut store, exports.process)
            .map(Process::Batch),
        (Some(shape), None) => instance
            .get_typed_func(&mut store, exports.process)
            .map(|process| Process::Record(process, Arc::clone(shape))),
    };
    let process = process.map_err(|error| explain(&mut store, &error))?;
    Ok(Instance(Inner::Wasm(Box::new(Sandbox {
        engine: engine.clone(),
        store,
        open,
        process,
        spent: false,
    }))))
}

/// Asks a plugin for its descriptor, in an instance of its own.
pub(super) async fn describe(
    engine: &Engine,
    pre: &InstancePre<GuestState>,
    exports: &Exports,
) -> Result<String, CallError> {
    let (mut store, instance) = start(engine, pre, &InstanceOptions::default()).await?;
    let describe = instance.get_typed_func::<(), (String,)>(&mut store, exports.describe);
    let describe = describe.map_err(|error| explain(&mut store, &error))?;
    let guest = store.data();
    let (meter, mailbox) = (guest.meter.clone(), guest.mailbox.clone());
    let _running = engine.running();
    let call = describe.call_async(&mut store, ());
    let described = drive(call, &meter, &mailbox, None).await;
    match described {
        Ok((descriptor,)) => Ok(descriptor),
        Err(error) => Err(explain(&mut store, &error)),
    }
}

/// Instantiation may run guest code, so it is metered like a call.
pub(super) async fn start(
    engine: &Engine,
    pre: &InstancePre<GuestState>,
    options: &InstanceOptions,
) -> Result<(Store<GuestState>, component::Instance), CallError> {
    let mut store = new_store(engine, options);
    let guest = store.data();
    let (meter, mailbox) = (guest.meter.clone(), guest.mailbox.clone());
    let _running = engine.running();
    let made = drive(pre.instantiate_async(&mut store), &meter, &mailbox, None).await;
    match made {
        Ok(instance) => Ok((store, instance)),
        Err(error) => Err(explain(&mut store, &error)),
    }
}

impl Sandbox {
    fn begin(&mut self, time_us: i64, seeds: Seeds) -> Result<(), CallError> {
        if std::mem::replace(&mut self.spent, true) {
            return Err(CallError::Spent);
        }
        self.store.data_mut().begin(time_us, seeds);
        self.store.set_epoch_deadline(1);
        Ok(())
    }

    async fn process_batch(
        &mut self,
        process: ProcessBatch,
        batch: BuffersIn<'_>,
        context: CallContext<'_>,
    ) -> Result<RawOutput, CallError> {
        self.begin(context.time_us, context.seeds)?;
        let process: TypedFunc<(BuffersIn<'_>,), _> = process;
        let running = self.engine.running();
        let guest = self.store.data();
        let (meter, mailbox) = (guest.meter.clone(), guest.mailbox.clone());
        let call = process.call_async(&mut self.store, (batch,));
        let outcome = drive(call, &meter, &mailbox, context.reader).await;
        drop(running);
        let buffers = self.end(outcome.map(|(answer,)| answer))?;
        Ok(self.output(buffers.directory, buffers.arena))
    }

    /// Calls a record operator once a record; the limits are the batch's.
    async fn process_records(
        &mut self,
        process: ProcessRecord,
        shape: &record::Shape,
        batch: BuffersIn<'_>,
        context: CallContext<'_>,
    ) -> Result<RawOutput, CallError> {
        self.begin(context.time_us, context.seeds)?;
        let guest = self.store.data();
        let (meter, mailbox) = (guest.meter.clone(), guest.mailbox.clone());
        let limits = guest.limits.clone();
        let mut records = record::Batch::read(shape, batch.directory, batch.arena)
            .map_err(|reason| self.fault(None, &reason))?;
        for row in 0..records.len() {
            let number = u32::try_from(row).expect("batches are bounded");
            let time_us = context.times.and_then(|times| times.get(row));
            let time_us = time_us.copied().unwrap_or(context.time_us);
            self.store.data_mut().begin_record(number, time_us);
            let running = self.engine.running();
            let call = process.call_async(&mut self.store, (records.record(row),));
            let outcome = drive(call, &meter, &mailbox, None).await;
            drop(running);
            let effects = self.end(outcome.map(|(answer,)| answer));
            let effects = effects.map_err(|error| error.at_row(row))?;
            self.spent = true;
            let applied = records.apply(row, effects);
            applied.map_err(|reason| self.fault(Some(row), &reason))?;
            let rows_max = limits.output_rows_max;
            if records.output_rows() > rows_max {
                let reason = format!("more than {rows_max} rows emitted (limit `output-rows`)");
                return Err(self.fault(None, &reason));
            }
            if let Some(exceeded) = records.exceeds(limits.output_bytes_max) {
                return Err(explain(&mut self.store, &wasmtime::Error::new(exceeded)));
            }
        }
        let answer = records.finish();
        let (directory, arena) = answer.map_err(|reason| self.fault(None, &reason))?;
        self.spent = false;
        Ok(self.output(directory, arena))
    }

    /// What the guest did against its contract, seen by the host.
    fn fault(&mut self, row: Option<usize>, reason: &str) -> CallError {
        CallError::Fault {
            row: row.and_then(|row| u32::try_from(row).ok()),
            message: escape(reason),
            log: self.store.data_mut().log.take_tail(),
        }
    }

    fn output(&mut self, directory: Vec<u32>, arena: Vec<u64>) -> RawOutput {
        let guest = self.store.data_mut();
        // The rows' bytes live as long as somebody knows where the rows come from.
        guest.seeds = Seeds::default();
        RawOutput {
            directory,
            arena,
            log: guest.log.take(),
            metrics: std::mem::take(&mut guest.metrics),
        }
    }

    /// Only a call that came to its end leaves an instance that can be called again.
    fn end<T>(&mut self, outcome: wasmtime::Result<Result<T, Fault>>) -> Result<T, CallError> {
        match outcome {
            Ok(Ok(answer)) => {
                self.spent = false;
                Ok(answer)
            }
            Ok(Err(fault)) => {
                self.spent = false;
                let guest = self.store.data_mut();
                guest.metrics.clear();
                Err(CallError::Fault {
                    row: fault.row,
                    message: escape(&fault.message),
                    log: guest.log.take_tail(),
                })
            }
            Err(error) => Err(explain(&mut self.store, &error)),
        }
    }
}

/// Says what stopped a guest.
pub(super) fn explain(store: &mut Store<GuestState>, error: &wasmtime::Error) -> CallError {
    let guest = store.data_mut();
    let cpu_us = micros(guest.meter.used());
    let log = guest.log.take_tail();
    let reported = guest.reported.take();
    let trap = error.downcast_ref::<Trap>();
    let exceeded = match (error.downcast_ref::<Exceeded>(), trap) {
        (Some(exceeded), _) => Some(*exceeded),
        (None, Some(Trap::StackOverflow)) => Some(Exceeded {
            limit: Limit::Stack,
            used: STACK_BYTES_MAX as u64,
            budget: STACK_BYTES_MAX as u64,
        }),
        _ if is_fuel(error) => Some(Exceeded {
            limit: Limit::OutputBytes,
            used: guest.limits.output_bytes_max as u64 + 1,
            budget: guest.limits.output_bytes_max as u64,
        }),
        // A guest that was refused memory gives up by a trap of its own.
        _ => guest.limiter.refused.take(),
    };
    if let Some(Exceeded {
        limit,
        used,
        budget,
    }) = exceeded
    {
        return CallError::Limit {
            limit,
            used,
            budget,
            cpu_us,
            reported,
            log,
        };
    }
    let message = match (&reported, error.downcast_ref::<Forbidden>()) {
        (_, Some(forbidden)) => forbidden.to_string(),
        (Some(fault), None) => escape(&fault.message),
        (None, None) => escape(&error.root_cause().to_string()),
    };
    CallError::Trap {
        kind: kind(error, trap),
        message,
        cpu_us,
        reported,
        log,
    }
}

/// wasmtime keeps the type of this error to itself.
fn is_fuel(error: &wasmtime::Error) -> bool {
    error
        .root_cause()
        .to_string()
        .contains("fuel allocated for hostcalls has been exhausted")
}

fn kind(error: &wasmtime::Error, trap: Option<&Trap>) -> TrapKind {
    if error.is::<Forbidden>() {
        return TrapKind::Forbidden;
    }
    match trap {
        Some(Trap::UnreachableCodeReached) => TrapKind::Unreachable,
        Some(
            Trap::MemoryOutOfBounds
            | Trap::TableOutOfBounds
            | Trap::ArrayOutOfBounds
            | Trap::IndirectCallToNull
            | Trap::BadSignature
            | Trap::HeapMisaligned,
        ) => TrapKind::OutOfBounds,
        Some(
            Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger,
        ) => TrapKind::Arithmetic,
        Some(Trap::CannotEnterComponent | Trap::CannotLeaveComponent) => TrapKind::Forbidden,
        Some(_) => TrapKind::Other,
        // What is no trap failed between the guest's memory and the host's types.
        None => TrapKind::Abi,
    }
}

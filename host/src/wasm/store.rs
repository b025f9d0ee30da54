//! What an instance lives in: the limits on its memory and handles, and the clock that stops it.

use wasmtime::{Store, UpdateDeadline};

use super::{engine::Engine, guest::GuestState, instance::InstanceOptions};

/// Handles of resources that a guest may hold: ours are a handful of streams.
const HANDLES_MAX: usize = 1_000;

/// A store for one instance.
pub(super) fn new_store(engine: &Engine, options: &InstanceOptions) -> Store<GuestState> {
    let limits = &options.limits;
    let mut store = Store::new(engine.wasmtime(), GuestState::new(limits));
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(limits.output_bytes_max);
    store.set_max_component_handles(HANDLES_MAX);
    store.set_epoch_deadline(1);
    let (budget, somebody_is_ready) = (limits.cpu_max, options.somebody_is_ready);
    store.epoch_deadline_callback(move |guest| {
        let meter = &guest.data().meter;
        meter.tick(budget).map_err(wasmtime::Error::new)?;
        if somebody_is_ready() {
            meter.pause();
            return Ok(UpdateDeadline::Yield(1));
        }
        Ok(UpdateDeadline::Continue(1))
    });
    store
}

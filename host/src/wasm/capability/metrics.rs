//! Counters of the plugin's own.

use wasmtime::{StoreContextMut, component::Linker};

use crate::wasm::guest::GuestState;

pub(super) fn add(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker
        .instance("wasmill:operator/metrics@0.1.0")?
        .func_wrap(
            "count",
            |mut guest: StoreContextMut<'_, GuestState>, (name, delta): (String, u64)| {
                guest.data_mut().count(&name, delta)
            },
        )
}

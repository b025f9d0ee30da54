//! The plugin's log.

use wasmtime::{StoreContextMut, component::Linker};

use crate::wasm::{bindings::Level, guest::GuestState};

pub(super) fn add(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.instance("wasmill:operator/log@0.1.0")?.func_wrap(
        "write",
        |mut guest: StoreContextMut<'_, GuestState>, (level, text): (Level, String)| {
            guest.data_mut().log_line(level, &text)
        },
    )
}

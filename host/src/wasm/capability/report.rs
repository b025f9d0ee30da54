//! The last words of a guest that fails.

use wasmtime::{StoreContextMut, component::Linker};

use crate::wasm::{bindings::Fault, guest::GuestState};

pub(super) fn add(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.instance("wasmill:operator/report@0.1.0")?.func_wrap(
        "failing",
        |mut guest: StoreContextMut<'_, GuestState>, (reason,): (Fault,)| {
            guest.data_mut().reported = Some(reason);
            Ok(())
        },
    )
}

//! Time, as the records tell it.

use wasmtime::component::Linker;

use crate::wasm::guest::GuestState;

pub(super) fn add(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker
        .instance("wasmill:operator/clock@0.1.0")?
        .func_wrap("now", |guest, (): ()| Ok((guest.data().time_us,)))
}

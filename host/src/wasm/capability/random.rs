//! Randomness that a rerun repeats.

use wasmtime::component::Linker;

use crate::wasm::guest::GuestState;

pub(super) fn add(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker
        .instance("wasmill:operator/random@0.1.0")?
        .func_wrap("seed", |guest, (): ()| Ok((guest.data().seed,)))
}

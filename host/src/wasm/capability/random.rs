//! Randomness that a rerun repeats.

use wasmtime::component::Linker;

use super::Forbidden;
use crate::wasm::guest::GuestState;

pub(super) fn add(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut random = linker.instance("wasmill:operator/random@0.1.0")?;
    random.func_wrap("seed", |mut guest, (): ()| Ok((guest.data_mut().seed(),)))?;
    random.func_wrap("of-row", |mut guest, (row,): (u32,)| {
        let seed = guest.data_mut().seeds.of_row(row);
        Ok((known(seed, "of-row", "the call has no row at that place")?,))
    })?;
    random.func_wrap("of-key", |guest, (key,): (u32,)| {
        let seed = guest.data().seeds.of_key(key);
        Ok((known(seed, "of-key", "the call has no key at that place")?,))
    })
}

fn known(seed: Option<u64>, function: &str, reason: &'static str) -> wasmtime::Result<u64> {
    seed.ok_or_else(|| {
        let function = format!("wasmill:operator/random#{function}");
        wasmtime::Error::new(Forbidden { function, reason })
    })
}

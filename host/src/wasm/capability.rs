//! The interfaces that the host lends to a guest.

mod clock;
mod log;
mod metrics;
mod random;
mod report;
mod state;

use wasmtime::component::Linker;

use super::guest::GuestState;

/// A guest called what nobody may call here.
#[derive(Debug, thiserror::Error)]
#[error("`{function}` is not allowed in the sandbox: {reason}")]
pub(super) struct Forbidden {
    pub(super) function: String,
    pub(super) reason: &'static str,
}

/// Adds all of our own interfaces.
pub(super) fn add(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    clock::add(linker)?;
    log::add(linker)?;
    metrics::add(linker)?;
    random::add(linker)?;
    report::add(linker)?;
    state::add(linker)?;
    linker.instance("wasmill:operator/types@0.1.0")?;
    Ok(())
}

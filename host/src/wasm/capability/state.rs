//! State that does not ride with the batch.

use wasmtime::{StoreContextMut, component::Linker};

use crate::wasm::{bindings::Buffers, call::StateQuestion, guest::GuestState};

pub(super) fn add(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut state = linker.instance("wasmill:operator/state@0.1.0")?;
    for (name, all) in [("get-many", false), ("get-all", true)] {
        state.func_wrap_async(
            name,
            move |guest: StoreContextMut<'_, GuestState>, (state, question): (u32, Buffers)| {
                let mailbox = guest.data().mailbox.clone();
                Box::new(async move {
                    let question = StateQuestion {
                        state,
                        all,
                        directory: question.directory,
                        arena: question.arena,
                    };
                    match mailbox.ask(question).await {
                        Ok(answer) => Ok((answer,)),
                        Err(reason) => Err(wasmtime::Error::new(Refused { name, reason })),
                    }
                })
            },
        )?;
    }
    Ok(())
}

/// A question about state that the host does not answer.
#[derive(Debug, thiserror::Error)]
#[error("`state.{name}` was refused: {reason}")]
struct Refused {
    name: &'static str,
    reason: String,
}

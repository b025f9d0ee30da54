//! Operators that are linked in: the same code as a guest's, without the sandbox.

use std::{cell::RefCell, sync::Arc};

use anyhow::Result;
use wasmill_core::descriptor::Descriptor;
use wasmill_host::{
    operator::Make,
    wasm::{Fault, Instance},
};
use wasmill_sdk::native::{Buffers, Native as Linked};

use crate::job::Native;

type Process = Box<dyn FnMut(u32, &[u32], &[u64]) -> Result<Buffers, wasmill_sdk::Fault>>;

thread_local! {
    /// This thread's instances. An operator need not be `Send`: the engine makes and calls an
    /// instance on one slot only.
    static INSTANCES: RefCell<Vec<Process>> = const { RefCell::new(Vec::new()) };
}

/// A native operator whose instances are opened with this configuration, a JSON object.
pub(crate) fn operator<Op: wasmill_sdk::Operator>(configuration: &str) -> Result<Native> {
    let descriptor = Descriptor::parse(&Linked::<Op>::describe())?;
    let context = format!(r#"{{ "context": 1, "config": {configuration} }}"#);
    // The first instance is opened here, so that a wrong configuration is told here.
    Linked::<Op>::open(&context).map_err(|fault| anyhow::anyhow!("{}", fault.message))?;
    Ok(Native {
        descriptor: Arc::new(descriptor),
        make: Make::Native(Arc::new(move || instance::<Op>(&context))),
    })
}

fn instance<Op: wasmill_sdk::Operator>(context: &str) -> Instance {
    let mut operator = match Linked::<Op>::open(context) {
        Ok(operator) => operator,
        Err(fault) => panic!("the same context was fine before: {}", fault.message),
    };
    let process: Process =
        Box::new(move |rows, directory, arena| operator.process(rows, directory, arena));
    let number = INSTANCES.with_borrow_mut(|instances| {
        instances.push(process);
        instances.len() - 1
    });
    let process = move |rows: u32, directory: &[u32], arena: &[u64]| {
        let answer =
            INSTANCES.with_borrow_mut(|instances| instances[number](rows, directory, arena));
        answer.map_err(|fault| Fault {
            row: fault.row,
            message: fault.message,
        })
    };
    Instance::native(Box::new(process))
}

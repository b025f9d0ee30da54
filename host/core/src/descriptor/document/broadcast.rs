//! Inputs whose rows go to every subtask, and the states that they write.

use super::{Document, Kind};

/// Who writes states that all subtasks have alike, and who reads them.
pub(super) fn check(document: &Document, wrong: &mut Vec<String>) {
    if document.inputs.first().is_some_and(|input| input.broadcast) {
        wrong.push("inputs: the first one has keys, a further one may be `broadcast`".into());
    }
    let is_written = document.inputs.iter().any(|input| input.broadcast);
    for state in document
        .states
        .iter()
        .filter(|it| it.kind == Kind::Broadcast)
    {
        if !is_written {
            let name = &state.name;
            wrong.push(format!(
                "states.{name}: no input is `broadcast`, so nothing writes it"
            ));
        }
    }
}

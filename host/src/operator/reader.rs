//! Answers what a guest asks of its map states while a call is under way.

use wasmill_core::boundary::{Decoder, Encoder, Layout};

use crate::{
    state::{BatchKeys, Clocks, KeyedStates},
    wasm::{StateQuestion, StateReader},
};

/// The states of an operator, as of the beginning of a call.
pub(super) struct Reader<'a> {
    /// Which states there are.
    pub layout: &'a Layout,
    /// The states; lent out to be encoded, not to be changed.
    pub states: &'a mut KeyedStates,
    /// The keys of the call.
    pub keys: &'a BatchKeys,
    /// The keys' clocks: expired entries are not there.
    pub clocks: Clocks<'a>,
}

impl StateReader for Reader<'_> {
    fn read(&mut self, question: StateQuestion) -> Result<(Vec<u32>, Vec<u64>), String> {
        let count = u32::try_from(self.keys.ids.len()).expect("batches are bounded");
        let mut decoder = Decoder::new();
        let buffers = (&question.directory[..], &question.arena[..]);
        let (keys, names) = decoder
            .decode_map_question(self.layout, question.state, count, buffers)
            .map_err(|error| error.to_string())?;
        let (state, of) = (question.state as usize, (self.keys, self.clocks));
        let mut encoder = Encoder::new();
        match names {
            _ if keys.is_empty() => {}
            Some(names) if !question.all => {
                let name = |at: usize| names.get(at).unwrap_or_default();
                let asked = (0..keys.len()).map(|at| (keys[at], name(at)));
                self.states.encode_entries(state, of, asked, &mut encoder);
            }
            None if question.all => {
                let names = self.states.map_keys(state, of, keys);
                let asked = names.iter().map(|(key, name)| (*key, name.as_slice()));
                self.states.encode_entries(state, of, asked, &mut encoder);
            }
            _ => return Err("`get-many` names map keys, `get-all` names none".into()),
        }
        let (directory, arena) = encoder.finish().map_err(|error| error.to_string())?;
        Ok((directory.to_vec(), arena.to_vec()))
    }
}

//! An operator's state as of a barrier, and the way back.

use serde_json::{Map, Value as Json};
use wasmill_core::checkpoint::{Part, Segment};
use wasmill_core::key::KeyGroupRange;
use wasmill_core::timer::{Action, Change, Timer};

use super::Operator;
use crate::{
    format::base64,
    segment::{Address, Kind, Put, Reader, Row, SegmentError},
    state::{
        self, KeyIndex, KeyedImage, KeysImage, RestoreError, Restored, StatesImage, TimersImage,
    },
};

/// An operator's state in one subtask as it was at a barrier. It was taken on the slot and is
/// encoded elsewhere, while the operator goes on.
#[derive(Debug)]
pub struct OperatorImage {
    /// Whether it is that of the first subtask.
    is_first: bool,
    keys: Option<KeysImage>,
    states: Option<StatesImage>,
    timers: Option<TimersImage>,
}

/// What of an operator's state is no new segment.
#[derive(Debug)]
pub struct EncodedOperator {
    /// The earlier segments that still count, before those that were written.
    pub kept: Vec<Segment>,
    /// For [`Part::state`], what it keeps that is not by key; none if it keeps nothing.
    pub state: Option<Json>,
}

/// What an operator had when a checkpoint was taken, from all of its subtasks then.
#[derive(Debug, Clone, Copy)]
pub struct OperatorRestore<'a> {
    /// The watermark that the manifest has for it, and processing time now.
    pub clocks: Restored,
    /// The parts of its uid, of all subtasks.
    pub parts: &'a [Part],
}

/// Under this name a part holds states that are not by key, each as base64 of its encoding.
const STATES: &str = "states";

impl Operator {
    /// The state as it is now, between two calls. `keys` is [`KeyIndex::image`] of the task's keys,
    /// which all of its operators share, taken at the same barrier.
    ///
    /// Nothing is copied but timers and what is not by key.
    pub fn image(&mut self, keys: Option<KeysImage>) -> OperatorImage {
        let names = self.descriptor.timers.iter();
        let names: Vec<String> = names.map(|timer| timer.name.clone()).collect();
        let timers = self.timers.as_ref();
        OperatorImage {
            is_first: self.subtask.0 == 0,
            keys,
            states: self.states.as_mut().map(state::KeyedStates::image),
            timers: timers.map(|timers| TimersImage::new(names, timers.iter())),
        }
    }

    /// Puts back what a checkpoint holds of what is not by key, before the first row: what this
    /// subtask kept.
    ///
    /// # Errors
    /// If a part is not what the format says, or a subtask that is no more kept state.
    pub fn restore(&mut self, from: OperatorRestore<'_>) -> Result<(), RestoreError> {
        self.watermark = from.clocks.watermark;
        from.parts
            .iter()
            .try_for_each(|part| self.restore_part(part))
    }

    /// Puts back keyed state and timers of some key groups, before the first row. `segments` are
    /// those of its uid in the manifest's order, whichever key groups they cover. State that the
    /// operator does not have any more is left out; that it may be is decided before.
    ///
    /// # Errors
    /// If a segment is not what the format says.
    pub fn restore_keys(
        &mut self,
        (segments, range): (&[Reader], KeyGroupRange),
        clocks: Restored,
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        let (descriptor, states) = (self.descriptor.clone(), self.states.as_ref());
        // Where rows about an address belong; none if nowhere.
        let place = |of: &Address| {
            if of.kind == Kind::Timer {
                let mut names = descriptor.timers.iter();
                let at = names.position(|timer| timer.name == of.name)?;
                return Some(Place::Timer(at as u32));
            }
            states?.state_of(of.kind, &of.name).map(Place::State)
        };
        let places = state::places(segments, place);
        let from = (segments, range);
        state::restore(from, index, &places, |index, id, (place, row)| {
            match (place, &mut self.states) {
                (Place::State(state), Some(states)) => {
                    states.restore(*state, (id, row), clocks, index)
                }
                (Place::Timer(timer), _) => self.restore_timer(*timer, (id, row), index),
                _ => Ok(()),
            }
        })?;
        self.account();
        Ok(())
    }

    pub(super) fn restore_timer(
        &mut self,
        timer: u32,
        (key, row): (u32, &Row<'_>),
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        let time = row.time.ok_or_else(|| RestoreError::Row {
            kind: Kind::Timer.name(),
            state: self.descriptor.timers[timer as usize].name.clone(),
        })?;
        let Some(timers) = &mut self.timers else {
            return Ok(());
        };
        let change = Change {
            key,
            timer: Timer { time, timer },
            action: Action::Set,
        };
        timers.apply(&[change]).map_err(|_| RestoreError::Timers)?;
        timers.applied().for_each(|(key, _)| index.hold(key));
        Ok(())
    }

    fn restore_part(&mut self, part: &Part) -> Result<(), RestoreError> {
        let wrong = |what: &str| RestoreError::Part {
            operator: self.name.to_string(),
            what: what.to_owned(),
        };
        let Some(values) = part.state.get(STATES) else {
            return Ok(());
        };
        let values = values
            .as_object()
            .ok_or_else(|| wrong("its states are no object"))?;
        for (state, value) in values {
            let value = value
                .as_str()
                .and_then(|text| base64::decode(text.as_bytes()));
            let value = value.ok_or_else(|| wrong("a state is not in base64"))?;
            if let Some(states) = self.states.as_mut().filter(|states| states.is_alike(state)) {
                states.restore_alike(state, &value)?;
                continue;
            }
            let (own, parallelism) = self.subtask;
            if part.subtask >= parallelism {
                return Err(RestoreError::Subtasks {
                    operator: self.name.to_string(),
                    state: state.clone(),
                    subtask: part.subtask,
                    parallelism,
                });
            }
            if let Some(states) = self.states.as_mut().filter(|_| part.subtask == own) {
                states.restore_unkeyed(state, value)?;
            }
        }
        Ok(())
    }
}

/// Where rows of a segment belong.
#[derive(Debug, Clone, Copy)]
enum Place {
    State(usize),
    Timer(u32),
}

impl OperatorImage {
    /// Writes the state down, as changes of `earlier` if it can. It takes a moment for each value:
    /// not on a slot.
    ///
    /// # Errors
    /// If a key or a value is too large for a segment, or a segment is not taken.
    pub fn encode(
        self,
        earlier: &[Segment],
        put: Put<'_>,
    ) -> Result<EncodedOperator, SegmentError> {
        let states = self.states.as_ref().map(|states| states as &dyn KeyedImage);
        let timers = self.timers.as_ref().map(|timers| timers as &dyn KeyedImage);
        let images: Vec<&dyn KeyedImage> = states.into_iter().chain(timers).collect();
        let is_keyed = images.iter().any(|image| !image.addresses().is_empty());
        let keys = self.keys.as_ref().filter(|_| is_keyed);
        let kept = keys.map(|keys| state::encode(keys, &images, earlier, put));
        let kept = kept.transpose()?.unwrap_or_default();
        let unkeyed = self.states.iter().flat_map(|states| &states.unkeyed);
        // What all have alike is written once.
        let alike = self.states.iter().filter(|_| self.is_first);
        let alike = alike.flat_map(|states| &states.alike);
        let values = unkeyed.chain(alike).filter_map(|(state, value)| {
            let mut text = Vec::new();
            base64::encode(value.as_ref()?, &mut text);
            let text = String::from_utf8_lossy(&text).into_owned();
            Some((state.clone(), Json::String(text)))
        });
        let values: Map<String, Json> = values.collect();
        let state = (!values.is_empty()).then(|| serde_json::json!({ STATES: values }));
        Ok(EncodedOperator { kept, state })
    }
}

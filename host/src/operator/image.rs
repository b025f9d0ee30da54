//! An operator's state as of a barrier, and the way back.

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use wasmill_core::checkpoint::Part;
use wasmill_core::timer::{Action, Change, Timer};

use super::Operator;
use crate::{
    format::base64,
    segment::{Address, Encoded, Kind, Reader, Row, SegmentError},
    state::{
        self, KeyIndex, KeyedImage, KeysImage, RestoreError, Restored, StatesImage, TimersImage,
    },
};

/// An operator's state in one subtask as it was at a barrier. It was taken on the slot and is
/// encoded elsewhere, while the operator goes on.
#[derive(Debug)]
pub struct OperatorImage {
    operator: Arc<str>,
    watermark: i64,
    keys: Option<KeysImage>,
    states: Option<StatesImage>,
    timers: Option<TimersImage>,
}

/// An operator's state, ready to be stored.
#[derive(Debug)]
pub struct EncodedOperator {
    /// The operator's uid.
    pub operator: Arc<str>,
    /// Its watermark as of the barrier, in microseconds.
    pub watermark: i64,
    /// Its keyed state and its timers; none if it declares neither.
    pub segment: Option<Encoded>,
    /// For [`Part::state`], what it keeps that is not by key; none if it keeps nothing.
    pub state: Option<Json>,
}

/// What an operator had when a checkpoint was taken, from all of its subtasks then.
#[derive(Debug, Clone, Copy)]
pub struct OperatorRestore<'a> {
    /// The watermark that the manifest has for it, and processing time now.
    pub clocks: Restored,
    /// The segments of its uid, whichever key groups they cover.
    pub segments: &'a [Reader],
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
    pub fn image(&mut self, keys: Option<&KeysImage>) -> OperatorImage {
        let names = self.descriptor.timers.iter();
        let names: Vec<String> = names.map(|timer| timer.name.clone()).collect();
        let timers = self.timers.as_ref();
        OperatorImage {
            operator: self.name.clone(),
            watermark: self.watermark,
            keys: keys.cloned(),
            states: self.states.as_mut().map(state::KeyedStates::image),
            timers: timers.map(|timers| TimersImage::new(names, timers.iter())),
        }
    }

    /// Puts back what a checkpoint holds, before the first row: of keyed state and timers what
    /// belongs to the key groups of `index`, of the rest what this subtask kept. State that the
    /// operator does not have any more is left out; that it may be is decided before.
    ///
    /// # Errors
    /// If a segment or a part is not what the format says, or a subtask that is no more kept state
    /// that is not by key.
    pub fn restore(
        &mut self,
        from: OperatorRestore<'_>,
        index: Option<&mut KeyIndex>,
    ) -> Result<(), RestoreError> {
        self.watermark = from.clocks.watermark;
        for part in from.parts {
            self.restore_part(part)?;
        }
        if let Some(index) = index {
            for segment in from.segments {
                self.restore_segment(segment, from.clocks, index)?;
            }
        }
        self.account();
        Ok(())
    }

    fn restore_segment(
        &mut self,
        segment: &Reader,
        clocks: Restored,
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        let addresses = segment.addresses().iter();
        let places: Vec<Option<Place>> = addresses.map(|of| self.place(of)).collect();
        if places.iter().all(Option::is_none) {
            return Ok(());
        }
        state::restore(segment, index, |index, id, row| {
            match (places[row.address], &mut self.states) {
                (Some(Place::State(state)), Some(states)) => {
                    states.restore(state, (id, row), clocks, index)
                }
                (Some(Place::Timer(timer)), _) => self.restore_timer(timer, (id, row), index),
                _ => Ok(()),
            }
        })
    }

    /// Where rows about an address belong; none if nowhere.
    fn place(&self, of: &Address) -> Option<Place> {
        if of.kind == Kind::Timer {
            let mut names = self.descriptor.timers.iter();
            let at = names.position(|timer| timer.name == of.name)?;
            return Some(Place::Timer(at as u32));
        }
        let states = self.states.as_ref()?;
        states.state_of(of.kind, &of.name).map(Place::State)
    }

    fn restore_timer(
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
    /// Writes the state down. It takes a moment for each value: not on a slot.
    ///
    /// # Errors
    /// If a key or a value is too large for a segment.
    pub fn encode(self) -> Result<EncodedOperator, SegmentError> {
        let states = self.states.as_ref().map(|states| states as &dyn KeyedImage);
        let timers = self.timers.as_ref().map(|timers| timers as &dyn KeyedImage);
        let images: Vec<&dyn KeyedImage> = states.into_iter().chain(timers).collect();
        let is_keyed = images.iter().any(|image| !image.addresses().is_empty());
        let keys = self.keys.as_ref().filter(|_| is_keyed);
        let segment = keys.map(|keys| state::encode(keys, &images)).transpose()?;
        let unkeyed = self.states.iter().flat_map(|states| &states.unkeyed);
        let values = unkeyed.filter_map(|(state, value)| {
            let mut text = Vec::new();
            base64::encode(value.as_ref()?, &mut text);
            let text = String::from_utf8_lossy(&text).into_owned();
            Some((state.clone(), Json::String(text)))
        });
        let values: Map<String, Json> = values.collect();
        let state = (!values.is_empty()).then(|| serde_json::json!({ STATES: values }));
        Ok(EncodedOperator {
            operator: self.operator,
            watermark: self.watermark,
            segment,
            state,
        })
    }
}

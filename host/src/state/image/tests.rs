use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmill_core::data_type;
use wasmill_core::descriptor::{self, State, Ttl};
use wasmill_core::key::{KEY_GROUPS_DEFAULT, KeyGroupRange, Keys};
use wasmill_core::timer::{Action, Change, TimeDomain, TimerTable};

use super::*;
use crate::segment::Reader;
use crate::state::{BatchKeys, KeyIndex, Meta, RestoreError, Restored, Secret, restore};

const CLOCKS: Restored = Restored {
    watermark: 1_000,
    now: 2_000,
};
const TTL: Ttl = Ttl {
    after_us: 1 << 50,
    time: TimeDomain::Event,
};

/// One of each kind, some with a time to live.
fn states() -> Vec<State> {
    let state = |name: &str, kind, key: Option<&str>, value: &str, ttl| State {
        name: name.into(),
        kind,
        value: data_type::parse_field("value", value).expect("a type"),
        key: key.map(|key| data_type::parse_field("key", key).expect("a type")),
        column: None,
        items_max: None,
        ttl,
        schema_id: String::new(),
    };
    use descriptor::Kind as Of;
    vec![
        state("count", Of::Value, None, "struct<n: u64, sum: f64>", None),
        state("odd", Of::Value, None, "bytes(3)", Some(TTL)),
        state("text", Of::Value, None, "string", None),
        state("words", Of::List, None, "u16", Some(TTL)),
        state("texts", Of::List, None, "string", None),
        state("total", Of::Map, Some("string"), "u32", Some(TTL)),
        state("all", Of::Operator, None, "u64", None),
    ]
}

/// What one key has, as a plain model: by state, (entry, value, time) in order.
type Model = BTreeMap<Vec<u8>, BTreeMap<String, Vec<(Vec<u8>, Vec<u8>, Option<i64>)>>>;

/// A subtask: its keys, its states, its timers.
struct Subtask {
    index: KeyIndex,
    states: KeyedStates,
    timers: TimerTable,
}

fn key_of(is_word: bool, number: u64) -> Vec<u8> {
    match is_word {
        true => number
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_le_bytes()
            .to_vec(),
        false => format!("{}{number}", "k".repeat(number as usize % 11)).into_bytes(),
    }
}

/// A change of one state of a key.
#[derive(Debug, Clone)]
struct Step {
    key: u64,
    state: usize,
    seed: u8,
    time: i64,
}

fn text(seed: u8) -> Vec<u8> {
    let text = "é".repeat(usize::from(seed % 5));
    [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

impl Subtask {
    fn new(range: KeyGroupRange, is_word: bool) -> Self {
        let domains = vec![TimeDomain::Event, TimeDomain::Processing];
        Self {
            index: KeyIndex::new(range, KEY_GROUPS_DEFAULT, is_word, Secret::seeded(7)),
            states: KeyedStates::new(&states()),
            timers: TimerTable::new(domains),
        }
    }

    fn id(&mut self, key: &[u8]) -> u32 {
        let keys = match self.index.is_word() {
            true => {
                let word = u64::from_le_bytes(key.try_into().expect("a word"));
                Keys::Words(vec![word].into())
            }
            false => Keys::Bytes {
                offsets: vec![0, key.len() as u32],
                data: key.to_vec(),
            },
        };
        let mut batch = BatchKeys::default();
        self.index.lookup(&keys, &keys.hashes(), &mut batch);
        batch.ids[0]
    }

    /// Sets, extends or clears, as calls would.
    fn step(&mut self, step: &Step) {
        let id = self.id(&key_of(self.index.is_word(), step.key));
        let (seed, meta) = (step.seed, Meta::written(step.time));
        let clears = seed.is_multiple_of(7);
        let index = &mut self.index;
        let clocks = crate::state::Clocks {
            event: &[step.time],
            processing: 0,
        };
        let mut keys = BatchKeys::default();
        keys.ids.push(id);
        match self.states.columns.get_mut(step.state) {
            Some(Column::Fixed(column, _)) => {
                let value = vec![seed; column.width()];
                let values = wasmill_core::boundary::Values::Fixed {
                    width: column.width(),
                    bytes: &value,
                    validity: clears.then_some(&[0]),
                };
                column.scatter(&[0], values, clocks, (&keys, index));
            }
            Some(Column::Var(column, _)) => {
                let value = text(seed);
                let value = (!clears).then_some(&value[..]);
                column.scatter(&[0], |_| value, clocks, (&keys, index));
            }
            Some(Column::List(column, _)) => {
                let item = match column.width() {
                    Some(width) => vec![seed; width],
                    None => text(seed),
                };
                let drops = [u32::from(clears) * 2];
                let items = |_| std::iter::once(&item[..]);
                column.scatter((&[0], &drops), items, clocks, (&keys, index));
            }
            Some(Column::Map(column, ..)) => {
                let entry = text(seed);
                match clears {
                    true => column.remove(id, &text(seed / 7), index),
                    false => {
                        let value = u32::from(seed).to_le_bytes();
                        if column.restore(id, meta, (&entry, &value)) {
                            index.hold(id);
                        }
                    }
                }
            }
            _ => {
                let timer = Timer {
                    time: step.time,
                    timer: u32::from(seed % 2),
                };
                let action = if clears { Action::Delete } else { Action::Set };
                let change = Change {
                    key: id,
                    timer,
                    action,
                };
                self.timers.apply(&[change]).expect("few timers");
                for (id, was_added) in self.timers.applied() {
                    match was_added {
                        true => index.hold(id),
                        false => index.release(id),
                    }
                }
            }
        }
        self.index.recycle();
    }

    fn encode(&mut self) -> Encoded {
        self.image().1
    }

    /// The state, and the segment that its image becomes after `later` has happened.
    fn image(&mut self) -> (Model, Encoded) {
        self.image_while(&[])
    }

    fn image_while(&mut self, later: &[Step]) -> (Model, Encoded) {
        let model = self.model();
        let keys = self.index.image();
        let states = self.states.image();
        let names = ["a".to_owned(), "b".to_owned()];
        let timers = TimersImage::new(names.to_vec(), self.timers.iter());
        later.iter().for_each(|step| self.step(step));
        let encoded = encode(&keys, &[&states, &timers]).expect("small rows");
        (model, encoded)
    }

    /// Everything by key, read without images.
    fn model(&mut self) -> Model {
        let mut model = Model::new();
        let names: Vec<String> = self
            .states
            .states
            .iter()
            .map(|of| of.name.clone())
            .collect();
        let ids: Vec<u32> = (0..self.index.ids_end() as u32).collect();
        for id in ids {
            let mut content: BTreeMap<String, Vec<_>> = BTreeMap::new();
            for (name, column) in names.iter().zip(&mut self.states.columns) {
                let mut add = |entry: &[u8], value: &[u8]| {
                    let list = content.entry(name.clone()).or_default();
                    list.push((entry.to_vec(), value.to_vec(), None));
                };
                match column {
                    Column::Fixed(column, _) => {
                        column.get(id, 0).iter().for_each(|value| add(&[], value));
                    }
                    Column::Var(column, _) => {
                        column.get(id, 0).iter().for_each(|value| add(&[], value));
                    }
                    Column::List(column, _) => {
                        column.items(id, 0).for_each(|item| add(&[], item));
                    }
                    Column::Map(column, ..) => {
                        column
                            .entries(id, 0)
                            .for_each(|(entry, value)| add(entry, value));
                    }
                    Column::Operator(..) => {}
                }
            }
            for timer in self.timers.pending(id) {
                let list = content.entry(format!("timer {}", timer.timer)).or_default();
                list.push((Vec::new(), Vec::new(), Some(timer.time)));
            }
            if !content.is_empty() {
                model.insert(self.index.key(id), content);
            }
        }
        model
    }

    fn restore(&mut self, segment: &Reader) -> Result<(), RestoreError> {
        let addresses = segment.addresses().to_vec();
        restore(segment, &mut self.index, |index, id, row| {
            let of = &addresses[row.address];
            if let Some(state) = self.states.state_of(of.kind, &of.name) {
                return self.states.restore(state, (id, row), CLOCKS, index);
            }
            let timer = Timer {
                time: row.time.expect("a timer has a time"),
                timer: u32::from(of.name == "b"),
            };
            let action = Action::Set;
            let change = Change {
                key: id,
                timer,
                action,
            };
            self.timers.apply(&[change]).expect("few timers");
            self.timers.applied().for_each(|(id, _)| index.hold(id));
            Ok(())
        })
    }
}

fn reader(encoded: &Encoded) -> Reader {
    let segment = encoded.segment("objects/0000000001/0000000001/a".into());
    Reader::open(encoded.bytes.clone().into(), &segment).expect("the bytes that were written")
}

fn range(subtask: u16, parallelism: u16) -> KeyGroupRange {
    KeyGroupRange::of_subtask(subtask, parallelism, KEY_GROUPS_DEFAULT)
}

/// Deals steps to the subtasks that own their keys.
fn subtasks(is_word: bool, parallelism: u16, steps: &[Step]) -> Vec<Subtask> {
    let ranges = (0..parallelism).map(|subtask| range(subtask, parallelism));
    let mut subtasks: Vec<Subtask> = ranges.map(|range| Subtask::new(range, is_word)).collect();
    for step in steps {
        own(&mut subtasks, is_word, step).step(step);
    }
    subtasks
}

fn own<'a>(subtasks: &'a mut [Subtask], is_word: bool, step: &Step) -> &'a mut Subtask {
    let hash = key::hash(&key_of(is_word, step.key));
    let group = key::key_group(hash, KEY_GROUPS_DEFAULT);
    let mut subtasks = subtasks.iter_mut();
    let own = subtasks.find(|subtask| subtask.index.range().contains(group));
    own.expect("the ranges cover all groups")
}

fn whole(subtasks: &mut [Subtask]) -> Model {
    subtasks.iter_mut().flat_map(Subtask::model).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..60_u64, 0..7_usize, any::<u8>(), -50..1_000_i64);
    let step = step.prop_map(|(key, state, seed, time)| Step {
        key,
        state,
        seed,
        time,
    });
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn state_survives_any_change_of_parallelism(
        is_word in any::<bool>(),
        before in steps(),
        during in steps(),
        after in steps(),
    ) {
        for old in [1, 2, 4, 8] {
            let mut was = subtasks(is_word, old, &before);
            let model = whole(&mut was);
            let mut segments = Vec::new();
            for subtask in &mut was {
                let own: Vec<Step> = during
                    .iter()
                    .filter(|step| {
                        let hash = key::hash(&key_of(is_word, step.key));
                        let group = key::key_group(hash, KEY_GROUPS_DEFAULT);
                        subtask.index.range().contains(group)
                    })
                    .cloned()
                    .collect();
                segments.push(reader(&subtask.image_while(&own).1));
            }
            for new in [1, 2, 4, 8] {
                let mut is = subtasks(is_word, new, &[]);
                for subtask in &mut is {
                    for segment in &segments {
                        subtask.restore(segment).expect("what was written");
                    }
                    subtask.index.recycle();
                }
                prop_assert_eq!(whole(&mut is), model.clone());
                // What is restored goes on as if nothing had happened.
                let mut never_stopped = subtasks(is_word, new, &before);
                for step in &after {
                    own(&mut is, is_word, step).step(step);
                    own(&mut never_stopped, is_word, step).step(step);
                }
                prop_assert_eq!(whole(&mut is), whole(&mut never_stopped));
                for (is, was) in is.iter_mut().zip(&mut never_stopped) {
                    prop_assert_eq!(is.index.len(), was.index.len());
                    // To the byte, clocks and all.
                    prop_assert_eq!(is.encode(), was.encode());
                }
            }
        }
    }
}

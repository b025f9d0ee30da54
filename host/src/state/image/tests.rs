mod golden;

use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmill_core::data_type;
use wasmill_core::descriptor::{self, State, Ttl};
use wasmill_core::key::{KEY_GROUPS_DEFAULT, KeyGroupRange, Keys};
use wasmill_core::timer::{Action, Change, TimeDomain, TimerTable};

pub(in crate::state) use super::encode::collect;
use super::*;
use crate::segment::{Encoded, Reader};
use crate::state::keyed::Column;
use crate::state::{
    BatchKeys, Cut, KeyIndex, Meta, RestoreError, Restored, Secret, places, restore,
};
use wasmill_core::checkpoint::{CheckpointId, ObjectRef, Segment, SegmentKind};
use wasmill_core::key;

pub(in crate::state) const CLOCKS: Restored = Restored {
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
        migrations: Vec::new(),
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
        self.index.touch(id);
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
        let cut = Cut {
            checkpoint: CheckpointId(1),
            base: None,
        };
        let (_, mut written) = self.cut(cut, &[], later);
        (model, written.pop().expect("a base has a segment"))
    }

    /// What a barrier keeps of `earlier` and writes, after `later` has happened.
    fn cut(
        &mut self,
        cut: Cut,
        earlier: &[Segment],
        later: &[Step],
    ) -> (Vec<Segment>, Vec<Encoded>) {
        let keys = self.index.image(cut);
        let states = self.states.image();
        let names = ["a".to_owned(), "b".to_owned()];
        let timers = TimersImage::new(names.to_vec(), self.timers.iter());
        later.iter().for_each(|step| self.step(step));
        collect(&keys, &[&states, &timers], earlier)
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
                    Column::Operator(..) | Column::Broadcast(..) => {}
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

    fn restore(&mut self, segments: &[Reader]) -> Result<(), RestoreError> {
        let places = places(segments, |of| Some(of.clone()));
        let from = (segments, self.index.range());
        restore(from, &mut self.index, &places, |index, id, (of, row)| {
            if of.kind == Kind::Gone {
                return Ok(());
            }
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
                    subtask.restore(&segments).expect("what was written");
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

/// What becomes of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Decided,
    Aborted,
    /// Decided, and no later one builds on it.
    Savepoint,
}

/// The segments of all decided checkpoints, by the names that manifests have for them.
#[derive(Default)]
struct Log {
    files: BTreeMap<String, Encoded>,
    /// What the newest decided checkpoint has, in its order.
    newest: Option<(CheckpointId, Vec<Segment>)>,
    deltas: usize,
}

impl Log {
    /// A barrier passes all subtasks, and `later` happens before the images are written.
    fn checkpoint(
        &mut self,
        (number, fate): (u64, Fate),
        subtasks: &mut [Subtask],
        later: &[Step],
    ) -> Vec<Segment> {
        let before = self.newest.as_ref().filter(|_| fate != Fate::Savepoint);
        let cut = Cut {
            checkpoint: CheckpointId(number),
            base: before.map(|(checkpoint, _)| *checkpoint),
        };
        let earlier = before.map_or_else(Vec::new, |(_, segments)| segments.clone());
        let mut all = Vec::new();
        for (at, subtask) in subtasks.iter_mut().enumerate() {
            let own = later.iter().filter(|step| {
                let key = key_of(subtask.index.is_word(), step.key);
                let group = key::key_group(key::hash(&key), KEY_GROUPS_DEFAULT);
                subtask.index.range().contains(group)
            });
            let own: Vec<Step> = own.cloned().collect();
            let (kept, written) = subtask.cut(cut, &earlier, &own);
            all.extend(kept);
            for (piece, encoded) in written.into_iter().enumerate() {
                self.deltas += usize::from(encoded.kind == SegmentKind::Delta);
                let name = format!("{number}/{at}/{piece}");
                all.push(encoded.segment(name.clone()));
                self.files.insert(name, encoded);
            }
        }
        if fate == Fate::Decided {
            self.newest = Some((cut.checkpoint, all.clone()));
        }
        all
    }

    fn readers(&self, segments: &[Segment]) -> Vec<Reader> {
        let open = |segment: &Segment| {
            let bytes = self.files[&segment.object.name].bytes.clone();
            Reader::open(bytes.into(), segment).expect("what was written")
        };
        segments.iter().map(open).collect()
    }
}

fn few_steps() -> impl Strategy<Value = Vec<Step>> {
    steps().prop_map(|mut steps| {
        steps.truncate(steps.len() / 12);
        steps
    })
}

proptest! {
    #[test]
    fn deltas_add_up_to_the_state(
        is_word in any::<bool>(),
        first in steps(),
        rounds in prop::collection::vec(
            (
                few_steps(),
                few_steps(),
                prop::sample::select(vec![
                    Fate::Decided,
                    Fate::Decided,
                    Fate::Aborted,
                    Fate::Savepoint,
                ]),
            ),
            1..9,
        ),
        old in 1..4_u16,
    ) {
        let mut subtasks = subtasks(is_word, old, &[]);
        subtasks.iter_mut().for_each(|subtask| subtask.index.track_changes());
        for step in &first {
            own(&mut subtasks, is_word, step).step(step);
        }
        let mut log = Log::default();
        let mut numbers = 1..;
        let rounds = [(Vec::new(), Vec::new(), Fate::Decided)].into_iter().chain(rounds);
        for (before, later, fate) in rounds {
            for step in &before {
                own(&mut subtasks, is_word, step).step(step);
            }
            let model = whole(&mut subtasks);
            let number = numbers.next().expect("numbers go on");
            let segments = log.checkpoint((number, fate), &mut subtasks, &later);
            if fate == Fate::Savepoint {
                let own = format!("{number}/");
                prop_assert!(segments.iter().all(|it| it.object.name.starts_with(&own)));
            }
            let readers = log.readers(&segments);
            for new in [1, 2, 5] {
                let mut is = self::subtasks(is_word, new, &[]);
                for subtask in &mut is {
                    subtask.restore(&readers).expect("what was written");
                    subtask.index.recycle();
                }
                prop_assert_eq!(whole(&mut is), model.clone());
            }
        }
    }
}

/// Sixty keys with a value each.
fn many_keys() -> Vec<Step> {
    let step = |key| Step {
        key,
        state: 0,
        seed: 1,
        time: 0,
    };
    (0..60).map(step).collect()
}

#[test]
fn a_delta_holds_what_changed_and_says_what_is_gone() {
    let mut subtasks = subtasks(true, 1, &[]);
    subtasks[0].index.track_changes();
    for step in many_keys() {
        subtasks[0].step(&step);
    }
    let mut log = Log::default();
    log.checkpoint((1, Fate::Decided), &mut subtasks, &[]);
    // One key changes, one goes, one goes and comes back, one is only looked at.
    let step = |key, seed| Step {
        key,
        state: 0,
        seed,
        time: 0,
    };
    for (key, seed) in [(3, 2), (4, 7), (5, 7), (5, 9)] {
        subtasks[0].step(&step(key, seed));
    }
    let known = key_of(true, 6);
    subtasks[0].id(&known);
    // The first try is given up: the next delta has its changes too.
    let aborted = log.checkpoint((2, Fate::Aborted), &mut subtasks, &[]);
    subtasks[0].step(&step(7, 3));
    let decided = log.checkpoint((3, Fate::Decided), &mut subtasks, &[]);
    let keys = |segments: &[Segment]| {
        let last = segments.last().expect("a delta").clone();
        assert_eq!(last.kind, SegmentKind::Delta);
        let readers = log.readers(&[last]);
        let gone = readers[0].addresses().len() - 1;
        let mut keys = BTreeMap::new();
        for rows in readers[0].rows(KeyGroupRange::all(KEY_GROUPS_DEFAULT)) {
            let rows = rows.expect("what was written");
            for row in (0..rows.len()).map(|at| rows.get(at)) {
                keys.insert(row.key.to_vec(), row.address == gone);
            }
        }
        keys
    };
    let expected = |of: &[(u64, bool)]| -> BTreeMap<Vec<u8>, bool> {
        of.iter()
            .map(|(key, gone)| (key_of(true, *key), *gone))
            .collect()
    };
    assert_eq!(
        keys(&aborted),
        expected(&[(3, false), (4, true), (5, false)])
    );
    let all = [(3, false), (4, true), (5, false), (7, false)];
    assert_eq!(keys(&decided), expected(&all));
    assert_eq!(decided.len(), 2, "a base and a delta");
}

#[test]
fn deltas_that_outgrow_their_base_are_followed_by_a_base() {
    let mut subtasks = subtasks(true, 1, &[]);
    subtasks[0].index.track_changes();
    for step in many_keys() {
        subtasks[0].step(&step);
    }
    let mut log = Log::default();
    let mut kinds = Vec::new();
    for number in 1..12 {
        for key in 0..20 {
            subtasks[0].step(&Step {
                key,
                state: 0,
                seed: number as u8 % 6 + 1,
                time: 0,
            });
        }
        let segments = log.checkpoint((number, Fate::Decided), &mut subtasks, &[]);
        kinds.push(segments.last().expect("a segment").kind);
        let bytes = |kind: SegmentKind| -> u64 {
            let of_kind = segments.iter().filter(|segment| segment.kind == kind);
            of_kind.map(|segment| segment.object.bytes).sum()
        };
        let largest = segments.iter().map(|it| it.object.bytes).max();
        let most = bytes(SegmentKind::Base) + largest.expect("a segment");
        assert!(bytes(SegmentKind::Delta) < most, "{kinds:?}");
    }
    let bases = kinds.iter().filter(|kind| **kind == SegmentKind::Base);
    assert!((2..8).contains(&bases.count()), "{kinds:?}");
}

#[test]
fn deltas_without_their_base_and_two_bases_are_refused() {
    let mut subtasks = subtasks(false, 1, &[]);
    subtasks[0].index.track_changes();
    for step in many_keys() {
        subtasks[0].step(&step);
    }
    let mut log = Log::default();
    log.checkpoint((1, Fate::Decided), &mut subtasks, &[]);
    subtasks[0].step(&many_keys()[0]);
    let segments = log.checkpoint((2, Fate::Decided), &mut subtasks, &[]);
    let restored = |segments: &[Segment]| {
        let mut is = self::subtasks(false, 1, &[]);
        is[0]
            .restore(&log.readers(segments))
            .map_err(|error| error.to_string())
    };
    restored(&segments).expect("a base and its delta");
    let error = restored(&segments[1..]).expect_err("the base is missing");
    assert!(error.contains("without the base"), "{error}");
    let twice = [segments[0].clone(), segments[0].clone()];
    let error = restored(&twice).expect_err("two bases");
    assert!(error.contains("stands in both"), "{error}");
    let lying = Segment {
        kind: SegmentKind::Base,
        object: ObjectRef::clone(&segments[1].object),
        ..segments[1].clone()
    };
    let bytes = log.files[&lying.object.name].bytes.clone();
    let error = Reader::open(bytes.into(), &lying).expect_err("it is a delta");
    assert!(
        error.to_string().contains("says that it is a delta"),
        "{error}"
    );
}

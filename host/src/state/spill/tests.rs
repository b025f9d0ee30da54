//! A cache of few keys over a disk, against a plain map.

use std::collections::BTreeMap;

use futures_executor::block_on;
use proptest::prelude::*;
use wasmill_core::checkpoint::{CheckpointId, Segment, SegmentKind};
use wasmill_core::data_type;
use wasmill_core::descriptor::{self, State};
use wasmill_core::key::{KEY_GROUPS_DEFAULT, KeyGroupRange, Keys};

use super::*;
use crate::segment::{Encoded, Reader, Row};
use crate::state::image::tests::{CLOCKS, collect};
use crate::state::{Cut, KeyedStates, Secret, places, restore};

/// States without an operator around them.
struct OfStates(KeyedStates);

impl Resident for OfStates {
    fn kept(&self) -> Vec<Kept> {
        self.0.kept()
    }

    fn write_key(&self, id: u32, rows: &mut KeyRows<'_>) -> Result<(), SegmentError> {
        self.0.write_key(id, rows)
    }

    fn take_row(
        &mut self,
        (id, row): (u32, &Row<'_>),
        index: &mut KeyIndex,
    ) -> Result<(), RestoreError> {
        let state = self.0.state_at(row.address).expect("an address of its own");
        self.0.restore(state, (id, row), CLOCKS, index)
    }

    fn drop_key(&mut self, id: u32, index: &mut KeyIndex) {
        self.0.drop_key(id, index);
    }

    fn bytes(&self) -> (usize, usize) {
        let content = self.0.content_bytes();
        (self.0.bytes() - content, content)
    }
}

fn states() -> Vec<State> {
    let state = |name: &str, kind, key: Option<&str>, value: &str| State {
        name: name.into(),
        kind,
        value: data_type::parse_field("value", value).expect("a type"),
        key: key.map(|key| data_type::parse_field("key", key).expect("a type")),
        column: None,
        items_max: None,
        ttl: None,
        schema_id: String::new(),
        migrations: Vec::new(),
    };
    use descriptor::Kind as Of;
    vec![
        state("n", Of::Value, None, "u64"),
        state("text", Of::Value, None, "bytes"),
        state("list", Of::List, None, "u32"),
        state("map", Of::Map, Some("u8"), "u32"),
    ]
}

/// What one key has: rows by state, entry, value.
type Content = Vec<(usize, Vec<u8>, Vec<u8>)>;
type Model = BTreeMap<u64, Content>;

/// What is done with a key of a batch.
#[derive(Debug, Clone)]
struct Step {
    key: u64,
    content: Option<u8>,
}

/// All that a key has after a step: a number of rows of each kind, or nothing.
fn content(seed: u8) -> Content {
    let mut rows = vec![
        (0, Vec::new(), u64::from(seed).to_le_bytes().to_vec()),
        (1, Vec::new(), bytes(usize::from(seed) * 8)),
    ];
    for item in 0..u32::from(seed % 5) {
        rows.push((2, item.to_be_bytes().to_vec(), item.to_le_bytes().to_vec()));
    }
    for entry in 0..seed % 12 {
        rows.push((3, vec![entry], u32::from(seed).to_le_bytes().to_vec()));
    }
    rows
}

/// A byte string in the state encoding.
fn bytes(len: usize) -> Vec<u8> {
    [&(len as u32).to_le_bytes()[..], &vec![7; len]].concat()
}

struct Subtask {
    index: KeyIndex,
    kept: OfStates,
    spill: Option<Spill>,
    batch: BatchKeys,
}

fn row<'a>(key: &'a [u8], of: &'a (usize, Vec<u8>, Vec<u8>)) -> Row<'a> {
    Row {
        key_group: 0,
        key,
        address: of.0,
        entry: (of.0 >= 2).then_some(&of.1),
        value: Some(&of.2),
        time: None,
    }
}

impl Subtask {
    fn new(scratch: Option<(&Arc<Scratch>, usize)>) -> Self {
        let range = KeyGroupRange::all(KEY_GROUPS_DEFAULT);
        let mut index = KeyIndex::new(range, KEY_GROUPS_DEFAULT, true, Secret::seeded(3));
        let mut kept = OfStates(KeyedStates::new(&states()));
        let spill = scratch.map(|(scratch, bytes)| {
            let mut residents: Residents<'_> = vec![&mut kept];
            Spill::new(scratch, ("0", bytes), &mut index, &mut residents).expect("a disk")
        });
        Self {
            index,
            kept,
            spill,
            batch: BatchKeys::default(),
        }
    }

    /// A batch: what each of its keys has is compared, and then replaced.
    fn run(&mut self, steps: &[Step], model: &mut Model) {
        let steps: BTreeMap<u64, Option<u8>> =
            steps.iter().map(|step| (step.key, step.content)).collect();
        let keys: Vec<u64> = steps.keys().copied().collect();
        let keys = Keys::Words(keys.into());
        self.index.recycle();
        self.batch.clear();
        self.index.lookup(&keys, &keys.hashes(), &mut self.batch);
        if let Some(spill) = &mut self.spill {
            let mut residents: Residents<'_> = vec![&mut self.kept];
            let fetched = spill.fetch(&self.batch, &mut self.index, &mut residents);
            block_on(fetched).expect("a disk");
        }
        for (at, (key, wanted)) in steps.iter().enumerate() {
            let id = self.batch.ids[self.batch.row_to_key[at] as usize];
            let found = self.content(id);
            assert_eq!(
                found,
                model.get(key).cloned().unwrap_or_default(),
                "key {key}"
            );
            let Some(wanted) = wanted else { continue };
            self.index.touch(id);
            self.kept.0.drop_key(id, &mut self.index);
            model.remove(key);
            if *wanted > 0 {
                let rows = content(*wanted);
                for of in &rows {
                    let row = row(&[], of);
                    let set = self.kept.take_row((id, &row), &mut self.index);
                    set.expect("a row of its type");
                }
                model.insert(*key, rows);
            }
        }
        if let Some(spill) = &mut self.spill {
            let mut residents: Residents<'_> = vec![&mut self.kept];
            block_on(spill.settle(&mut self.index, &mut residents)).expect("a disk");
        }
    }

    fn content(&self, id: u32) -> Content {
        let mut rows = Rows::default();
        let mut of_key = KeyRows::new(&mut rows, (0, &[]), 0);
        self.kept.write_key(id, &mut of_key).expect("small rows");
        rows.0
    }

    fn checkpoint(&mut self, cut: Cut, earlier: &[Segment]) -> (Vec<Segment>, Vec<Encoded>) {
        let disk = self.spill.as_mut().map(|spill| {
            let image = spill.image(&mut self.index);
            block_on(image).expect("a disk")
        });
        let mut keys = self.index.image(cut);
        keys.set_disk(disk);
        let states = self.kept.0.image();
        collect(&keys.of_owner(0), &[&states], earlier)
    }
}

#[derive(Default)]
struct Rows(Content);

impl crate::state::image::TakeRow for Rows {
    fn take(&mut self, row: Row<'_>) -> Result<(), SegmentError> {
        let bytes = |bytes: Option<&[u8]>| bytes.unwrap_or_default().to_vec();
        self.0
            .push((row.address, bytes(row.entry), bytes(row.value)));
        Ok(())
    }
}

/// What segments hold, restored without a disk.
fn restored(readers: &[Reader]) -> Model {
    let mut is = Subtask::new(None);
    let places = places(readers, |of| is.kept.0.state_of(of.kind, &of.name));
    let from = (readers, is.index.range());
    let kept = &mut is.kept;
    let taken = restore(from, &mut is.index, &places, |index, id, (state, row)| {
        kept.0.restore(*state, (id, row), CLOCKS, index)
    });
    taken.expect("what was written");
    is.index.recycle();
    let mut model = Model::new();
    for id in 0..is.index.ids_end() as u32 {
        let content = is.content(id);
        if !content.is_empty() {
            let key = is.index.key(id).try_into().expect("a word");
            model.insert(u64::from_le_bytes(key), content);
        }
    }
    model
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..400_u64, prop::option::weighted(0.8, 0..40_u8));
    let step = step.prop_map(|(key, content)| Step { key, content });
    prop::collection::vec(step, 1..80)
}

/// A batch, then perhaps a checkpoint: whether it is decided.
fn rounds() -> impl Strategy<Value = Vec<(Vec<Step>, Option<bool>)>> {
    let checkpoint = prop::option::weighted(0.3, prop::bool::weighted(0.7));
    prop::collection::vec((steps(), checkpoint), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn keys_leave_and_come_back_as_they_were(rounds in rounds(), bytes in 4_000..40_000_usize) {
        let folder = tempfile::tempdir().expect("a folder");
        let scratch = scratch(folder.path(), "t").expect("it can be written");
        let mut subtask = Subtask::new(Some((&scratch, bytes)));
        subtask.index.track_changes();
        let mut model = Model::new();
        let mut files: BTreeMap<String, Encoded> = BTreeMap::new();
        let mut newest: Option<(CheckpointId, Vec<Segment>)> = None;
        for (number, (steps, checkpoint)) in (1..).zip(&rounds) {
            subtask.run(steps, &mut model);
            let Some(is_decided) = checkpoint else { continue };
            let cut = Cut {
                checkpoint: CheckpointId(number),
                base: newest.as_ref().map(|(checkpoint, _)| *checkpoint),
            };
            let earlier = newest.as_ref().map_or(&[][..], |(_, segments)| segments);
            let (kept, written) = subtask.checkpoint(cut, earlier);
            let mut segments = kept;
            for (piece, encoded) in written.into_iter().enumerate() {
                let name = format!("{number}/{piece}");
                segments.push(encoded.segment(name.clone()));
                files.insert(name, encoded);
            }
            let open = |segment: &Segment| {
                let bytes = files[&segment.object.name].bytes.clone();
                Reader::open(bytes.into(), segment).expect("what was written")
            };
            let readers: Vec<Reader> = segments.iter().map(open).collect();
            prop_assert_eq!(restored(&readers), model.clone(), "checkpoint {}", number);
            if *is_decided {
                newest = Some((cut.checkpoint, segments));
            }
        }
        let all: Vec<Step> = (0..400).map(|key| Step { key, content: None }).collect();
        all.chunks(20).for_each(|steps| subtask.run(steps, &mut model));
    }
}

#[test]
fn memory_stays_within_its_budget_and_deltas_are_small() {
    const BUDGET: usize = 64 << 10;
    let folder = tempfile::tempdir().expect("a folder");
    let scratch = scratch(folder.path(), "t").expect("it can be written");
    let mut subtask = Subtask::new(Some((&scratch, BUDGET)));
    subtask.index.track_changes();
    let mut model = Model::new();
    let mut most = 0;
    for key in (0..4_000_u64).step_by(20) {
        let step = |key| Step {
            key,
            content: Some(20),
        };
        let steps: Vec<Step> = (key..key + 20).map(step).collect();
        subtask.run(&steps, &mut model);
        let residents: Residents<'_> = vec![&mut subtask.kept];
        most = most.max(live_bytes(&subtask.index, &residents));
    }
    assert!(most <= BUDGET, "{most} bytes are in memory");
    assert!(
        subtask.index.len() < 1_000,
        "{} keys are in memory",
        subtask.index.len()
    );
    let number = |checkpoint| Cut {
        checkpoint: CheckpointId(checkpoint),
        base: (checkpoint > 1).then_some(CheckpointId(checkpoint - 1)),
    };
    let (_, bases) = subtask.checkpoint(number(1), &[]);
    let rows: u64 = bases.iter().map(|base| base.rows).sum();
    let expected: usize = model.values().map(Vec::len).sum();
    assert_eq!(rows, expected as u64);
    let earlier: Vec<Segment> = bases.iter().map(|it| it.segment("1/0".into())).collect();
    // Ten keys change, and then all leave memory again.
    let step = |key, content| Step { key, content };
    let steps: Vec<Step> = (0..10).map(|key| step(key * 300, Some(1))).collect();
    subtask.run(&steps, &mut model);
    for key in (0..4_000_u64).step_by(20) {
        let steps: Vec<Step> = (key..key + 20).map(|key| step(key, None)).collect();
        subtask.run(&steps, &mut model);
    }
    let (kept, written) = subtask.checkpoint(number(2), &earlier);
    assert_eq!(kept, earlier);
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].kind, SegmentKind::Delta);
    let expected: usize = (0..10).map(|key| model[&(key * 300)].len()).sum();
    assert_eq!(written[0].rows, expected as u64);
}

#[test]
fn what_a_dead_process_left_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let dead = folder.path().join("t.0");
    std::fs::create_dir_all(&dead).expect("a folder");
    std::fs::write(dead.join("lock"), "").expect("a file");
    let unlocked = folder.path().join("t.1");
    std::fs::create_dir_all(&unlocked).expect("a folder");
    let other = folder.path().join("other.0");
    std::fs::create_dir_all(&other).expect("a folder");
    let scratch = scratch(folder.path(), "t").expect("it can be written");
    assert!(!dead.exists() && !unlocked.exists() && other.exists());
    let count = || std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(count(), 3, "the other's, our own and the lock");
    drop(scratch);
    assert_eq!(count(), 2);
}

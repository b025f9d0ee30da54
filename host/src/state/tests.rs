use std::collections::{BTreeMap, HashMap};

use arrow_buffer::ScalarBuffer;
use proptest::prelude::*;
use wasmill_core::boundary::Values;
use wasmill_core::descriptor::Ttl;
use wasmill_core::key::{KeyGroupRange, Keys, hash, hash_word, key_group};
use wasmill_core::timer::TimeDomain;

use super::*;

const GROUPS: u16 = 4;
const STILL: Clocks<'static> = Clocks {
    event: &[],
    processing: 0,
};

fn index(is_word: bool, seed: u64) -> KeyIndex {
    KeyIndex::new(
        KeyGroupRange::all(GROUPS),
        GROUPS,
        is_word,
        Secret::seeded(seed),
    )
}

fn words(keys: &[u64]) -> (Keys, Vec<u64>) {
    let hashes = keys.iter().map(|key| hash_word(*key)).collect();
    (Keys::Words(ScalarBuffer::from(keys.to_vec())), hashes)
}

fn texts(keys: &[u64]) -> (Keys, Vec<u64>) {
    let (mut offsets, mut data, mut hashes) = (vec![0], Vec::new(), Vec::new());
    for key in keys {
        let text = "k".repeat((key % 9) as usize) + &key.to_string();
        data.extend_from_slice(text.as_bytes());
        hashes.push(hash(text.as_bytes()));
        offsets.push(data.len() as u32);
    }
    (Keys::Bytes { offsets, data }, hashes)
}

/// Values of one width as a guest returns them, with their presence.
fn packed(values: &[Option<Vec<u8>>], width: usize) -> (Vec<u8>, Vec<u8>) {
    let mut bits = vec![0; values.len().div_ceil(8)];
    let bytes = values.iter().enumerate().flat_map(|(at, value)| {
        put_bit(&mut bits, at, value.is_some());
        value.clone().unwrap_or_else(|| vec![1; width])
    });
    (bytes.collect(), bits)
}

/// Random batches over few keys, against a map: values set and cleared, keys recycled.
fn run_model(is_word: bool, width: usize, seed: u64, batches: &[Vec<(u64, Option<u8>)>]) {
    let mut index = index(is_word, seed);
    let (mut fixed, mut var) = (FixedColumn::new(width, None), VarColumn::new(None));
    let mut model: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut batch = BatchKeys::default();
    for rows in batches {
        let keys: Vec<u64> = rows.iter().map(|(key, _)| *key).collect();
        let (columns, hashes) = if is_word { words(&keys) } else { texts(&keys) };
        batch.clear();
        index.lookup(&columns, &hashes, &mut batch);
        // Distinct keys in the order in which they were first seen, with the last change of each.
        let mut distinct: Vec<u64> = Vec::new();
        let mut changes: BTreeMap<u32, Option<Vec<u8>>> = BTreeMap::new();
        for (row, (key, change)) in rows.iter().enumerate() {
            let at = distinct
                .iter()
                .position(|known| known == key)
                .unwrap_or_else(|| {
                    distinct.push(*key);
                    distinct.len() - 1
                });
            assert_eq!(batch.row_to_key[row] as usize, at);
            assert_eq!(index.key(batch.ids[at]), columns.to_bytes(row));
            changes.insert(at as u32, change.map(|byte| vec![byte; width]));
        }
        assert_eq!(batch.ids.len(), distinct.len());
        let (mut values, mut present) = (
            vec![9; distinct.len() * width],
            vec![9; distinct.len().div_ceil(8)],
        );
        let count = fixed.gather(&batch.ids, STILL, &mut values, &mut present);
        assert_eq!(
            count,
            distinct
                .iter()
                .filter(|key| model.contains_key(key))
                .count()
        );
        for (at, key) in distinct.iter().enumerate() {
            let known = model.get(key);
            assert_eq!(present[at / 8] >> (at % 8) & 1 == 1, known.is_some());
            let value = &values[at * width..(at + 1) * width];
            assert_eq!(value, known.map_or(&vec![0; width][..], |value| &value[..]));
            assert_eq!(var.get(batch.ids[at], 0), known.map(|value| &value[..]));
        }
        let at: Vec<u32> = changes.keys().copied().collect();
        let values: Vec<Option<Vec<u8>>> = changes.into_values().collect();
        let (bytes, bits) = packed(&values, width);
        let validity = values.iter().any(Option::is_none).then_some(&bits[..]);
        let values_packed = Values::Fixed {
            width,
            bytes: &bytes,
            validity,
        };
        fixed.scatter(&at, values_packed, STILL, (&batch, &mut index));
        var.scatter(&at, |i| values[i].as_deref(), STILL, (&batch, &mut index));
        for (at, value) in at.iter().zip(values) {
            let key = distinct[*at as usize];
            match value {
                Some(value) => model.insert(key, value),
                None => model.remove(&key),
            };
        }
        index.recycle();
        assert_eq!(index.len(), model.len(), "keys without state are forgotten");
        assert_eq!((fixed.len(), var.len()), (model.len(), model.len()));
    }
}

fn batches() -> impl Strategy<Value = Vec<Vec<(u64, Option<u8>)>>> {
    let row = (0..90_u64, prop::option::weighted(0.7, any::<u8>()));
    prop::collection::vec(prop::collection::vec(row, 0..60), 0..12)
}

proptest! {
    #[test]
    fn words_are_kept_as_a_map_would(
        rows in batches(),
        width in prop::sample::select(vec![8_usize, 11, 24]),
        seed in any::<u64>(),
    ) {
        run_model(true, width, seed, &rows);
    }

    #[test]
    fn texts_are_kept_as_a_map_would(rows in batches(), seed in any::<u64>()) {
        run_model(false, 11, seed, &rows);
    }

    #[test]
    fn lists_are_kept_as_deques_would(
        script in prop::collection::vec(
            (0..4_u64, 0..4_u32, prop::collection::vec(0..5_usize, 0..5)),
            0..60,
        ),
        width in prop::option::of(Just(2_usize)),
    ) {
        let mut index = index(true, 1);
        let mut lists = ListColumn::new(width, 6, None);
        let mut model: HashMap<u64, Vec<Vec<u8>>> = HashMap::new();
        let mut batch = BatchKeys::default();
        for (key, drop, lengths) in script {
            let (keys, hashes) = words(&[key]);
            batch.clear();
            index.lookup(&keys, &hashes, &mut batch);
            let item = |len: &usize| vec![*len as u8; width.unwrap_or(*len)];
            let items: Vec<Vec<u8>> = lengths.iter().map(item).collect();
            let each = |_: usize| items.iter().map(|item| &item[..]);
            lists.scatter((&[0], &[drop]), each, STILL, (&batch, &mut index));
            let list = model.entry(key).or_default();
            list.drain(..list.len().min(drop as usize));
            list.extend(items.iter().cloned());
            list.drain(..list.len().saturating_sub(6));
            let mut out = Lists::default();
            lists.gather(&batch.ids, STILL, &mut out);
            prop_assert_eq!(&out.lists, &vec![0, list.len() as i32]);
            prop_assert_eq!(&out.data, &list.concat());
            model.retain(|_, list| !list.is_empty());
            index.recycle();
            prop_assert_eq!(lists.len(), model.len());
            prop_assert_eq!(index.len(), model.len());
        }
    }

    #[test]
    fn maps_are_kept_as_maps(
        script in prop::collection::vec(
            (0..4_u64, 0..6_u8, prop::option::of(0..4_usize), any::<bool>()),
            0..80,
        ),
    ) {
        let mut index = index(true, 1);
        let mut maps = MapColumn::new(None);
        let mut model: BTreeMap<(u64, Vec<u8>), Vec<u8>> = BTreeMap::new();
        let mut batch = BatchKeys::default();
        for (key, entry, value, is_clear) in script {
            let (keys, hashes) = words(&[key]);
            batch.clear();
            index.lookup(&keys, &hashes, &mut batch);
            let (id, entry) = (batch.ids[0], vec![entry]);
            if is_clear && entry[0] == 0 {
                maps.clear(id, &mut index);
                model.retain(|(owner, _), _| *owner != key);
            }
            match value {
                Some(len) => {
                    let value = vec![len as u8; len];
                    if maps.set(id, (&entry, &value), STILL, 0) {
                        index.hold(id);
                    }
                    model.insert((key, entry), value);
                }
                None => {
                    maps.remove(id, &entry, &mut index);
                    model.remove(&(key, entry));
                }
            }
            let expected: Vec<_> = model.iter().filter(|((owner, _), _)| *owner == key)
                .map(|((_, entry), value)| (&entry[..], &value[..])).collect();
            prop_assert_eq!(maps.entries(id, 0).collect::<Vec<_>>(), expected);
            index.recycle();
            prop_assert_eq!(maps.len(), model.len());
        }
        for id in 0..index.ids_end() as u32 {
            maps.clear(id, &mut index);
        }
        index.recycle();
        prop_assert!(index.is_empty());
        prop_assert_eq!(maps.len(), 0);
        prop_assert_eq!(maps.content_bytes(), 0, "what is freed is no longer counted");
    }
}

/// Keys that all want one place in the table of one secret: with another, they spread.
#[test]
fn chosen_keys_do_not_meet_under_another_secret() {
    let (known, other) = (Secret::seeded(1), Secret::seeded(2));
    let home = |secret: &Secret, key: u64| secret.mix(key) >> 52;
    let chosen: Vec<u64> = (0..4_000_000)
        .filter(|key| home(&known, *key) == 7)
        .take(500)
        .collect();
    assert_eq!(chosen.len(), 500);
    let homes: std::collections::HashSet<u64> =
        chosen.iter().map(|key| home(&other, *key)).collect();
    assert!(homes.len() > 400, "{} of 500 homes differ", homes.len());
}

#[test]
fn colliding_keys_are_told_apart() {
    let seed = 1;
    let secret = Secret::seeded(seed);
    let collide =
        |key: &u64| secret.mix(*key) >> 54 == 3 && key_group(hash_word(*key), GROUPS) == 0;
    let keys: Vec<u64> = (0..2_000_000).filter(collide).take(200).collect();
    let rows: Vec<Vec<(u64, Option<u8>)>> = vec![
        keys.iter().map(|key| (*key, Some(*key as u8))).collect(),
        keys.iter().step_by(3).map(|key| (*key, None)).collect(),
        keys.iter().map(|key| (*key, Some(1))).collect(),
        keys.iter().map(|key| (*key, None)).collect(),
    ];
    run_model(true, 24, seed, &rows);
}

#[test]
fn keys_of_several_inputs_and_of_timers_join_one_batch() {
    let mut index = index(true, 1);
    let mut batch = BatchKeys::default();
    let (keys, hashes) = words(&[5, 6, 5]);
    index.lookup(&keys, &hashes, &mut batch);
    let (keys, hashes) = words(&[7, 6]);
    index.lookup(&keys, &hashes, &mut batch);
    assert_eq!(batch.row_to_key, [0, 1, 0, 2, 1]);
    let sleeper = batch.ids[2];
    index.hold(sleeper);
    index.recycle();
    batch.clear();
    let (keys, hashes) = words(&[6]);
    index.lookup(&keys, &hashes, &mut batch);
    assert_eq!(index.include(sleeper, &mut batch), 1);
    assert_eq!(index.include(sleeper, &mut batch), 1);
    assert_eq!(index.key(batch.ids[1]), 7_u64.to_le_bytes());
}

#[test]
fn values_expire_at_read_and_are_swept() {
    let ttl = Some(Ttl {
        after_us: 10,
        time: TimeDomain::Event,
    });
    let mut index = index(true, 1);
    let mut batch = BatchKeys::default();
    let (keys, hashes) = words(&[1, 2]);
    index.lookup(&keys, &hashes, &mut batch);
    let (mut fixed, mut var) = (FixedColumn::new(8, ttl), VarColumn::new(ttl));
    let clocks = |event| Clocks {
        event,
        processing: 0,
    };
    let value = |_: usize| Some(&[7; 8][..]);
    let sevens = Values::Fixed {
        width: 8,
        bytes: &[7; 16],
        validity: None,
    };
    fixed.scatter(&[0, 1], sevens, clocks(&[-100, 5]), (&batch, &mut index));
    var.scatter(&[0, 1], value, clocks(&[-100, 5]), (&batch, &mut index));
    let (mut values, mut present) = ([1; 16], [0]);
    let mut gather = |event| {
        let count = fixed.gather(&batch.ids, clocks(event), &mut values, &mut present);
        (count, present[0], values[0], values[8])
    };
    assert_eq!(gather(&[-91, 14]), (2, 3, 7, 7));
    assert_eq!(gather(&[-90, 14]), (1, 2, 0, 7));
    assert_eq!(var.get(batch.ids[1], 15), None);
    assert_eq!(fixed.sweep(0, 1, 14, &mut index), 1);
    assert_eq!(fixed.sweep(1, 100_000, 14, &mut index), 0);
    assert_eq!(var.sweep(0, 100_000, 14, &mut index), 0);
    index.recycle();
    assert_eq!((fixed.len(), var.len(), index.len()), (1, 1, 1));
}

#[test]
fn entries_of_a_batch_are_distinct_by_key_and_map_key() {
    let mut batch = BatchKeys::default();
    batch.row_to_key = vec![0, 1, 0, 0, 1];
    let names = ["a", "a", "b", "a", "a"];
    let mut entries = MapEntries::new();
    entries.collect(&batch, |row, out| {
        out.extend_from_slice(names[row].as_bytes())
    });
    assert_eq!(entries.row_to_entry, [0, 1, 2, 0, 1]);
    assert_eq!(entries.keys, [0, 1, 0]);
    assert_eq!(entries.entry(2), b"b");
}

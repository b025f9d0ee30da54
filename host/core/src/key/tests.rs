use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray, UInt64Array};
use arrow_schema::Field;
use proptest::prelude::*;

use super::*;

fn batch(columns: Vec<(&str, bool, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, nullable, array)| Field::new(*name, array.data_type().clone(), *nullable))
        .collect();
    let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("the columns fit")
}

fn keys(batch: &RecordBatch, names: &[&str]) -> Keys {
    KeyCodec::new(&batch.schema(), names)
        .expect("the columns exist")
        .keys(batch)
}

#[test]
fn a_sliced_word_column_is_read_from_its_own_rows() {
    let rows = batch(vec![(
        "k",
        false,
        Arc::new(Int64Array::from(vec![9, -1, 7])),
    )])
    .slice(1, 2);
    let keys = keys(&rows, &["k"]);
    assert!(matches!(&keys, Keys::Words(words) if words[..] == [u64::MAX, 7]));
    assert_eq!(keys.to_bytes(1), 7_i64.to_le_bytes());
    assert_eq!(keys.hashes()[1], hash(&7_i64.to_le_bytes()));
}

#[test]
fn several_columns_stand_one_after_the_other() {
    let names = StringArray::from(vec![Some("ab"), None]);
    let rows = batch(vec![
        ("name", true, Arc::new(names)),
        ("id", false, Arc::new(UInt64Array::from(vec![5, 6]))),
    ]);
    let keys = keys(&rows, &["id", "name"]);
    assert_eq!(keys.to_bytes(0), b"\x05\0\0\0\0\0\0\0\x01\x02\0\0\0ab");
    assert_eq!(keys.to_bytes(1), b"\x06\0\0\0\0\0\0\0\0");
    assert_eq!(keys.hashes()[0], hash(&keys.to_bytes(0)));
}

#[test]
fn equal_floats_are_one_key() {
    let odd_nan = f64::from_bits(0xfff8_0000_0000_0001);
    let values = Float64Array::from(vec![0.0, -0.0, f64::NAN, odd_nan]);
    let keys = keys(&batch(vec![("f", false, Arc::new(values))]), &["f"]);
    assert_eq!(keys.to_bytes(0), keys.to_bytes(1));
    assert_eq!(keys.to_bytes(2), keys.to_bytes(3));
    assert_eq!(keys.to_bytes(2), 0x7ff8_0000_0000_0000_u64.to_le_bytes());
}

#[test]
fn hashes_are_golden() {
    let text = include_str!("../../../../docs/formats/vectors/keys.json");
    let cases: serde_json::Value = serde_json::from_str(text).expect("the vectors are JSON");
    for case in cases["cases"].as_array().expect("cases") {
        let digits = case["bytes"].as_str().expect("hex").as_bytes();
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex")
            })
            .collect();
        let expected = case["hash"].as_str().expect("hex");
        assert_eq!(format!("{:016x}", hash(&bytes)), expected, "{case}");
        assert_eq!(
            u64::from(key_group(hash(&bytes), 128)),
            case["key_group"].as_u64().expect("a number")
        );
    }
}

#[test]
fn an_unknown_column_is_named_with_the_known_ones() {
    let schema = Schema::new(vec![Field::new("a", DataType::Int64, false)]);
    let error = KeyCodec::new(&schema, &["b"]).expect_err("no such column");
    assert_eq!(
        error.to_string(),
        "there is no column `b`, the columns are a"
    );
}

proptest! {
    #[test]
    fn the_word_hash_is_xxh3(word in any::<u64>()) {
        prop_assert_eq!(hash_word(word), xxh3_64(&word.to_le_bytes()));
    }

    #[test]
    fn ranges_cover_all_groups_and_overlap_nowhere(
        groups in 1..=32_768_u16,
        parallelism in 1..=512_u16,
    ) {
        let ranges: Vec<_> = (0..parallelism)
            .map(|subtask| KeyGroupRange::of_subtask(subtask, parallelism, groups)).collect();
        prop_assert_eq!(ranges[0].start, 0);
        prop_assert_eq!(ranges[ranges.len() - 1].end, groups);
        for pair in ranges.windows(2) {
            prop_assert_eq!(pair[0].end, pair[1].start);
        }
        let least = ranges.iter().map(|range| range.len()).min().expect("some");
        prop_assert!(ranges.iter().all(|range| range.len() - least <= 1));
        for group in (0..groups).step_by(97) {
            let owner = subtask_of(group, parallelism, groups);
            prop_assert!(ranges[usize::from(owner)].contains(group));
        }
    }

    #[test]
    fn partitioning_deals_each_row_once_in_order(
        hashes in prop::collection::vec(any::<u64>(), 0..200),
        groups in 1..300_u16,
        parallelism in 1..9_u16,
    ) {
        let mut lists = vec![vec![77]; usize::from(parallelism)];
        Partitioner::new(groups, parallelism).partition(&hashes, &mut lists);
        for (subtask, list) in lists.iter().enumerate() {
            prop_assert!(list.is_sorted());
            for row in list {
                let group = key_group(hashes[*row as usize], groups);
                prop_assert_eq!(usize::from(subtask_of(group, parallelism, groups)), subtask);
            }
        }
        prop_assert_eq!(lists.iter().map(Vec::len).sum::<usize>(), hashes.len());
    }
}

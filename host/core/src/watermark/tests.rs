use proptest::prelude::*;

use super::*;

fn advance(split: &mut SplitWatermark, times: &[i64]) -> (Vec<i64>, Vec<LateRow>) {
    let (mut clocks, mut late) = (Vec::new(), Vec::new());
    split.advance(times, &mut clocks, &mut late);
    (clocks, late)
}

#[test]
fn rows_within_the_bound_are_in_time() {
    let mut split = SplitWatermark::new(5);
    let (clocks, late) = advance(&mut split, &[10, 5, 12, 6, 7]);
    assert_eq!(clocks, [5, 5, 7, 7, 7]);
    let reason = Lateness::Behind;
    assert_eq!(late, [LateRow { row: 3, reason }]);
    assert_eq!(split.watermark(), 7);
}

#[test]
fn rows_behind_a_watermark_released_by_idleness_say_so() {
    let mut split = SplitWatermark::new(5);
    advance(&mut split, &[10]);
    split.resume_at(20);
    let (clocks, late) = advance(&mut split, &[4, 12, 19, 20]);
    assert_eq!(clocks, [20, 20, 20, 20]);
    let late: Vec<_> = late.iter().map(|late| (late.row, late.reason)).collect();
    let idle = Lateness::Idle;
    assert_eq!(late, [(0, Lateness::Behind), (1, idle), (2, idle)]);
}

#[test]
fn extreme_times_do_not_overflow() {
    let mut split = SplitWatermark::new(i64::MAX);
    let (clocks, late) = advance(&mut split, &[i64::MIN, 0, i64::MAX]);
    assert_eq!(clocks, [i64::MIN, i64::MIN + 1, 0]);
    assert_eq!(late, []);
}

#[test]
fn idleness_counts_from_the_last_row() {
    let mut idleness = Idleness::new(Some(30), 100);
    assert!(!idleness.is_idle(129));
    assert!(idleness.is_idle(130));
    idleness.active(125);
    assert!(!idleness.is_idle(130));
    assert_eq!(idleness.due_at_us(), Some(155));
    assert!(!Idleness::new(None, 0).is_idle(i64::MAX));
}

#[test]
fn the_slowest_active_lane_decides() {
    let mut merge = WatermarkMerge::with_lanes(2);
    assert_eq!(merge.update(0, 10), None);
    assert_eq!(merge.update(1, 7), Some(7));
    assert_eq!(merge.idle(1), Some(10));
    assert_eq!(merge.update(1, 8), None);
    assert_eq!(merge.current(), 10);
    assert_eq!(merge.update(0, 20), None);
    assert_eq!(merge.update(1, 15), Some(15));
    assert_eq!(merge.close(1), Some(20));
    assert_eq!(merge.idle(0), None);
    assert!(merge.is_idle());
    assert_eq!(merge.close(0), Some(END));
    assert!(merge.is_closed());
}

#[test]
fn a_new_lane_holds_back_but_never_turns_back() {
    let mut merge = WatermarkMerge::with_lanes(1);
    assert_eq!(merge.update(0, 10), Some(10));
    let lane = merge.open();
    assert_eq!(merge.update(0, 30), None);
    assert_eq!(merge.update(lane, 5), None);
    assert_eq!(merge.current(), 10);
    assert_eq!(merge.update(lane, 12), Some(12));
}

proptest! {
    #[test]
    fn clocks_do_not_depend_on_batches(
        times in prop::collection::vec(-50..50_i64, 1..100),
        bound in 0..20_i64,
        cut in 0..100_usize,
    ) {
        let cut = cut.min(times.len());
        let mut whole = SplitWatermark::new(bound);
        let (clocks, late) = advance(&mut whole, &times);
        let mut parts = SplitWatermark::new(bound);
        let (mut part_clocks, mut part_late) = advance(&mut parts, &times[..cut]);
        let mut second = Vec::new();
        parts.advance(&times[cut..], &mut part_clocks, &mut second);
        part_late.extend(second.iter().map(|late| LateRow { row: late.row + cut as u32, ..*late }));
        prop_assert_eq!(&clocks, &part_clocks);
        prop_assert_eq!(&late, &part_late);
        for (row, time) in times.iter().enumerate() {
            let newest = times[..=row].iter().max().expect("at least this row");
            prop_assert_eq!(clocks[row], newest - bound);
            let is_late = late.iter().any(|late| late.row as usize == row);
            prop_assert_eq!(is_late, *time < newest - bound);
        }
    }

    #[test]
    fn the_merge_is_monotonic_and_the_minimum(
        script in prop::collection::vec((0..4_usize, 0..4_u8, -100..100_i64), 0..200),
    ) {
        let mut merge = WatermarkMerge::with_lanes(4);
        // Per lane: its watermark; none once it is closed. And whether it is idle.
        let mut model = [(Some(START), false); 4];
        let mut before = START;
        for (lane, kind, watermark) in script {
            let Some(old) = model[lane].0 else { continue };
            let rose = match kind {
                0 if watermark > 90 => { model[lane].0 = None; merge.close(lane) }
                0 => { model[lane].1 = true; merge.idle(lane) }
                _ => {
                    model[lane] = (Some(old.max(watermark)), false);
                    merge.update(lane, watermark)
                }
            };
            prop_assert_eq!(rose, (merge.current() > before).then_some(merge.current()));
            prop_assert!(merge.current() >= before);
            let active = model.iter().filter(|lane| !lane.1).filter_map(|lane| lane.0).min();
            let is_closed = model.iter().all(|lane| lane.0.is_none());
            let least = if is_closed { END } else { active.unwrap_or(before) };
            prop_assert_eq!(merge.current(), before.max(least));
            before = merge.current();
        }
    }
}

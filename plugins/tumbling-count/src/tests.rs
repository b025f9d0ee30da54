use super::*;

fn counter() -> Harness<TumblingCount> {
    Harness::new(r#"{ "size": "10s" }"#).keyed_by(&["page"])
}

fn click(page: &str, secs: i64) -> Click<'_> {
    let at = Timestamp::from_secs(secs).into();
    Click { page, at }
}

fn count(page: &str, secs: i64, count: u64) -> Count<'_> {
    let start = Timestamp::from_secs(secs);
    Count { page, start, count }
}

#[test]
fn a_window_is_emitted_when_it_is_over() {
    let mut counter = counter();
    let effects = counter.push(&[click("/", 1), click("/", 9), click("/a", 3), click("/", 11)]);
    assert_eq!(
        effects.rows(),
        [count("/", 0, 2), count("/a", 0, 1)],
        "within the same batch"
    );
    let effects = counter.advance_to(Timestamp::MAX);
    assert_eq!(effects.rows(), [count("/", 10, 1)]);
    assert_eq!(
        counter
            .value::<Vec<Window>>("open", "/")
            .map(|open| open.len()),
        None
    );
}

#[test]
fn a_late_row_is_refused() {
    let mut counter = counter();
    counter.push(&[click("/", 1), click("/", 25)]);
    let effects = counter.push(&[click("/", 2), click("/", 24)]);
    assert_eq!(
        effects.rejected(),
        [(0, "the row's window is over".to_owned())]
    );
}

#[test]
fn batches_do_not_show() {
    let times = [1, 5, 12, 9, 13, 31, 30, 33, 47];
    let run = |size: usize| {
        let mut counter = counter();
        let mut seen = Vec::new();
        let owned = |row: Count<'_>| (row.start, row.count);
        for batch in times.chunks(size) {
            let clicks: Vec<_> = batch.iter().map(|secs| click("/", *secs)).collect();
            seen.extend(counter.push(&clicks).rows().into_iter().map(owned));
        }
        seen.extend(
            counter
                .advance_to(Timestamp::MAX)
                .rows()
                .into_iter()
                .map(owned),
        );
        seen
    };
    let whole = run(times.len());
    assert_eq!(
        whole.iter().map(|(_, count)| count).sum::<u64>(),
        8,
        "9 comes late"
    );
    for size in 1..times.len() {
        assert_eq!(run(size), whole, "batches of {size}");
    }
}

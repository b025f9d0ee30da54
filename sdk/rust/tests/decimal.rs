//! Decimals: who is blamed for a sum that leaves the range. A binary of its own, since a panic hook
//! is of the whole process.

use std::panic::catch_unwind;
use std::sync::{Arc, Mutex};
use wasmill_sdk::Decimal;

type Cents = Decimal<2, 2>;

#[test]
fn a_sum_that_leaves_the_range_blames_the_line_that_added() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let places = Arc::clone(&seen);
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic
            .location()
            .map(|place| (place.file().to_owned(), place.line()));
        places.lock().unwrap().extend(place);
    }));
    let most = Cents::from_unscaled(99).unwrap();
    let line = line!();
    let sums: [fn(Cents) -> Cents; 4] = [
        |most| most + most,
        |most| -most - most,
        |mut most| {
            most += most;
            most
        },
        |mut most| {
            most -= -most;
            most
        },
    ];
    for sum in sums {
        assert!(catch_unwind(|| sum(most)).is_err());
    }
    drop(std::panic::take_hook());
    let here = |offset| (file!().to_owned(), line + offset);
    assert_eq!(*seen.lock().unwrap(), [here(2), here(3), here(5), here(9)]);
}

#[test]
fn many_decimals_have_a_sum() {
    let cents = [1, 2, 3].map(|cents| Cents::from_unscaled(cents).unwrap());
    assert_eq!(
        cents.iter().sum::<Cents>(),
        cents.into_iter().sum::<Cents>()
    );
    assert_eq!(cents.iter().sum::<Cents>().unscaled(), 6);
    assert_eq!(std::iter::empty::<Cents>().sum::<Cents>(), Cents::ZERO);
}

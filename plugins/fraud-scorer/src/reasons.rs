//! Why a payment scored as it did: the values that the model saw, as people read them.

use crate::amount::amount_text;
use crate::inputs::Features;

/// The values behind a score; all of them exact, so that every machine writes the same.
#[must_use]
pub fn reasons(features: &Features<'_>) -> String {
    let [_, count_10m, count_1h, _] = features.counts;
    let [sum_1h, sum_1d] = features.sums_minor.map(amount_text);
    let Features {
        rows_50,
        merchants_1h,
        countries_2h,
        channel,
        ..
    } = *features;
    let max = amount_text(features.max_50_minor);
    format!(
        "by {channel}: {count_10m} payments within 10 min, {count_1h} within an hour at \
         {merchants_1h} merchants, {countries_2h} countries within two hours, {sum_1h} spent \
         within an hour, {sum_1d} within a day, largest of the latest {rows_50} is {max}"
    )
}

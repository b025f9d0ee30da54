//! What windows keep, as columns and as JSON.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow_schema::{DataType, Field};
use serde_json::{Value as Json, json};
use wasmill_core::{
    data_type,
    encoding::{self, EncodingError},
};

use crate::window::{Definition, Kept};

/// The columns that all windows have.
pub(super) fn fields() -> [Field; 4] {
    [
        Field::new("part", DataType::Utf8, false),
        Field::new("start", data_type::timestamp(), true),
        Field::new("end", data_type::timestamp(), true),
        Field::new("rows", DataType::UInt64, true),
    ]
}

/// The columns for rows of entries and values; none if one is not what windows keep.
pub(super) fn columns<'a>(
    definition: &Definition,
    rows: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Option<Vec<ArrayRef>>, EncodingError> {
    let kept = rows.map(|(entry, value)| definition.describe(entry, value));
    let Some(kept) = kept.collect::<Option<Vec<Kept>>>() else {
        return Ok(None);
    };
    let parts = kept.iter().map(|it| it.part);
    let times = |of: fn(&Kept) -> Option<i64>| {
        let times = kept.iter().map(of).collect::<TimestampMicrosecondArray>();
        Arc::new(times.with_timezone("UTC")) as ArrayRef
    };
    let rows: UInt64Array = kept.iter().map(|it| it.rows).collect();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(parts)),
        times(|it| it.start),
        times(|it| it.end),
        Arc::new(rows),
    ];
    columns.extend(definition.columns(&kept)?);
    Ok(Some(columns))
}

/// What windows keep, for people; none if it is not what they keep.
pub(super) fn to_json(definition: &Definition, entry: &[u8], value: &[u8]) -> Option<Json> {
    let kept = definition.describe(entry, value)?;
    let mut told = json!({ "part": kept.part });
    let times = [("start", kept.start), ("end", kept.end)];
    for (name, us) in times {
        if let Some(us) = us {
            let text = encoding::to_json(&data_type::timestamp(), false, &us.to_le_bytes());
            told[name] = text.unwrap_or_default();
        }
    }
    if let Some(rows) = kept.rows {
        told["rows"] = rows.into();
    }
    if let Some(aggregates) = definition.to_json(&kept) {
        told["aggregates"] = aggregates;
    }
    Some(told)
}

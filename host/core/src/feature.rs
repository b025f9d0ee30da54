//! Declared features: rolling aggregates of a key's rows that the engine computes as of each row.
//!
//! A feature of a row covers the row itself and those rows of its key before it, in the operator's
//! order, that lie in the window: the times in (t - over, t], or the last `rows` rows. Null values
//! are left out.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::DurationText;
use crate::spelling;

/// Rows that a key keeps for one window unless `rows-max` says otherwise.
pub const ROWS_MAX_DEFAULT: u32 = 10_000;
/// The most that `rows-max` can be.
pub const ROWS_MAX_LIMIT: u32 = 10_000_000;

/// A feature as a pipeline document or a descriptor writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FeatureSpec {
    /// How many rows: `rows`, or the name of a column whose values that are not null are counted.
    /// Type `u64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<String>,
    /// The sum of a column: `i64`, `u64`, `f64`, or `decimal(38,s)` of a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<String>,
    /// The mean of a column, `f64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<String>,
    /// The population standard deviation of a column, `f64`; 0 for one row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<String>,
    /// The least value of a column, of the column's type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// The greatest value of a column, of the column's type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// The last values of a column, oldest first, as a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastSpec>,
    /// How many different values a column has, `u64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct: Option<String>,
    /// The exponentially weighted mean of a column, `f64`. A value of age `a` weighs `exp(-a /
    /// over)`; with `rows: n`, each row moves the mean by `2 / (n + 1)` of its distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ewma: Option<String>,
    /// The window as a duration of event time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<DurationText>,
    /// The window as a number of rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub rows: Option<u32>,
    /// The most rows a key may have in the window, 10,000 if not given; one more fails the
    /// operator, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub rows_max: Option<u32>,
    /// Rows are kept as one tile for each such stretch of time: less memory, edges as coarse as
    /// this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granularity: Option<DurationText>,
}

/// The last `n` values of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LastSpec {
    /// The column.
    pub column: String,
    /// How many values.
    #[schemars(range(min = 1, max = 10_000))]
    pub n: u32,
}

/// A feature that is known to be right: its column exists and fits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Feature {
    /// The name of the column that it becomes.
    pub name: String,
    /// What is computed.
    pub aggregate: Aggregate,
    /// The input column, by its position in the stream's schema; none for `count: rows`.
    pub column: Option<usize>,
    /// Over which rows.
    pub window: Window,
    /// The most rows a key may have in the window.
    pub rows_max: u32,
    /// The size of a tile in microseconds, where rows are not kept one by one.
    pub granularity_us: Option<i64>,
    /// The type of the result.
    pub data_type: DataType,
    /// Whether the result can be null: where every value of the window is.
    pub nullable: bool,
}

/// What a feature computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// The number of rows, or of values that are not null.
    Count,
    /// The sum.
    Sum,
    /// The mean.
    Mean,
    /// The population standard deviation.
    Deviation,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The last `n` values, oldest first.
    Last {
        /// How many.
        n: u32,
    },
    /// The number of different values.
    Distinct,
    /// The exponentially weighted mean.
    Ewma,
}

impl Aggregate {
    /// The name by which documents call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Deviation => "deviation",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last { .. } => "last",
            Self::Distinct => "distinct",
            Self::Ewma => "ewma",
        }
    }
}

/// Which rows a feature covers; the row itself is always among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// Event times in (t - us, t].
    Over {
        /// Microseconds.
        us: i64,
    },
    /// The last rows.
    Rows(u32),
}

/// Why a feature cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FeatureError {
    /// The field of the declaration that is wrong, if it is one.
    pub field: Option<&'static str>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub remedy: Option<String>,
}

impl Feature {
    /// The column that the feature becomes.
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), self.nullable)
    }
}

impl FeatureSpec {
    /// Binds the declaration to the columns of its stream.
    pub fn bind(
        &self,
        name: &str,
        schema: &Schema,
        has_time: bool,
    ) -> Result<Feature, FeatureError> {
        let (aggregate, field, column) = self.aggregate()?;
        let window = self.window(aggregate)?;
        if matches!(window, Window::Over { .. }) && !has_time {
            return Err(error(
                Some("over"),
                "a window over a duration needs event time",
                Some("declare `event-time` at the source, or use `rows: N`".into()),
            ));
        }
        let column = match (aggregate, column) {
            (Aggregate::Count, "rows") => None,
            (_, column) => Some(find(schema, field, column)?),
        };
        let input = column.map(|column| schema.field(column));
        let (data_type, nullable) = result(aggregate, field, input)?;
        Ok(Feature {
            name: name.into(),
            aggregate,
            column,
            window,
            rows_max: self
                .rows_max
                .unwrap_or(ROWS_MAX_DEFAULT)
                .min(ROWS_MAX_LIMIT),
            granularity_us: self.granularity(aggregate, window)?,
            data_type,
            nullable,
        })
    }

    /// The one aggregate that is declared: what, under which field, over which column.
    fn aggregate(&self) -> Result<(Aggregate, &'static str, &str), FeatureError> {
        let last = self.last.as_ref();
        let last_n = last.map_or(0, |last| last.n);
        let candidates = [
            (Aggregate::Count, "count", self.count.as_deref()),
            (Aggregate::Sum, "sum", self.sum.as_deref()),
            (Aggregate::Mean, "mean", self.mean.as_deref()),
            (Aggregate::Deviation, "deviation", self.deviation.as_deref()),
            (Aggregate::Min, "min", self.min.as_deref()),
            (Aggregate::Max, "max", self.max.as_deref()),
            (
                Aggregate::Last { n: last_n },
                "last",
                last.map(|last| last.column.as_str()),
            ),
            (Aggregate::Distinct, "distinct", self.distinct.as_deref()),
            (Aggregate::Ewma, "ewma", self.ewma.as_deref()),
        ];
        let mut given = candidates
            .into_iter()
            .filter_map(|(aggregate, field, column)| Some((aggregate, field, column?)));
        let names = "`count`, `sum`, `mean`, `deviation`, `min`, `max`, `last`, `distinct`, `ewma`";
        match (given.next(), given.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(error(
                None,
                "the feature does not say what to compute",
                Some(format!("add one of {names}")),
            )),
            (Some((_, first, _)), Some((_, second, _))) => Err(error(
                Some(second),
                &format!("a feature computes one thing, here stand `{first}` and `{second}`"),
                Some("declare two features".into()),
            )),
        }
    }

    /// The rows that are covered: a duration or a number of rows, as far as the aggregate has one.
    fn window(&self, aggregate: Aggregate) -> Result<Window, FeatureError> {
        let last_rows = match aggregate {
            Aggregate::Last { n } => Some(n),
            _ => None,
        };
        match (self.over, self.rows) {
            (Some(over), None) if over.as_us() > 0 => Ok(Window::Over { us: over.as_us() }),
            (Some(_), None) => Err(error(
                Some("over"),
                "a window of no length covers nothing",
                None,
            )),
            (None, Some(rows)) if rows > 0 => Ok(Window::Rows(rows)),
            (None, Some(_)) => Err(error(
                Some("rows"),
                "a window of no rows covers nothing",
                None,
            )),
            (None, None) => last_rows.map(Window::Rows).ok_or_else(|| {
                let remedy = "add `over: DURATION` or `rows: N`";
                error(None, "the feature has no window", Some(remedy.into()))
            }),
            (Some(_), Some(_)) => Err(error(
                Some("rows"),
                "a window is a duration or a number of rows, not both",
                Some("keep one of `over` and `rows`".into()),
            )),
        }
    }

    /// The length of a tile, where one is asked for and the aggregate can be put together from
    /// tiles.
    fn granularity(
        &self,
        aggregate: Aggregate,
        window: Window,
    ) -> Result<Option<i64>, FeatureError> {
        let Some(granularity) = self.granularity else {
            return Ok(None);
        };
        let refuse = |message: &str| Err(error(Some("granularity"), message, None));
        match window {
            Window::Rows(_) => refuse("`granularity` goes with `over`, not with `rows`"),
            Window::Over { us } if granularity.as_us() <= 0 || granularity.as_us() > us => {
                refuse("`granularity` lies between nothing and the window's length")
            }
            Window::Over { .. }
                if matches!(aggregate, Aggregate::Last { .. } | Aggregate::Ewma) =>
            {
                refuse("`last` and `ewma` need no tiles")
            }
            Window::Over { .. } => Ok(Some(granularity.as_us())),
        }
    }
}

/// A mistake in a field of the feature.
fn error(field: Option<&'static str>, message: &str, remedy: Option<String>) -> FeatureError {
    FeatureError {
        field,
        message: message.into(),
        remedy,
    }
}

/// The position of a column, or the nearest name.
fn find(schema: &Schema, field: &'static str, column: &str) -> Result<usize, FeatureError> {
    schema.index_of(column).map_err(|_| {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let remedy = spelling::hint(column, names);
        error(
            Some(field),
            &format!("there is no column `{column}`"),
            remedy,
        )
    })
}

/// The type of an aggregate's result, and whether it can be null.
fn result(
    aggregate: Aggregate,
    field: &'static str,
    input: Option<&Field>,
) -> Result<(DataType, bool), FeatureError> {
    let Some(input) = input else {
        return Ok((DataType::UInt64, false));
    };
    let (of, nullable) = (input.data_type(), input.is_nullable());
    let refuse = |wanted: &str| {
        let name = input.name();
        let found = crate::data_type::print(of, nullable);
        let message = format!("`{field}` needs {wanted}, and `{name}` is {found}");
        Err(error(Some(field), &message, None))
    };
    match aggregate {
        Aggregate::Count => Ok((DataType::UInt64, false)),
        Aggregate::Distinct | Aggregate::Last { .. } if of.is_nested() => refuse("a plain value"),
        Aggregate::Distinct => Ok((DataType::UInt64, false)),
        Aggregate::Last { .. } => {
            let item = Arc::new(Field::new("item", of.clone(), false));
            Ok((DataType::List(item), false))
        }
        Aggregate::Min | Aggregate::Max if orders(of) => Ok((of.clone(), nullable)),
        Aggregate::Min | Aggregate::Max => refuse("a number, date, timestamp or text"),
        _ if !is_number(of) => refuse("a number"),
        Aggregate::Sum => Ok((sum_of(of), nullable)),
        Aggregate::Mean | Aggregate::Deviation | Aggregate::Ewma => {
            Ok((DataType::Float64, nullable))
        }
    }
}

/// Whether values can be added up.
fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// Whether of two values one is less.
fn orders(data_type: &DataType) -> bool {
    is_number(data_type)
        || matches!(
            data_type,
            DataType::Date32 | DataType::Timestamp(..) | DataType::Utf8
        )
}

/// Sums are as wide as they come; money stays money.
fn sum_of(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        unsigned if unsigned.is_unsigned_integer() => DataType::UInt64,
        _ => DataType::Int64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_type;

    fn bind(json: serde_json::Value) -> Result<Feature, FeatureError> {
        let columns = [
            ("amount", "decimal(12,2)"),
            ("n", "u32?"),
            ("merchant", "string"),
            ("tags", "list<string>"),
        ];
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, text)| data_type::parse_field(name, text).expect("a type"))
            .collect();
        let spec: FeatureSpec = serde_json::from_value(json).expect("a declaration");
        spec.bind("f", &Schema::new(fields), true)
    }

    #[test]
    fn results_have_the_type_that_loses_nothing() {
        let check = |json, wanted: &str| {
            let feature = bind(json).unwrap_or_else(|e| panic!("{e}"));
            let found = data_type::print(&feature.data_type, feature.nullable);
            assert_eq!(found, wanted);
        };
        check(serde_json::json!({ "count": "rows", "over": "1m" }), "u64");
        check(
            serde_json::json!({ "sum": "amount", "over": "1h" }),
            "decimal(38,2)",
        );
        check(serde_json::json!({ "sum": "n", "rows": 5 }), "u64?");
        check(serde_json::json!({ "mean": "amount", "rows": 5 }), "f64");
        check(
            serde_json::json!({ "max": "merchant", "rows": 5 }),
            "string",
        );
        check(
            serde_json::json!({ "distinct": "merchant", "over": "1d" }),
            "u64",
        );
        check(
            serde_json::json!({ "last": { "column": "n", "n": 3 } }),
            "list<u32>",
        );
        check(serde_json::json!({ "ewma": "n", "rows": 9 }), "f64?");
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        let check = |json, part: &str| {
            let error = bind(json).expect_err(part);
            let text = format!("{error}; {}", error.remedy.clone().unwrap_or_default());
            assert!(text.contains(part), "{text}");
        };
        check(
            serde_json::json!({ "sum": "amonut", "over": "1h" }),
            "did you mean `amount`?",
        );
        check(
            serde_json::json!({ "sum": "merchant", "over": "1h" }),
            "needs a number",
        );
        check(serde_json::json!({ "sum": "amount" }), "no window");
        check(
            serde_json::json!({ "sum": "amount", "over": "1h", "rows": 2 }),
            "not both",
        );
        check(
            serde_json::json!({ "sum": "amount", "min": "n", "rows": 2 }),
            "one thing",
        );
        check(serde_json::json!({ "over": "1h" }), "add one of");
        check(
            serde_json::json!({ "distinct": "tags", "rows": 2 }),
            "plain value",
        );
        check(
            serde_json::json!({ "sum": "n", "over": "1m", "granularity": "1h" }),
            "granularity",
        );
    }
}

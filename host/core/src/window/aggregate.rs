//! What is computed of a window's rows.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};

use super::document::AggregateSpec;
use super::plugin::AggregatePlugin;
use crate::data_type;
use crate::spelling;

/// What is computed of a window's rows. Null values are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// The number of rows, or of values.
    Count,
    /// The sum, exact.
    Sum,
    /// The mean.
    Mean,
    /// The population standard deviation.
    Deviation,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The value of the row with the least time.
    First,
    /// The value of the row with the greatest time.
    Last,
    /// The number of different values.
    Distinct,
    /// The number of different values, nearly.
    ApproxDistinct,
    /// The greatest values, so many.
    Top(u32),
    /// The value below which this share of the values lies, nearly.
    Quantile(f64),
    /// What a plugin makes of them.
    Plugin,
}

/// An aggregate that is known to be right: its column exists and fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// The name of the column that it becomes.
    pub name: String,
    /// What is computed.
    pub function: Function,
    /// Of which column, by its position in the stream; none counts rows.
    pub column: Option<usize>,
    /// That column.
    pub input: Option<Field>,
    /// The type of the result.
    pub data_type: DataType,
    /// Whether the result can be null: where every value of the window is.
    pub nullable: bool,
    /// The plugin that computes it, if one does.
    pub plugin: Option<Arc<AggregatePlugin>>,
}

/// Why an aggregate cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AggregateError {
    /// The field of the declaration that is wrong, if it is one.
    pub field: Option<&'static str>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub remedy: Option<String>,
}

impl Function {
    /// The name by which documents call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Deviation => "deviation",
            Self::Min => "min",
            Self::Max => "max",
            Self::First => "first",
            Self::Last => "last",
            Self::Distinct => "distinct",
            Self::ApproxDistinct => "approx-distinct",
            Self::Top(_) => "top",
            Self::Quantile(_) => "quantile",
            Self::Plugin => "plugin",
        }
    }
}

impl Aggregate {
    /// The column that it becomes.
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), self.nullable)
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.function.name())?;
        if let Some(plugin) = &self.plugin {
            return write!(f, " {plugin}");
        }
        match self.function {
            Function::Top(n) => write!(f, " {n} of")?,
            Function::Quantile(at) => write!(f, " {at} of")?,
            _ => {}
        }
        match &self.input {
            None => f.write_str(" rows"),
            Some(input) => {
                let of = data_type::print(input.data_type(), input.is_nullable());
                write!(f, " {} {of}", input.name())
            }
        }
    }
}

impl AggregateSpec {
    /// Binds the declaration to the columns of its stream.
    pub fn bind(&self, name: &str, schema: &Schema) -> Result<Aggregate, AggregateError> {
        let (function, column) = self.function()?;
        let field = function.name();
        if let Function::Quantile(at) = function
            && !(0.0..=1.0).contains(&at)
        {
            let message = format!("a quantile lies between 0 and 1, and this is {at}");
            return Err(error(Some(field), message, None));
        }
        let column = match (function, column) {
            (Function::Count, "rows") => None,
            (_, column) => Some(find(schema, field, column)?),
        };
        let input = column.map(|column| schema.field(column).clone());
        let (data_type, nullable) = result(function, input.as_ref())?;
        Ok(Aggregate {
            name: name.into(),
            function,
            column,
            input,
            data_type,
            nullable,
            plugin: None,
        })
    }

    /// That a plugin is all that it says, and that it says nothing of a plugin without one.
    pub fn check_plugin(&self) -> Result<(), AggregateError> {
        if self.plugin.is_some() {
            let Ok((other, _)) = self.function() else {
                return Ok(());
            };
            return Err(error(
                Some(other.name()),
                format!(
                    "an aggregate computes one thing, here stand `plugin` and `{}`",
                    other.name()
                ),
                Some("declare two aggregates".into()),
            ));
        }
        let fields = [
            ("of", self.of.is_some()),
            ("config", self.config.is_some()),
            ("limits", self.limits.is_some()),
        ];
        match fields.iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((field, _)) => Err(error(
                Some(field),
                format!("`{field}` goes with `plugin`"),
                Some("remove it".into()),
            )),
        }
    }

    /// The one function that is declared, and the column.
    fn function(&self) -> Result<(Function, &str), AggregateError> {
        let top = self.top.as_ref();
        let quantile = self.quantile.as_ref();
        let top_n = Function::Top(top.map_or(0, |top| top.n));
        let at = Function::Quantile(quantile.map_or(0.0, |quantile| quantile.at));
        let candidates = [
            (Function::Count, self.count.as_deref()),
            (Function::Sum, self.sum.as_deref()),
            (Function::Mean, self.mean.as_deref()),
            (Function::Deviation, self.deviation.as_deref()),
            (Function::Min, self.min.as_deref()),
            (Function::Max, self.max.as_deref()),
            (Function::First, self.first.as_deref()),
            (Function::Last, self.last.as_deref()),
            (Function::Distinct, self.distinct.as_deref()),
            (Function::ApproxDistinct, self.approx_distinct.as_deref()),
            (top_n, top.map(|top| top.column.as_str())),
            (at, quantile.map(|quantile| quantile.column.as_str())),
        ];
        let mut names: Vec<&str> = candidates.iter().map(|(of, _)| of.name()).collect();
        names.push(Function::Plugin.name());
        let mut given = candidates
            .iter()
            .filter_map(|(function, column)| Some((*function, (*column)?)));
        match (given.next(), given.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(error(
                None,
                "the aggregate does not say what to compute".into(),
                Some(format!("add one of {}", spelling::list(&names))),
            )),
            (Some((first, _)), Some((second, _))) => Err(error(
                Some(second.name()),
                format!(
                    "an aggregate computes one thing, here stand `{}` and `{}`",
                    first.name(),
                    second.name()
                ),
                Some("declare two aggregates".into()),
            )),
        }
    }
}

fn error(field: Option<&'static str>, message: String, remedy: Option<String>) -> AggregateError {
    AggregateError {
        field,
        message,
        remedy,
    }
}

/// The position of a column, or the nearest name.
fn find(schema: &Schema, field: &'static str, column: &str) -> Result<usize, AggregateError> {
    schema.index_of(column).map_err(|_| {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let remedy = spelling::hint(column, names);
        error(
            Some(field),
            format!("there is no column `{column}`"),
            remedy,
        )
    })
}

/// The type of a function's result, and whether it can be null.
fn result(function: Function, input: Option<&Field>) -> Result<(DataType, bool), AggregateError> {
    let Some(input) = input else {
        return Ok((DataType::UInt64, false));
    };
    let (of, nullable) = (input.data_type(), input.is_nullable());
    let refuse = |wanted: &str| {
        let field = function.name();
        let name = input.name();
        let found = data_type::print(of, nullable);
        let message = format!("`{field}` needs {wanted}, and `{name}` is {found}");
        Err(error(Some(field), message, None))
    };
    match function {
        Function::Count => Ok((DataType::UInt64, false)),
        _ if of.is_nested() => refuse("a plain value"),
        Function::Distinct | Function::ApproxDistinct => Ok((DataType::UInt64, false)),
        Function::First | Function::Last | Function::Plugin => Ok((of.clone(), nullable)),
        Function::Min | Function::Max | Function::Top(_) if !orders(of) => {
            refuse("a number, date, timestamp or text")
        }
        Function::Min | Function::Max => Ok((of.clone(), nullable)),
        Function::Top(_) => {
            let item = Arc::new(Field::new("item", of.clone(), false));
            Ok((DataType::List(item), false))
        }
        _ if !of.is_numeric() => refuse("a number"),
        Function::Sum => Ok((sum_of(of), nullable)),
        Function::Mean | Function::Deviation | Function::Quantile(_) => {
            Ok((DataType::Float64, nullable))
        }
    }
}

/// Whether of two values one is less.
fn orders(data_type: &DataType) -> bool {
    data_type.is_numeric()
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

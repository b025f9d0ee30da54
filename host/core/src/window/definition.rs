//! What windows and their aggregates are, in words: a checkpoint says so of their state.

use arrow_schema::Schema;
use serde_json::{Value as Json, json};

use super::{Aggregate, AggregateSpec, Function, Windowing};
use crate::data_type;

impl Windowing {
    /// What the operator's state is the state of, in words: state of another definition does not
    /// fit.
    pub fn definition(&self) -> String {
        let mut text = format!("{} lateness {}us", self.assigner, self.lateness_us);
        if let Some(count) = self.trigger.count {
            text += &format!(" count {count}");
        }
        for aggregate in &self.aggregates {
            text += &format!("; {aggregate}");
        }
        text
    }
}

/// The aggregates of a definition in words; none where it is not understood. They do for reading
/// what is kept: their columns are by themselves, and of a plugin's the type is that of what it
/// keeps.
///
/// ```
/// use wasmill_core::window::defined;
///
/// let aggregates = defined("global lateness 0us; n: count rows; most: max amount i64");
/// let aggregates = aggregates.expect("it is a definition");
/// assert_eq!(aggregates[1].to_string(), "most: max amount i64");
/// assert!(defined("global lateness 0us; n: counts rows").is_none());
/// ```
pub fn defined(definition: &str) -> Option<Vec<Aggregate>> {
    definition.split("; ").skip(1).map(aggregate).collect()
}

/// Reads what [`Aggregate`] writes.
fn aggregate(text: &str) -> Option<Aggregate> {
    let (name, text) = text.split_once(": ")?;
    let (function, of) = text.split_once(' ')?;
    if function == Function::Plugin.name() {
        return kept_by_plugin(name, of);
    }
    if (function, of) == (Function::Count.name(), "rows") {
        return bound(name, (function, json!("rows")), &Schema::empty());
    }
    let (number, of) = match of.split_once(" of ") {
        Some((number, of)) if matches!(function, "top" | "quantile") => (Some(number), of),
        _ => (None, of),
    };
    // Both the column's name and its type may have spaces.
    let field = of.match_indices(' ').find_map(|(at, _)| {
        let (column, data_type) = (&of[..at], &of[at + 1..]);
        data_type::parse_field(column, data_type).ok()
    })?;
    let column = field.name().clone();
    let schema = Schema::new(vec![field]);
    let number = || serde_json::from_str::<Json>(number?).ok();
    let spec = match function {
        "top" => json!({ "column": column, "n": number()? }),
        "quantile" => json!({ "column": column, "at": number()? }),
        _ => json!(column),
    };
    bound(name, (function, spec), &schema)
}

fn bound(name: &str, (function, of): (&str, Json), schema: &Schema) -> Option<Aggregate> {
    let spec: AggregateSpec = serde_json::from_value(json!({ function: of })).ok()?;
    spec.bind(name, schema).ok()
}

fn kept_by_plugin(name: &str, text: &str) -> Option<Aggregate> {
    let (_, kept) = text.rsplit_once(" keeping ")?;
    let (data_type, nullable) = data_type::parse(kept).ok()?;
    Some(Aggregate {
        name: name.into(),
        function: Function::Plugin,
        column: None,
        input: None,
        data_type,
        nullable,
        plugin: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let aggregates = [
            "n: count rows",
            "m: count a column i64?",
            "o: count of struct<a: i64, b: list<string>>",
            "total: sum amount decimal(12,2)?",
            "mean: mean amount f64",
            "spread: deviation amount f32?",
            "least: min name string",
            "most: max day date",
            "first: first at timestamp",
            "last: last flag bool?",
            "shops: distinct shop u16",
            "about: approx-distinct shop bytes",
            "best: top 3 of amount decimal(38,10)",
            "median: quantile 0.5 of amount u64",
        ];
        let text = format!(
            "sliding 1m every 5s lateness 5us; {}",
            aggregates.join("; ")
        );
        let found = defined(&text).expect("each of them is known");
        let written: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(written, aggregates);

        let text = "global lateness 0us; gap: plugin median-gap of a f64?, null keeping \
                    struct<least: i64, all: list<f64>>?";
        let found = defined(text).expect("a plugin's");
        let kept = data_type::print(&found[0].data_type, found[0].nullable);
        assert_eq!(kept, "struct<least: i64, all: list<f64>>?");
        assert_eq!(found[0].function, Function::Plugin);
        assert_eq!(
            defined("session gap 5s max 1d lateness 0us"),
            Some(Vec::new())
        );
    }

    #[test]
    fn what_is_not_understood_is_left() {
        for wrong in [
            "n: counts rows",
            "n count rows",
            "total: sum amount",
            "total: sum amount money",
            "best: top of amount u64",
            "best: top many of amount u64",
            "gap: plugin median-gap of a f64",
            "total: sum name string",
            "",
        ] {
            assert_eq!(defined(&format!("global; {wrong}")), None, "{wrong}");
        }
    }
}

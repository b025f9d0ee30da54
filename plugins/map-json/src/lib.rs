//! Takes the fields out of JSON texts and makes columns of them.
//!
//! A source reads JSON faster and better than this; the plugin is for JSON inside a column, and
//! shows how a row is refused.
//!
//! * Configuration: none.
//! * State: none.
//! * Guarantees: a text gives one row or is refused with the reason.

use serde_json::Value as Json;
use wasmill_sdk::prelude::*;

/// What is read.
#[derive(Row)]
pub struct Message<'a> {
    body: &'a str,
}

/// What is emitted.
#[derive(Row, Debug, PartialEq)]
pub struct Order<'a> {
    user: &'a str,
    items: u64,
    cents: i64,
}

/// The operator.
pub struct MapJson;

impl Operator for MapJson {
    const PLUGIN: Plugin = plugin!();
    type Config = ();
    type Input<'a> = Message<'a>;
    type Output<'a> = Order<'a>;
    type State = ();

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Message<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        // Any error refuses the row: nothing of it has taken effect.
        let body: Json = serde_json::from_str(row.body)?;
        let Some(user) = body["user"].as_str() else {
            return reject("`user` must be text");
        };
        let mut cents = 0;
        let items = body["items"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (position, item) in items.iter().enumerate() {
            let Some(price) = item["cents"].as_i64() else {
                return reject(format!("`items[{position}].cents` must be an integer"));
            };
            cents += price;
        }
        let items = items.len() as u64;
        cx.emit(Order { user, items, cents });
        Ok(())
    }
}

wasmill_sdk::export!(MapJson);

#[cfg(test)]
mod tests {
    use super::*;

    fn push(body: &str) -> (usize, Vec<String>) {
        let effects = Harness::<MapJson>::new("{}").push(&[Message { body }]);
        let reasons = effects.rejected().into_iter().map(|(_, reason)| reason);
        (effects.rows().len(), reasons.collect())
    }

    #[test]
    fn fields_become_columns() {
        let body = r#"{ "user": "ann", "items": [{ "cents": 250 }, { "cents": 99 }] }"#;
        let effects = Harness::<MapJson>::new("{}").push(&[Message { body }]);
        assert_eq!(
            effects.rows(),
            [Order {
                user: "ann",
                items: 2,
                cents: 349
            }]
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_reason() {
        let reason = "`items[0].cents` must be an integer".to_owned();
        assert_eq!(
            push(r#"{ "user": "ann", "items": [{}] }"#),
            (0, vec![reason])
        );
        assert_eq!(
            push(r#"{ "user": 7 }"#),
            (0, vec!["`user` must be text".to_owned()])
        );
        let (rows, reasons) = push("{");
        assert!(rows == 0 && reasons[0].starts_with("EOF while parsing"));
    }
}

//! The features that a plugin brings, as it writes them.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::feature::FeatureSpec;

/// A feature with the name of its column among its fields; flattening would let unknown fields
/// pass.
#[derive(JsonSchema)]
#[schemars(transparent)]
pub(super) struct NamedFeature(
    #[schemars(schema_with = "named_feature")] pub(super) (String, FeatureSpec),
);

/// The schema of a feature with its `name` among the fields.
fn named_feature(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = FeatureSpec::json_schema(generator);
    let name = serde_json::json!({ "type": "string", "minLength": 1, "maxLength": 255 });
    if let Some(Json::Object(properties)) = schema.get_mut("properties") {
        properties.insert("name".into(), name);
    }
    schema.insert("required".into(), serde_json::json!(["name"]));
    schema
}

impl<'de> Deserialize<'de> for NamedFeature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut map = serde_json::Map::deserialize(deserializer)?;
        let Some(Json::String(name)) = map.remove("name") else {
            return Err(D::Error::missing_field("name"));
        };
        let spec = serde_json::from_value(Json::Object(map)).map_err(D::Error::custom)?;
        Ok(Self((name, spec)))
    }
}

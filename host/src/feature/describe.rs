//! What features remember, for people: from its bytes (`docs/formats/segment.md`) to JSON.

use serde_json::{Map, Value as Json, json};
use wasmill_core::{data_type, encoding};

use super::bytes::Input;
use super::image::{Column, Definition, Part};
use arrow_schema::DataType;

/// What one row of a segment says that features remember of a key, by the row's state; none if it
/// is not what the format says.
///
/// ```
/// use wasmill_host::feature::describe;
///
/// let tiles = r#"{"tiles":{"aggregate":"count","column":null,"over-us":60000000,"rows":null,
///     "granularity-us":1000000}}"#;
/// let bytes = [&1_u32.to_le_bytes()[..], &7_i64.to_le_bytes(), &3_u64.to_le_bytes()].concat();
/// let told = describe(tiles, &bytes).expect("one tile");
/// assert_eq!(told.to_string(), r#"[{"from":"1970-01-01T00:00:07Z","count":3}]"#);
/// assert!(describe(tiles, &bytes[1..]).is_none());
/// ```
pub fn describe(definition: &str, bytes: &[u8]) -> Option<Json> {
    let part: Part = serde_json::from_str(definition).ok()?;
    let mut input = Input::new(bytes);
    let told = match &part {
        Part::RowsByTime(columns) => rows(columns, true, &mut input)?,
        Part::LastRows(columns) => rows(columns, false, &mut input)?,
        Part::Tiles(of) => tiles(of, &mut input)?,
        Part::Mean(_) => {
            let (weighted, weight) = (input.float()?, input.float()?);
            json!({ "weighted-sum": weighted, "weights": weight, "last": time(input.word()?) })
        }
    };
    input.is_empty().then_some(told)
}

fn rows(columns: &[Column], by_time: bool, input: &mut Input<'_>) -> Option<Json> {
    let mut rows = Vec::new();
    for _ in 0..input.count()? {
        let at = input.word()?;
        let present = input.word()?;
        let mut row = Map::new();
        if by_time {
            row.insert("time".into(), time(at));
        }
        for (bit, column) in columns.iter().enumerate() {
            let is_there = bit < 64 && present >> bit & 1 == 1;
            let value = match is_there {
                true => column.read(input)?,
                false => Json::Null,
            };
            row.insert(column.name.clone(), value);
        }
        rows.push(Json::Object(row));
    }
    Some(rows.into())
}

fn tiles(of: &Definition, input: &mut Input<'_>) -> Option<Json> {
    let mut tiles = Vec::new();
    for _ in 0..input.count()? {
        let index = input.word()? as i64;
        let from = index.checked_mul(of.granularity_us.unwrap_or(1))?;
        let mut tile = Map::new();
        tile.insert("from".into(), time(from as u64));
        of.tile(input, &mut tile)?;
        tiles.push(Json::Object(tile));
    }
    Some(tiles.into())
}

impl Definition {
    fn tile(&self, input: &mut Input<'_>, tile: &mut Map<String, Json>) -> Option<()> {
        let mut tell = |name: &str, value: Json| tile.insert(name.into(), value);
        match self.aggregate.as_str() {
            "count" => drop(tell("count", input.word()?.into())),
            "sum" | "mean" => {
                let column = self.column.as_ref()?;
                let sum = match column.data_type()? {
                    DataType::Float32 | DataType::Float64 => input.float()?.into(),
                    exact => {
                        let is_exact = input.byte()? == 1;
                        let sum = wide(input)?;
                        match is_exact {
                            true => whole(&exact, sum)?,
                            false => Json::Null,
                        }
                    }
                };
                tell("sum", sum);
                tell("count", input.word()?.into());
            }
            "deviation" => {
                tell("count", input.float()?.into());
                tell("mean", input.float()?.into());
                tell("squares", input.float()?.into());
            }
            "min" | "max" => {
                let value = match input.byte()? {
                    0 => Json::Null,
                    _ => self.column.as_ref()?.read(input)?,
                };
                tell("value", value);
            }
            "distinct" => {
                let column = self.column.as_ref()?;
                let values = (0..input.count()?).map(|_| column.read(input));
                tell("values", values.collect::<Option<Vec<_>>>()?.into());
            }
            _ => return None,
        }
        Some(())
    }
}

impl Column {
    fn data_type(&self) -> Option<DataType> {
        Some(data_type::parse(&self.data_type).ok()?.0)
    }

    fn read(&self, input: &mut Input<'_>) -> Option<Json> {
        let data_type = self.data_type()?;
        if self.encoded {
            return encoding::to_json(&data_type, false, input.bytes()?).ok();
        }
        if self.wide {
            return whole(&data_type, wide(input)?);
        }
        let word = input.word()?;
        let bytes = match &data_type {
            DataType::Decimal128(..) => return whole(&data_type, i128::from(word as i64)),
            DataType::Float32 => (f64::from_bits(word) as f32).to_le_bytes().to_vec(),
            plain => {
                let width = data_type::fixed_width(plain, false)?;
                word.to_le_bytes().get(..width)?.to_vec()
            }
        };
        encoding::to_json(&data_type, false, &bytes).ok()
    }
}

fn wide(input: &mut Input<'_>) -> Option<i128> {
    let (low, high) = (input.word()?, input.word()?);
    Some((u128::from(high) << 64 | u128::from(low)) as i128)
}

/// A whole number of a type: a decimal with its point, a sum of its column's numbers without.
fn whole(data_type: &DataType, number: i128) -> Option<Json> {
    let scale = match data_type {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    };
    let text = encoding::to_json(
        &DataType::Decimal128(38, scale),
        false,
        &number.to_le_bytes(),
    );
    let text = text.ok()?;
    match scale {
        0 => serde_json::from_str(text.as_str()?).ok(),
        _ => Some(text),
    }
}

fn time(us: u64) -> Json {
    let text = encoding::to_json(&data_type::timestamp(), false, &us.to_le_bytes());
    text.unwrap_or_default()
}

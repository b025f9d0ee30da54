//! Testing operators natively, in milliseconds.

use crate::{Config, Fault, Malformed, State};

/// The bytes of a value in the state encoding.
pub fn encode<T: State>(value: &T) -> Vec<u8> {
    crate::encode::encode(value)
}

/// The value of bytes in the state encoding.
pub fn decode<T: State>(bytes: &[u8]) -> Result<T, Malformed> {
    crate::encode::decode(bytes)
}

/// Reads a configuration from JSON text, as the host's context document carries it.
pub fn config<C: Config>(json: &str) -> Result<C, Fault> {
    let value = serde_json::from_str(json).map_err(|error| Fault::new(error.to_string()))?;
    crate::config::read(&value)
}

//! A cursor over the bytes of one value that never reads past their end.

use arrow_schema::DataType;

use super::EncodingError;

/// Reads parts of a value from the front.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `len` bytes; `data_type` is what they belong to, for the message.
    pub(super) fn take(
        &mut self,
        len: usize,
        data_type: &DataType,
    ) -> Result<&'a [u8], EncodingError> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..len) else {
            return Err(EncodingError::Truncated {
                at: self.bytes.len(),
                wanted: len - rest.len(),
                data_type: name(data_type),
            });
        };
        self.at += len;
        Ok(taken)
    }

    /// A truth value. Any other byte than 0 and 1 is refused: equal values have equal bytes.
    pub(super) fn bool(&mut self) -> Result<bool, EncodingError> {
        let at = self.at;
        match self.take(1, &DataType::Boolean)?[0] {
            byte @ (0 | 1) => Ok(byte == 1),
            byte => Err(EncodingError::NotBool { at, byte }),
        }
    }

    /// A decimal without its point, which has no more digits than its type.
    pub(super) fn decimal(&mut self, precision: u8) -> Result<i128, EncodingError> {
        let at = self.at;
        let bytes = self.take(16, &DataType::Decimal128(precision, 0))?;
        let unscaled = i128::from_le_bytes(bytes.try_into().expect("sixteen bytes were taken"));
        if unscaled.unsigned_abs() < 10_u128.pow(u32::from(precision)) {
            Ok(unscaled)
        } else {
            Err(EncodingError::Digits { at, precision })
        }
    }

    /// A length and that many bytes.
    pub(super) fn bytes(&mut self, data_type: &DataType) -> Result<&'a [u8], EncodingError> {
        let len = self.u32(data_type)?;
        self.take(len as usize, data_type)
    }

    /// Text; behind its length of four bytes, which an error's place leaves out.
    pub(super) fn text(&mut self) -> Result<&'a str, EncodingError> {
        let at = self.at + 4;
        let bytes = self.bytes(&DataType::Utf8)?;
        std::str::from_utf8(bytes).map_err(|_| EncodingError::NotUtf8 { at })
    }

    /// The count of a list. Every item takes at least one byte, so a count beyond the rest is
    /// refused at once.
    pub(super) fn count(&mut self, data_type: &DataType) -> Result<usize, EncodingError> {
        let count = self.u32(data_type)? as usize;
        let rest = self.bytes.len() - self.at;
        if count <= rest {
            return Ok(count);
        }
        Err(EncodingError::Truncated {
            at: self.bytes.len(),
            wanted: count - rest,
            data_type: name(data_type),
        })
    }

    /// Nothing may follow the value.
    pub(super) fn finish(self) -> Result<(), EncodingError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            count => Err(EncodingError::LeftOver { at: self.at, count }),
        }
    }

    /// A length or a count, in little endian.
    fn u32(&mut self, data_type: &DataType) -> Result<u32, EncodingError> {
        let bytes = self.take(4, data_type)?;
        Ok(u32::from_le_bytes(
            bytes.try_into().expect("four bytes were taken"),
        ))
    }
}

/// The type's own text; Arrow's name for types that this project never makes.
fn name(data_type: &DataType) -> String {
    match data_type {
        DataType::Decimal128(precision, 0) => format!("decimal({precision},..)"),
        known => crate::data_type::print(known, false),
    }
}

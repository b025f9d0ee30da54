//! Bytes as Arrow arrays.

use arrow_array::{ArrayRef, make_array};
use arrow_buffer::{BooleanBufferBuilder, Buffer, MutableBuffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;

use super::reader::Reader;
use super::{EncodingError, width_of};

/// Decodes values of one type, in order, into one array. A value of `None` is null and allowed only
/// if `nullable` (else it becomes a zero).
pub fn decode<'a>(
    data_type: &DataType,
    nullable: bool,
    values: impl IntoIterator<Item = Option<&'a [u8]>>,
) -> Result<ArrayRef, EncodingError> {
    let mut builder = Builder::new(data_type, nullable)?;
    for value in values {
        match value {
            None => builder.missing()?,
            Some(bytes) => {
                let mut reader = Reader::new(bytes);
                builder.read(&mut reader)?;
                reader.finish()?;
            }
        }
    }
    Ok(make_array(builder.finish()))
}

/// A growing array.
struct Builder {
    data_type: DataType,
    len: usize,
    /// `Some` exactly if the column is nullable.
    present: Option<BooleanBufferBuilder>,
    values: Values,
}

/// What has been read so far, as Arrow lays it out. Offsets begin with a zero.
enum Values {
    Bool(BooleanBufferBuilder),
    /// The width of a value, and all values.
    Fixed(usize, MutableBuffer),
    /// Offsets and bytes.
    Bytes(Vec<i32>, Vec<u8>),
    /// Offsets and the items of all rows.
    List(Vec<i32>, Box<Builder>),
    Struct(Vec<Builder>),
}

impl Builder {
    fn new(data_type: &DataType, nullable: bool) -> Result<Self, EncodingError> {
        let values = match data_type {
            DataType::Boolean => Values::Bool(BooleanBufferBuilder::new(0)),
            DataType::Utf8 | DataType::Binary => Values::Bytes(vec![0], Vec::new()),
            DataType::List(item) => {
                let items = Self::new(item.data_type(), item.is_nullable())?;
                Values::List(vec![0], Box::new(items))
            }
            DataType::Struct(fields) => {
                let fields = fields.iter();
                let columns = fields.map(|field| Self::new(field.data_type(), field.is_nullable()));
                Values::Struct(columns.collect::<Result<_, _>>()?)
            }
            plain => Values::Fixed(width_of(plain)?, MutableBuffer::new(0)),
        };
        Ok(Self {
            data_type: data_type.clone(),
            len: 0,
            present: nullable.then(|| BooleanBufferBuilder::new(0)),
            values,
        })
    }

    /// Appends one value.
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), EncodingError> {
        // Only nullable types write a byte of presence in front.
        if self.present.is_some() && !reader.bool()? {
            return self.missing();
        }
        match &mut self.values {
            Values::Bool(bits) => bits.append(reader.bool()?),
            Values::Fixed(width, bytes) => match &self.data_type {
                DataType::Decimal128(precision, _) => {
                    bytes.extend_from_slice(&reader.decimal(*precision)?.to_le_bytes());
                }
                plain => bytes.extend_from_slice(reader.take(*width, plain)?),
            },
            Values::Bytes(offsets, data) => {
                let bytes = match &self.data_type {
                    DataType::Utf8 => reader.text()?.as_bytes(),
                    binary => reader.bytes(binary)?,
                };
                data.extend_from_slice(bytes);
                offsets.push(offset(data.len())?);
            }
            Values::List(offsets, items) => {
                for _ in 0..reader.count(&self.data_type)? {
                    items.read(reader)?;
                }
                offsets.push(offset(items.len)?);
            }
            Values::Struct(fields) => {
                for field in fields {
                    field.read(reader)?;
                }
            }
        }
        self.len += 1;
        if let Some(present) = &mut self.present {
            present.append(true);
        }
        Ok(())
    }

    /// Appends a null, or a zero where null is not allowed.
    fn missing(&mut self) -> Result<(), EncodingError> {
        match &mut self.values {
            Values::Bool(bits) => bits.append(false),
            Values::Fixed(width, bytes) => {
                // A null is one byte where it comes from, and `width` here: we keep the bound.
                offset(bytes.len() + *width)?;
                bytes.extend_zeros(*width);
            }
            Values::Bytes(offsets, data) => offsets.push(offset(data.len())?),
            Values::List(offsets, items) => offsets.push(offset(items.len)?),
            Values::Struct(fields) => fields.iter_mut().try_for_each(Self::missing)?,
        }
        self.len += 1;
        if let Some(present) = &mut self.present {
            present.append(false);
        }
        Ok(())
    }

    /// The array. A bitmap without a null in it is left out, as Arrow's own kernels do.
    fn finish(self) -> ArrayData {
        let nulls = self
            .present
            .map(|mut present| NullBuffer::new(present.finish()));
        let builder = ArrayData::builder(self.data_type)
            .len(self.len)
            .nulls(nulls.filter(|nulls| nulls.null_count() > 0));
        let builder = match self.values {
            Values::Bool(mut bits) => builder.add_buffer(bits.finish().into_inner()),
            Values::Fixed(_, bytes) => builder.add_buffer(bytes.into()),
            Values::Bytes(offsets, data) => builder
                .add_buffer(Buffer::from_vec(offsets))
                .add_buffer(Buffer::from_vec(data)),
            Values::List(offsets, items) => builder
                .add_buffer(Buffer::from_vec(offsets))
                .add_child_data(items.finish()),
            Values::Struct(fields) => {
                builder.child_data(fields.into_iter().map(Self::finish).collect())
            }
        };
        builder.build().expect("the builder keeps arrow's layout")
    }
}

/// Arrow's lengths are i32. Nulls of wide types make arrays that are larger than the bytes they
/// come from.
fn offset(len: usize) -> Result<i32, EncodingError> {
    i32::try_from(len).map_err(|_| EncodingError::TooLarge)
}

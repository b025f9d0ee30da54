//! Rows of state into a file.

use std::io::Write;

use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::SchemaRef;
use wasmill_core::pipeline::{
    EncodeSpec,
    document::{EncodeCsv, EncodeJson},
};

use super::InspectionError;
use crate::format::encode::Encoder;

/// The forms that rows can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A JSON object a line.
    Json,
    /// Comma-separated values, the names of the columns first.
    Csv,
    /// An Arrow IPC file.
    Arrow,
}

/// Writes rows of one table.
pub struct Exporter<W: Write> {
    form: Form<W>,
    text: Vec<u8>,
}

enum Form<W: Write> {
    Text(W, Encoder),
    Arrow(Box<FileWriter<W>>),
}

impl<W: Write> Exporter<W> {
    /// Begins the output.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(
        mut out: W,
        schema: &SchemaRef,
        format: ExportFormat,
    ) -> Result<Self, InspectionError> {
        let spec = match format {
            ExportFormat::Arrow => {
                let writer = FileWriter::try_new(out, schema)?;
                return Ok(Self {
                    form: Form::Arrow(Box::new(writer)),
                    text: Vec::new(),
                });
            }
            ExportFormat::Json => EncodeSpec::Json(EncodeJson::default()),
            ExportFormat::Csv => EncodeSpec::Csv(EncodeCsv::default()),
        };
        let encoder = Encoder::new(schema, &spec);
        let mut text = Vec::new();
        encoder.start(&mut text);
        out.write_all(&text)?;
        Ok(Self {
            form: Form::Text(out, encoder),
            text,
        })
    }

    /// Writes rows.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), InspectionError> {
        match &mut self.form {
            Form::Text(out, encoder) => {
                self.text.clear();
                encoder.encode(rows, &mut self.text)?;
                out.write_all(&self.text)?;
            }
            Form::Arrow(writer) => writer.write(rows)?,
        }
        Ok(())
    }

    /// Ends the output.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> Result<(), InspectionError> {
        let mut out = match self.form {
            Form::Text(out, _) => out,
            Form::Arrow(writer) => writer.into_inner()?,
        };
        Ok(out.flush()?)
    }
}

//! `wasmill state sql`.

use std::io::{self, BufWriter, StdoutLock, Write};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value as Json};
use wasmill_core::data_type;

use crate::{
    cli::{
        self,
        failure::Failure,
        table,
        target::{self, failure},
    },
    inspection::{Answer, InspectionError, Query, Tables},
};

/// Rows by which a table's widths are found; those behind them are written as they come.
const ROWS_FIRST: usize = 1_000;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    target: target::Arguments,
    /// The question, such as `select key, n from velocity.history order by n desc limit 10`.
    question: Option<String>,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Form::Table, value_name = "FORM")]
    format: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Columns below each other.
    Table,
    /// A JSON object a line.
    Json,
    /// Comma-separated values.
    Csv,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let found = arguments.target.find()?;
    let manifest = found.manifest()?;
    let names = found.key_names(&manifest);
    let tables = Tables::new(&found.log, &manifest, &names).map_err(failure)?;
    let Some(question) = &arguments.question else {
        return cli::print(&columns(&tables));
    };
    let mut printer = Printer {
        out: BufWriter::new(io::stdout().lock()),
        form: arguments.format,
        names: Vec::new(),
        first: None,
    };
    let asked = Query::new(&tables, question);
    let answered = asked.and_then(|query| query.run(&mut printer));
    match answered.and_then(|()| Ok(printer.finish()?)) {
        // A reader that has gone away is no failure.
        Err(InspectionError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        answered => answered.map_err(failure),
    }
}

/// The tables and their columns.
fn columns(tables: &Tables<'_>) -> String {
    let mut text = String::new();
    for table in &tables.tables {
        let columns = table.schema.fields().iter().map(|field| {
            let of = data_type::print(field.data_type(), field.is_nullable());
            format!("{} {of}", quoted(field.name()))
        });
        let columns: Vec<String> = columns.collect();
        let (operator, name) = (quoted(&table.operator), quoted(&table.name));
        text.push_str(&format!("{operator}.{name} ({})\n", columns.join(", ")));
    }
    text
}

/// A name as SQL needs it.
fn quoted(name: &str) -> String {
    let is_plain = name
        .chars()
        .all(|it| it.is_ascii_alphanumeric() || it == '_')
        && name.starts_with(|it: char| it.is_ascii_alphabetic());
    match is_plain {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// Writes an answer as it comes.
struct Printer<'a> {
    out: BufWriter<StdoutLock<'a>>,
    form: Form,
    names: Vec<String>,
    /// The first rows of a table.
    first: Option<(table::Table, usize)>,
}

impl Answer for Printer<'_> {
    fn columns(&mut self, names: &[String]) -> Result<(), InspectionError> {
        self.names = names.to_vec();
        match self.form {
            Form::Table => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.first = Some((table::Table::new(&names), 0));
            }
            Form::Csv => self.csv(names)?,
            Form::Json => {}
        }
        Ok(())
    }

    fn row(&mut self, values: Vec<Json>) -> Result<(), InspectionError> {
        match self.form {
            Form::Json => {
                let row = self.names.iter().cloned().zip(values);
                let row = Json::Object(row.collect::<Map<_, _>>());
                writeln!(self.out, "{row}")?;
            }
            Form::Csv => {
                let cells: Vec<String> = values.iter().map(cell).collect();
                self.csv(&cells)?;
            }
            Form::Table => {
                let cells = values.iter().map(cell).collect();
                if let Some((table, count)) = &mut self.first {
                    table.push(cells);
                    *count += 1;
                    if *count == ROWS_FIRST {
                        self.flush_first()?;
                    }
                } else {
                    let line: Vec<String> = cells;
                    writeln!(self.out, "{}", line.join("  "))?;
                }
            }
        }
        Ok(())
    }
}

impl Printer<'_> {
    fn csv(&mut self, cells: &[String]) -> Result<(), InspectionError> {
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                self.out.write_all(b",")?;
            }
            match cell.contains(['"', ',', '\n', '\r']) {
                true => write!(self.out, "\"{}\"", cell.replace('"', "\"\""))?,
                false => self.out.write_all(cell.as_bytes())?,
            }
        }
        Ok(self.out.write_all(b"\n")?)
    }

    fn flush_first(&mut self) -> io::Result<()> {
        match self.first.take() {
            Some((table, _)) => self.out.write_all(table.text().as_bytes()),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.flush_first()?;
        self.out.flush()
    }
}

fn cell(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

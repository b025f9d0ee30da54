//! `wasmill state export`.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap::{Args, ValueEnum};

use crate::{
    cli::{
        failure::Failure,
        target::{self, failure},
    },
    inspection::{ExportFormat, Exporter, InspectionError, Table, Tables},
};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    target: target::Arguments,
    /// The operator.
    operator: String,
    /// The state; `timers` are its pending timers. Not needed where the operator has one state.
    #[arg(long, value_name = "NAME")]
    state: Option<String>,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = Form::Json, value_name = "FORM")]
    format: Form,
    /// Write into this file and not to standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// A JSON object a line.
    Json,
    /// Comma-separated values.
    Csv,
    /// An Arrow IPC file.
    Arrow,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let found = arguments.target.find()?;
    let manifest = found.manifest()?;
    let names = found.key_names(&manifest);
    let tables = Tables::new(&found.log, &manifest, &names).map_err(failure)?;
    let uid = arguments.operator.as_str();
    let table = choose(&tables, uid, arguments.state.as_deref())?;
    let format = match arguments.format {
        Form::Json => ExportFormat::Json,
        Form::Csv => ExportFormat::Csv,
        Form::Arrow => ExportFormat::Arrow,
    };
    let out: Box<dyn Write> = match &arguments.output {
        None => Box::new(io::stdout().lock()),
        Some(path) => Box::new(File::create(path).map_err(|error| {
            Failure::Failed(format!("`{}` cannot be written: {error}", path.display()))
        })?),
    };
    let written =
        Exporter::new(BufWriter::new(out), &table.schema, format).and_then(|mut exporter| {
            tables.read(uid, &[table], &mut |_, rows| exporter.write(&rows))?;
            exporter.finish()
        });
    match written {
        // A reader that has gone away is no failure.
        Err(InspectionError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(failure),
    }
}

fn choose<'t>(
    tables: &'t Tables<'_>,
    uid: &str,
    state: Option<&str>,
) -> Result<&'t Table, Failure> {
    if let Some(state) = state {
        return tables.table(uid, state).map_err(failure);
    }
    tables.operator(uid).map_err(failure)?;
    let of_states: Vec<&Table> = tables
        .of(uid)
        .filter(|table| table.state.is_some())
        .collect();
    match of_states[..] {
        [only] => Ok(only),
        _ => {
            let names = tables.of(uid).map(|table| format!("`{}`", table.name));
            let names: Vec<String> = names.collect();
            Err(Failure::Invalid(format!(
                "operator `{uid}` has {}: choose one with --state",
                names.join(", ")
            )))
        }
    }
}

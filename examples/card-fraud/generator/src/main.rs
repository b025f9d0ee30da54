//! Writes the card-fraud example's transactions, and judges the alerts that were raised on them.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use card_fraud_data::agree::{Audit, agree};
use card_fraud_data::compare::compare;
use card_fraud_data::evaluate::evaluate;
use card_fraud_data::row::Row;
use card_fraud_data::{Generator, Label, Options, Writer, oracle, topic, training};
use clap::{Parser, Subcommand};

/// The pipeline's threshold for a score.
const SCORE_MIN: f64 = 0.7;

/// Bytes gathered before a write.
const CHUNK_BYTES: usize = 1 << 20;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write transactions as JSON lines, and one label for each planted fraud.
    Generate(Generate),
    /// Hold alerts against the labels: recall and precision by kind of fraud, precision by rule.
    Evaluate(Evaluate),
    /// Write what the model is trained on: sixteen inputs and the truth, as little-endian f32.
    Training(Training),
    /// Compute the job's alerts in plain Rust: what the pipeline must find.
    Oracle(Oracle),
    /// Hold the job's alerts against the oracle's: equal to the byte, scores within 0.00001.
    Compare(Compare),
    /// Make topics in a Kafka.
    Topics(Topics),
    /// Send transactions to a topic, keyed by account.
    Produce(Produce),
    /// Write what is committed in a topic as lines.
    Consume(Consume),
    /// Hold the alerts of a topic against the audit table: the same rows, each once.
    Agree(Agree),
}

#[derive(Debug, clap::Args)]
struct Generate {
    /// Transactions to write; about 205 bytes each.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Decides everything that chance decides: a seed gives the same file everywhere.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Accounts that make them; by default one for fifty transactions, 20 to 100,000.
    #[arg(long)]
    accounts: Option<u64>,
    /// The file of transactions.
    #[arg(long)]
    out: PathBuf,
    /// The file of labels.
    #[arg(long)]
    labels: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Evaluate {
    /// Alerts as JSON lines with account, at and rule.
    #[arg(long)]
    alerts: PathBuf,
    /// The labels that were written beside the transactions.
    #[arg(long)]
    labels: PathBuf,
    /// Print one JSON document and not a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Training {
    /// Transactions as JSON lines.
    #[arg(long)]
    transactions: PathBuf,
    /// The labels that were written beside them.
    #[arg(long)]
    labels: PathBuf,
    /// The file of numbers, 68 bytes a transaction.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Oracle {
    /// Transactions as JSON lines.
    #[arg(long)]
    transactions: PathBuf,
    /// The file of alerts.
    #[arg(long)]
    out: PathBuf,
    /// Decide in the order of event time and not of arrival.
    #[arg(long)]
    event_time: bool,
    /// The configuration of the rules, as JSON; what it leaves out has its default.
    #[arg(long, default_value = "{}")]
    config: String,
    /// Least score that is an alert.
    #[arg(long, default_value_t = SCORE_MIN)]
    score_min: f64,
}

#[derive(Debug, clap::Args)]
struct Compare {
    /// The job's alerts.
    #[arg(long)]
    found: PathBuf,
    /// The oracle's alerts.
    #[arg(long)]
    expected: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Topics {
    /// Where a broker listens.
    #[arg(long, env = "KAFKA_BROKERS")]
    brokers: String,
    /// Delete topics of these names first, with all that is in them.
    #[arg(long)]
    replace: bool,
    /// Topics that must not be there, because a job makes them itself.
    #[arg(long)]
    without: Vec<String>,
    /// Topics to make.
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Produce {
    /// Where a broker listens.
    #[arg(long, env = "KAFKA_BROKERS")]
    brokers: String,
    /// The topic; it must be there.
    #[arg(long)]
    topic: String,
    /// Transactions as JSON lines.
    #[arg(long)]
    transactions: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Consume {
    /// Where a broker listens.
    #[arg(long, env = "KAFKA_BROKERS")]
    brokers: String,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// The file of the records' values.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Agree {
    /// Alerts as JSON lines with `row_id`.
    #[arg(long)]
    alerts: PathBuf,
    /// The SQLite database whose table `alerts` is the audit.
    #[arg(long, required_unless_present = "audit")]
    database: Option<PathBuf>,
    /// The audit's rows as JSON lines instead.
    #[arg(long, conflicts_with = "database")]
    audit: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Generate(options) => generate(&options),
        Command::Evaluate(options) => judge(&options),
        Command::Training(options) => train(&options),
        Command::Oracle(options) => decide(&options),
        Command::Compare(options) => hold(&options),
        Command::Topics(options) => make(&options),
        Command::Produce(options) => produce(&options),
        Command::Consume(options) => consume(&options),
        Command::Agree(options) => agreement(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if not even stderr takes it.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

fn generate(options: &Generate) -> Result<(), Box<dyn Error>> {
    let mut out = create(&options.out)?;
    let mut labels = options.labels.as_deref().map(create).transpose()?;
    let accounts = options
        .accounts
        .unwrap_or_else(|| Options::accounts_for(options.records));
    let mut generator = Generator::new(Options {
        records: options.records,
        seed: options.seed,
        accounts,
    });
    let mut calendar = Writer::default();
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + 1_024);
    for row in generator.by_ref() {
        row.transaction.write(&mut calendar, &mut chunk);
        if chunk.len() >= CHUNK_BYTES {
            out.write_all(&chunk)?;
            chunk.clear();
        }
        if let Some((labels, label)) = labels.as_mut().zip(row.label) {
            write_label(labels, &label)?;
        }
    }
    out.write_all(&chunk)?;
    out.flush()?;
    if let Some(mut labels) = labels {
        for label in generator.cut_off() {
            write_label(&mut labels, &label)?;
        }
        labels.flush()?;
    }
    Ok(())
}

fn write_label(labels: &mut impl Write, label: &Label) -> Result<(), Box<dyn Error>> {
    serde_json::to_writer(&mut *labels, label)?;
    labels.write_all(b"\n")?;
    Ok(())
}

fn judge(options: &Evaluate) -> Result<(), Box<dyn Error>> {
    let evaluation = evaluate(open(&options.alerts)?, open(&options.labels)?)?;
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &evaluation)?;
        writeln!(out)?;
    } else {
        evaluation.print(&mut out)?;
    }
    Ok(())
}

fn train(options: &Training) -> Result<(), Box<dyn Error>> {
    let (transactions, labels) = (open(&options.transactions)?, open(&options.labels)?);
    Ok(training::write(
        transactions,
        labels,
        create(&options.out)?,
    )?)
}

fn decide(options: &Oracle) -> Result<(), Box<dyn Error>> {
    let mut oracle = oracle::Oracle::new(&options.config, options.score_min)?;
    let rows = open(&options.transactions)?
        .lines()
        .enumerate()
        .map(|(line, text)| {
            Row::parse(&text?).map_err(|error| format!("line {}: {error}", line + 1).into())
        });
    if options.event_time {
        let mut rows = rows.collect::<Result<Vec<Row>, Box<dyn Error>>>()?;
        // Stable: rows of the same moment stay in the order of the file.
        rows.sort_by_key(Row::at_us);
        rows.into_iter().try_for_each(|row| oracle.push(row))?;
    } else {
        for row in rows {
            oracle.push(row?)?;
        }
    }
    let (alerts, nearest) = oracle.finish()?;
    let mut out = create(&options.out)?;
    for alert in &alerts {
        serde_json::to_writer(&mut out, alert)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    let count = alerts.len();
    let mut stdout = std::io::stdout().lock();
    writeln!(
        stdout,
        "{count} alerts; the score nearest to the threshold is {nearest:.6} away"
    )?;
    Ok(())
}

fn hold(options: &Compare) -> Result<(), Box<dyn Error>> {
    let count = compare(open(&options.found)?, open(&options.expected)?)?
        .map_err(|difference| difference.to_string())?;
    writeln!(std::io::stdout(), "{count} alerts, all equal")?;
    Ok(())
}

fn make(options: &Topics) -> Result<(), Box<dyn Error>> {
    let names: Vec<&str> = options.names.iter().map(String::as_str).collect();
    let all = options.names.iter().chain(&options.without);
    let all: Vec<&str> = all.map(String::as_str).collect();
    if options.replace {
        topic::remove(&options.brokers, &all)?;
    } else if let Some(name) = topic::first_of(&options.brokers, &all)? {
        let brokers = &options.brokers;
        let remedy = "`--replace` deletes it with all that is in it";
        return Err(format!("{brokers} has a topic `{name}`; {remedy}").into());
    }
    Ok(topic::make(&options.brokers, &names)?)
}

fn produce(options: &Produce) -> Result<(), Box<dyn Error>> {
    let transactions = open(&options.transactions)?;
    let count = topic::produce((&options.brokers, &options.topic), transactions)?;
    writeln!(std::io::stdout(), "{count} transactions sent")?;
    Ok(())
}

fn consume(options: &Consume) -> Result<(), Box<dyn Error>> {
    let mut out = create(&options.out)?;
    let count = topic::consume((&options.brokers, &options.topic), &mut out)?;
    out.flush()?;
    let topic = &options.topic;
    writeln!(std::io::stdout(), "{count} committed records in `{topic}`")?;
    Ok(())
}

fn agreement(options: &Agree) -> Result<(), Box<dyn Error>> {
    let audit = match (&options.database, &options.audit) {
        (Some(database), _) => Audit::of_database(database)?,
        (None, Some(file)) => Audit::of_lines(open(file)?)?,
        (None, None) => return Err("name `--database` or `--audit`".into()),
    };
    let count = agree(open(&options.alerts)?, audit)?;
    let said = "alerts, each once in the topic and once in the audit";
    writeln!(std::io::stdout(), "{count} {said}")?;
    Ok(())
}

fn create(path: &Path) -> Result<BufWriter<File>, String> {
    File::create(path)
        .map(BufWriter::new)
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

fn open(path: &Path) -> Result<BufReader<File>, String> {
    File::open(path)
        .map(BufReader::new)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

//! What the job's document says.

use wasmill_tests::kafka::Broker;
use wasmill_tests::postgres::Database;
use wasmill_tests::root;

/// The job's name, as Kafka and the storage know it.
pub(crate) const JOB: &str = "kill";
/// The topics.
pub(crate) const INPUT: &str = "transactions";
pub(crate) const OUTPUT: &str = "alerts";
/// The table.
pub(crate) const TABLE: &str = "audit";
/// So little memory that keys leave it and come back all the time.
const CACHE: &str = "64KiB";
/// Options of every client: what takes minutes elsewhere takes seconds.
const CLIENT: &str = "socket.timeout.ms: \"2000\", reconnect.backoff.max.ms: \"500\"";
/// After so long the broker ends a transaction by itself, in milliseconds.
pub(crate) const TRANSACTION_MS: u64 = 4_000;

/// Where it is decided that a checkpoint counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// In the log of checkpoints; Kafka follows, and an SQLite table does.
    Follower,
    /// In Kafka, by the transaction that holds the rows; a PostgreSQL table follows.
    Decides,
}

impl Form {
    /// Both.
    pub(crate) const ALL: &[Self] = &[Self::Follower, Self::Decides];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::Decides => "decides",
        }
    }
}

/// Where an operator keeps its state while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Rocksdb,
}

/// The document of the job that is killed. Its processes may differ in the backend only.
pub(crate) fn text(
    form: Form,
    backend: Backend,
    broker: &Broker,
    database: Option<&Database>,
) -> String {
    let (plugins, brokers) = (root().join("target/plugins"), broker.proxy().address());
    let plugins = plugins.display();
    let state = match backend {
        Backend::Memory => String::new(),
        Backend::Rocksdb => {
            format!("state: {{ backend: rocksdb, cache: {CACHE}, directory: state }}\n")
        }
    };
    let decides = form == Form::Decides;
    let audit = match database {
        None => format!("sqlite: {{ path: audit.db, table: {TABLE} }}"),
        Some(Database { url, schema }) => {
            format!("postgres: {{ url: \"{url}\", schema: {schema}, table: {TABLE} }}")
        }
    };
    format!(
        "name: {JOB}
checkpoint: {{ interval: 200ms, storage: checkpoints }}
restart: {{ fixed: {{ attempts: 1000000, delay: 100ms }} }}
{state}sources:
  transactions:
    kafka:
      brokers: \"{brokers}\"
      topic: {INPUT}
      options: {{ {CLIENT} }}
    format:
      json: {{ account: u64, shop: u16, amount: i64, at: timestamp }}
      timestamp: microseconds
    event-time: {{ column: at }}
operators:
  ledger:
    input: transactions
    key-by: [account]
    plugin: {plugins}/guest-ledger-1.wasm
    order: arrival
sinks:
  alerts:
    input: ledger
    kafka:
      brokers: \"{brokers}\"
      topic: {OUTPUT}
      key: account
      decides: {decides}
      options: {{ transaction.timeout.ms: \"{TRANSACTION_MS}\", {CLIENT} }}
    delivery: exactly-once
  audit:
    input: ledger
    {audit}
    delivery: exactly-once
"
    )
}

//! What the job's document says.

use wasmill_tests::postgres::Database;
use wasmill_tests::root;

use crate::feed::FILES;
use crate::job::Backend;
use crate::outputs::{OUTPUTS, Output, Place};

/// So little memory that keys leave it and come back all the time.
const CACHE: &str = "64KiB";

/// What may differ from one process to the next.
pub(crate) struct Document<'a> {
    pub(crate) backend: Backend,
    /// Where checkpoints are kept, as lines of the document.
    pub(crate) storage: String,
    /// The version of a plugin; the second one migrates what the first one remembered.
    pub(crate) ledger: u32,
    pub(crate) database: Option<&'a Database>,
    /// Whether the input may still grow.
    pub(crate) follow: bool,
}

impl Document<'_> {
    pub(crate) fn text(&self) -> String {
        let plugins = root().join("target/plugins");
        let plugins = plugins.display();
        let backend = match self.backend.0 {
            "memory" => String::new(),
            other => format!("state: {{ backend: {other}, cache: {CACHE}, directory: state }}\n"),
        };
        let mut text = format!(
            "name: kill
checkpoint:
  interval: 150ms
{}{backend}{}operators:
  memory:
    input: sales
    key-by: [key]
    plugin: {plugins}/guest-every-state.wasm
    order: event-time
  features:
    input: payments
    key-by: [account]
    features:
      count_1m: {{ count: rows, over: 1m }}
      spent_1h: {{ sum: amount, over: 1h }}
      mean_3: {{ mean: amount, rows: 3 }}
    plugin: {plugins}/unusual.wasm
    order: arrival
    config: {{ max-per-minute: 0 }}
  windows:
    input: early
    key-by: [key]
    window: {{ sliding: {{ size: 8s, every: 4s }} }}
    allowed-lateness: 1s
    aggregates: {{ n: {{ count: rows }}, total: {{ sum: amount }} }}
  sessions:
    input: sales
    key-by: [key]
    window: {{ session: {{ gap: 5s }} }}
    aggregates: {{ n: {{ count: rows }}, total: {{ sum: amount }} }}
  ledger:
    input: entries
    key-by: [account]
    plugin: {plugins}/guest-ledger-{}.wasm
sinks:
  late: {{ input: windows.late, discard: {{}} }}
",
            self.storage,
            self.sources(),
            self.ledger,
        );
        for output in OUTPUTS {
            text += &self.sink(output);
        }
        text
    }

    /// Some files are read twice: with other columns, or as if their rows were hardly out of order.
    fn sources(&self) -> String {
        let follow = self.follow;
        let files = |name: &str| {
            let names = (0..FILES).map(|at| format!("input/{name}-{at}.csv"));
            names.collect::<Vec<_>>().join(", ")
        };
        let (sales, payments) = (files("sales"), files("payments"));
        format!(
            "sources:
  sales:
    file: {{ path: [{sales}], follow: {follow} }}
    format: {{ csv: {{ key: u64, shop: string, amount: i64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 2s }}
  early:
    file: {{ path: [{sales}], follow: {follow} }}
    format: {{ csv: {{ key: u64, amount: i64, at: timestamp }} }}
    event-time: {{ column: at, out-of-orderness: 1s }}
  payments:
    file: {{ path: [{payments}], follow: {follow} }}
    format: {{ csv: {{ account: u64, amount: f64, at: timestamp }} }}
    event-time: {{ column: at }}
  entries:
    file: {{ path: [{payments}], follow: {follow} }}
    format: {{ csv: {{ account: u64, shop: u16, amount: i64, at: timestamp }} }}
    event-time: {{ column: at }}
"
        )
    }

    fn sink(&self, output: Output) -> String {
        let Output { of, place } = output;
        let include = match of {
            "windows" => ", include: { op: op }",
            _ => "",
        };
        match (place, self.database) {
            (Place::File, _) => {
                let (path, format) = (output.file(), output.format());
                format!(
                    "  {of}-file: {{ input: {of}, file: {{ path: {path} }}, format: {format}\
                     {include} }}\n"
                )
            }
            (Place::Sqlite, _) => format!(
                "  {of}-table: {{ input: {of}, sqlite: {{ path: out.db, table: {of} }}\
                 {include} }}\n"
            ),
            (Place::Postgres, Some(Database { url, schema })) => format!(
                "  {of}-postgres: {{ input: {of}, postgres: {{ url: \"{url}\", schema: {schema}, \
                 table: {of} }}{include} }}\n"
            ),
            (Place::Postgres, None) => String::new(),
        }
    }
}

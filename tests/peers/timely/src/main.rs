//! The keyed benchmark job on timely dataflow: native Rust, no sandbox, nothing durable. It shows
//! how near wasmill comes to the limit of the machine; it is no competitor.
//!
//! Usage: `wasmill-peer-timely RECORDS KEYS WORKERS`. Prints one line of JSON.

use std::time::Instant;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

/// Spreads consecutive numbers over the keys, as the generator of wasmill's benchmarks does.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
/// Numbers that a worker sends between two advances of its time.
const STEP: u64 = 8_192;
/// Numbers of a worker that may be in flight.
const AHEAD_MAX: u64 = 65_536;

/// Account, amount, time.
type Transaction = (u64, f64, i64);
type Transactions = CapacityContainerBuilder<Vec<Transaction>>;
type Alerts = CapacityContainerBuilder<Vec<u64>>;

fn main() {
    let [records, keys, workers] = arguments();
    let start = Instant::now();
    let workers = usize::try_from(workers).expect("a number of threads fits");
    timely::execute(timely::Config::process(workers), move |worker| {
        run(worker, records, keys)
    })
    .expect("the workers start")
    .join();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{{\"scenario\":\"keyed\",\"records\":{records},\"seconds\":{seconds:.6},\
         \"value\":{:.1},\"unit\":\"records/s\"}}",
        records as f64 / seconds
    );
}

fn arguments() -> [u64; 3] {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .flat_map(|word| word.parse())
        .collect();
    numbers.try_into().expect("usage: RECORDS KEYS WORKERS")
}

/// One worker's share: every `peers`-th number, in steps, never far ahead of the slowest.
fn run(worker: &mut Worker, records: u64, keys: u64) {
    let mut input = InputHandle::new();
    let probe = dataflow(worker, &mut input, keys);
    let (mut number, peers) = (worker.index() as u64, worker.peers() as u64);
    let mut sent = 0;
    while number < records {
        input.send(number);
        number += peers;
        sent += 1;
        if sent % STEP == 0 {
            input.advance_to(sent);
            while probe.less_than(&sent.saturating_sub(AHEAD_MAX)) {
                worker.step();
            }
        }
    }
}

/// Makes a transaction of each number, sends it to its account's worker, counts and sums there.
fn dataflow(
    worker: &mut Worker,
    input: &mut InputHandle<u64, CapacityContainerBuilder<Vec<u64>>>,
    keys: u64,
) -> ProbeHandle<u64> {
    worker.dataflow(|scope| {
        input
            .to_stream(scope)
            .unary::<Transactions, _, _, _>(Pipeline, "make", move |_, _| {
                move |input, output| {
                    input.for_each(|time, numbers: &mut Vec<u64>| {
                        output.session(&time).give_iterator(
                            numbers.drain(..).map(|i| {
                                (i.wrapping_mul(SPREAD) % keys, (i % 1000) as f64, i as i64)
                            }),
                        );
                    });
                }
            })
            .unary::<Alerts, _, _, _>(Exchange::new(owner), "rule", |_, _| {
                let mut accounts = rustc_hash::FxHashMap::<u64, Transaction>::default();
                move |input, output| {
                    input.for_each(|time, transactions: &mut Vec<Transaction>| {
                        let mut session = output.session(&time);
                        for (account, amount, at) in transactions.drain(..) {
                            let state = accounts.entry(account).or_default();
                            *state = (state.0 + 1, state.1 + amount, at);
                            if state.1 > 1e12 {
                                session.give(account);
                            }
                        }
                    });
                }
            })
            .probe()
            .0
    })
}

/// The number whose remainder is the worker that owns the account.
fn owner(transaction: &Transaction) -> u64 {
    transaction.0.wrapping_mul(SPREAD) >> 32
}

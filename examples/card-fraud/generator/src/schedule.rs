//! What is going to happen: payments with their moment, the earliest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::market::Merchant;
use crate::transaction::Channel;

/// One payment that will be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Payment {
    pub(crate) at_us: i64,
    /// Position of the account.
    pub(crate) account: usize,
    pub(crate) channel: Channel,
    pub(crate) merchant: Merchant,
    pub(crate) amount_minor: i64,
    /// The incident that it belongs to, if it is a fraud.
    pub(crate) incident: Option<u64>,
}

/// Payments in the order of their time; equal times in the order in which they were planned.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    heap: BinaryHeap<Reverse<(i64, u64, Payment)>>,
    planned: u64,
}

impl Schedule {
    /// Plans a payment to come out at its own time.
    pub(crate) fn add(&mut self, payment: Payment) {
        self.add_at(payment.at_us, payment);
    }

    /// Plans a payment to come out at another moment than its own: when it arrives.
    pub(crate) fn add_at(&mut self, moment_us: i64, payment: Payment) {
        self.planned += 1;
        self.heap.push(Reverse((moment_us, self.planned, payment)));
    }

    /// The next payment, if its moment has come.
    pub(crate) fn next_until(&mut self, moment_us: i64) -> Option<Payment> {
        let Reverse((next_us, _, _)) = self.heap.peek()?;
        if *next_us > moment_us {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, payment))| payment)
    }
}

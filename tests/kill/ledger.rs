//! What the ledger is to give, whose second version goes on with what the first one remembered.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;
use wasmill_tests::sales::time;

use crate::feed::{Fed, Payment};
use crate::oracle::Row;

/// A column that only rows of the first version have.
const OF_FIRST: &str = "\"visits\"";

/// What is remembered of an account.
#[derive(Debug, Default)]
struct Account {
    total: u64,
    /// Rows that the second version has seen.
    count: u64,
    recent: Vec<u64>,
    shops: BTreeMap<u64, u64>,
    seen: i64,
}

impl Account {
    fn pay(&mut self, payment: &Payment) {
        self.total += payment.amount;
        *self.shops.entry(payment.shop).or_default() += 1;
        self.seen = payment.at;
    }

    fn remember(&mut self, amount: u64) {
        self.recent.push(amount);
        if self.recent.len() > 3 {
            self.recent.remove(0);
        }
    }

    /// What becomes of the first version's memory.
    fn migrate(&mut self) {
        self.recent.retain(|amount| *amount != 0);
        self.shops.remove(&9);
    }
}

/// The first version tells of each payment, the second one of each account in the end. Nobody but
/// the output knows with which payment of an account the second one began; but its own count, and
/// the sum of both, do not depend on that.
pub(crate) fn ledger(fed: &Fed, found: &[Row]) -> Vec<Row> {
    let mut of_first: HashMap<u64, usize> = HashMap::new();
    for (account, _) in found.iter().filter(|(_, row)| row.contains(OF_FIRST)) {
        *of_first.entry(*account).or_default() += 1;
    }
    let mut accounts: BTreeMap<u64, Vec<&Payment>> = BTreeMap::new();
    for payment in &fed.payments {
        accounts.entry(payment.account).or_default().push(payment);
    }
    let mut all = Vec::new();
    for (account, payments) in accounts {
        let first = of_first.get(&account).copied().unwrap_or(0);
        let (first, second) = payments.split_at(first.min(payments.len()));
        let mut memory = Account::default();
        for payment in first {
            memory.pay(payment);
            memory.remember(payment.amount);
            let (total, visits) = (memory.total, memory.shops[&payment.shop]);
            let row = json!({ "account": account, "total": total, "visits": visits });
            all.push((account, row.to_string()));
        }
        memory.migrate();
        for payment in second {
            memory.pay(payment);
            memory.count += 1;
            if payment.amount != 0 {
                memory.remember(payment.amount);
            }
        }
        all.push((account, closed(account, &memory)));
    }
    all
}

fn closed(account: u64, memory: &Account) -> String {
    let recent: Vec<String> = memory.recent.iter().map(u64::to_string).collect();
    let shops: BTreeMap<String, u64> = memory
        .shops
        .iter()
        .map(|(shop, n)| (format!("shop-{shop}"), *n))
        .collect();
    let shops: Vec<String> = shops
        .iter()
        .map(|(shop, n)| format!("{shop}={n}"))
        .collect();
    // A day after the last payment.
    let at = time(memory.seen).replace("2026-03-01", "2026-03-02");
    json!({
        "account": account,
        "at": at,
        "amount": memory.total,
        "count": memory.count,
        "recent": recent.join(" "),
        "shops": shops.join(" "),
    })
    .to_string()
}

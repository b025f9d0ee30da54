//! Four rules that look for card fraud, one file each.

pub mod amount_history;
pub mod config;
pub mod countries;
pub mod impossible_travel;
pub mod new_merchants;
pub mod payment;
pub mod velocity;

//! Tasks: what runs on slots.

pub mod slot;
pub mod sorter;

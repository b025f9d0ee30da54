//! Tasks: what runs on slots.

pub mod slot;

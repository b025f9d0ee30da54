//! State looked at from outside, and brought to other types: `wasmill checkpoint` and `wasmill
//! state` against what plain Rust remembers.

mod bench;
mod bucket;
mod damage;
mod migration;
mod older;
mod state;
mod windows;

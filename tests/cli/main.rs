//! The command line from outside: the real program in an empty folder, a file for each noun.

mod check;
mod completions;
mod document;
mod exit;
mod fixture;
mod graph;
mod large;
mod log;
mod plugin;
mod program;
mod recovery;
mod schema;
mod summary;

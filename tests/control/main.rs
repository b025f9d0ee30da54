//! A running job from outside: its socket, savepoints, stop, drain, and those who mean no good.

mod bench;
mod ending;
mod hostile;
mod savepoints;
mod status;

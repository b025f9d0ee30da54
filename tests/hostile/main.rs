//! Guests that misbehave, from outside: each is stopped for its own reason, its rows become dead
//! letters, and the rows of its neighbour are exact. And what guests that ask for the outside get.

mod batches;
mod closed;
mod job;
mod keyed;
mod letters;
mod records;
mod refused;
mod timers;

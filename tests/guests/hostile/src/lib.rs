//! An operator that passes its rows on, and misbehaves in the way its configuration names: `{
//! "misbehave": WORD }`.
//! Built from the WIT alone: no SDK stands between it and the boundary.

#![allow(unsafe_code, reason = "it calls C functions that no safe code reaches")]

mod answer;

use std::cell::RefCell;
use std::hint::black_box;

use answer::Answer;
use exports::wasmill::operator::operator::{Buffers, Fault, Guest};
use wasmill::operator::{log, report};

wit_bindgen::generate!({
    path: "../../../wit",
    world: "batch-operator",
});

const DESCRIPTOR: &str = r#"{
  "descriptor": 1,
  "name": "hostile",
  "version": "0.1.0",
  "inputs": [{ "name": "rows", "columns": [{ "name": "id", "type": "u64" }] }],
  "outputs": [{ "name": "same", "columns": [{ "name": "id", "type": "u64" }] }],
  "config": { "type": "object", "properties": { "misbehave": { "type": "string" } } }
}"#;

thread_local! {
    static MISBEHAVE: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Hostile;

impl Guest for Hostile {
    fn describe() -> String {
        DESCRIPTOR.to_owned()
    }

    fn open(context: String) -> Result<(), Fault> {
        let word = context
            .split_once("\"misbehave\"")
            .and_then(|(_, rest)| rest.split('"').nth(1))
            .unwrap_or_default();
        MISBEHAVE.set(word.to_owned());
        match word {
            "spin-in-open" => spin(),
            _ => Ok(()),
        }
    }

    fn process(batch: Buffers) -> Result<Buffers, Fault> {
        let word = MISBEHAVE.with_borrow(String::clone);
        let ids = ids(&batch);
        match word.as_str() {
            "trap" => std::process::abort(),
            "panic" => panic!("a panic\u{1b}[31m of its own"),
            "report" => {
                report::failing(&fault(Some(1), "about to fail"));
                std::process::abort()
            }
            "spin" => spin(),
            "recursion" => {
                black_box(recurse(black_box(1)));
            }
            "deep-calls" => {
                black_box(deep(black_box(1), black_box(0)));
            }
            "memory-bomb" => loop {
                std::mem::forget(black_box(vec![1u8; 1 << 20]));
            },
            "null-pointer" => {
                black_box(unsafe { black_box(usize::MAX as *const u64).read_unaligned() });
            }
            "log-flood" => loop {
                log::write(log::Level::Info, &"x".repeat(1 << 10));
            },
            "log-lines" => loop {
                log::write(log::Level::Info, "x");
            },
            "stderr-flood" => loop {
                eprintln!("{}", "y".repeat(1 << 10));
            },
            "sleep" => sleep(),
            "poll" => wait_for(0, 1),
            "poll-stdout" => wait_for(1, 4),
            "exit" => std::process::exit(0),
            "fault-every-7th" => {
                if let Some(row) = ids.iter().position(|id| id % 7 == 3) {
                    return Err(fault(Some(row as u32), "every seventh"));
                }
            }
            "spin-every-7th" if ids.iter().any(|id| id % 7 == 3) => spin(),
            "spin-at-13" if ids.contains(&13) => spin(),
            "trap-at-13" if ids.contains(&13) => std::process::abort(),
            _ => {}
        }
        Ok(Answer::new(&ids).misbehave(&word).into_buffers())
    }
}

fn fault(row: Option<u32>, message: &str) -> Fault {
    Fault {
        row,
        message: message.to_owned(),
    }
}

/// The one column of the one input.
fn ids(batch: &Buffers) -> Vec<u64> {
    let is_ids = |entry: &&[u32]| entry[0] == 1 << 16 && entry[1] == 0 && entry[2] == 2;
    match batch.directory.chunks_exact(5).find(is_ids) {
        None => Vec::new(),
        Some(entry) => {
            let (start, length) = (entry[3] as usize / 8, entry[4] as usize / 8);
            batch.arena[start..start + length].to_vec()
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a guest that sleeps is what is tested"
)]
fn sleep() {
    std::thread::sleep(std::time::Duration::from_secs(3600));
}

fn spin() -> ! {
    loop {
        black_box(());
    }
}

fn recurse(depth: u64) -> u64 {
    if depth == 0 {
        return 0;
    }
    let frame = black_box([depth; 64]);
    frame[63] + recurse(depth + 1) + frame[0]
}

/// Calls itself without a word of memory: only the stack of calls grows.
fn deep(depth: u64, end: u64) -> u64 {
    if depth == end {
        return 0;
    }
    deep(depth + 1, end).wrapping_mul(3).wrapping_add(depth)
}

/// Waits for a descriptor to be ready for these events: 1 to be read, 4 to be written.
fn wait_for(descriptor: i32, events: i16) {
    #[repr(C)]
    struct Poll {
        descriptor: i32,
        events: i16,
        revents: i16,
    }
    unsafe extern "C" {
        fn poll(polls: *mut Poll, len: usize, timeout_ms: i32) -> i32;
    }
    let mut polled = Poll {
        descriptor,
        events,
        revents: 0,
    };
    loop {
        unsafe { poll(&mut polled, 1, 1_000) };
    }
}

export!(Hostile);

//! Our own closed WASI.
//!
//! Toolchains import WASI whether or not a plugin uses it. What they import links, whatever
//! 0.2.x it is, but reaches nothing: no arguments, no environment, no files; stdout and stderr
//! go to the guest's log; time is the records' time, randomness follows the seed. Whatever would
//! wait is a fault that names the function.

use wasmtime::{
    StoreContextMut,
    component::{
        Component, Linker, LinkerInstance, ResourceDynamic, ResourceType, Val, types::ComponentItem,
    },
};

use super::{capability::Forbidden, guest::GuestState};

/// The longest answer of `get-random-bytes`.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// What a stream says it takes at once.
const WRITE_BYTES_MAX: u64 = 64 << 10;
/// Represents stdin, stdout and stderr.
const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

/// Resources of WASI, by name: their position is their type's number.
const RESOURCES: &[&str] = &[
    "input-stream",
    "output-stream",
    "error",
    "pollable",
    "descriptor",
    "directory-entry-stream",
    "terminal-input",
    "terminal-output",
];

/// Defines every WASI interface that the component imports.
pub(super) fn add(
    linker: &mut Linker<GuestState>,
    engine: &wasmtime::Engine,
    component: &Component,
) -> wasmtime::Result<()> {
    for (name, import) in component.component_type().imports(engine) {
        let (path, _) = name.split_once('@').unwrap_or((name, ""));
        let Some(interface) = path.strip_prefix("wasi:") else {
            continue;
        };
        let ComponentItem::ComponentInstance(instance) = import.ty else {
            continue;
        };
        let mut defined = linker.instance(name)?;
        for (item, export) in instance.exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => define(&mut defined, interface, item)?,
                ComponentItem::Resource(_) => {
                    let ty = ResourceType::host_dynamic(resource_number(item));
                    defined.resource(item, ty, |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn resource_number(name: &str) -> u32 {
    let known = RESOURCES.iter().position(|known| *known == name);
    known.unwrap_or(RESOURCES.len()) as u32
}

type Guest<'a> = StoreContextMut<'a, GuestState>;
type Body = fn(Guest<'_>, &[Val], &mut [Val]) -> wasmtime::Result<()>;

fn define(
    linker: &mut LinkerInstance<'_, GuestState>,
    interface: &str,
    function: &str,
) -> wasmtime::Result<()> {
    let name = format!("wasi:{interface}#{function}");
    match body(interface, function) {
        Some(body) => linker.func_new(function, move |mut guest, _, parameters, results| {
            let parameters: Result<Vec<_>, _> = parameters
                .iter()
                .map(|parameter| give_back(&mut guest, parameter))
                .collect();
            body(guest, &parameters?, results)
        }),
        None => {
            let reason = why_not(interface, function);
            linker.func_new(function, move |_, _, _, _| {
                Err(wasmtime::Error::new(Forbidden {
                    function: name.clone(),
                    reason,
                }))
            })
        }
    }
}

fn why_not(interface: &str, function: &str) -> &'static str {
    match interface {
        "cli/exit" => "an operator does not end the process; return a fault instead",
        "io/poll" => "an operator cannot wait or sleep; set a timer instead",
        "clocks/monotonic-clock" => "an operator cannot wait or sleep; set a timer instead",
        _ if function.ends_with(".subscribe") => "an operator cannot wait; set a timer instead",
        _ if interface.starts_with("filesystem/") => "there are no files",
        _ => "it would reach outside",
    }
}

/// What a function does here; none if calling it is a fault.
fn body(interface: &str, function: &str) -> Option<Body> {
    Some(match (interface, function) {
        ("cli/environment", "get-environment" | "get-arguments")
        | ("filesystem/preopens", "get-directories") => {
            |_, _, results| give(results, Val::List(Vec::new()))
        }
        ("cli/environment", "initial-cwd")
        | ("filesystem/types", "filesystem-error-code")
        | (
            "cli/terminal-stdin" | "cli/terminal-stdout" | "cli/terminal-stderr",
            "get-terminal-stdin" | "get-terminal-stdout" | "get-terminal-stderr",
        ) => |_, _, results| give(results, Val::Option(None)),
        ("cli/stdin", "get-stdin") => |guest, _, results| stream(guest, results, STDIN),
        ("cli/stdout", "get-stdout") => |guest, _, results| stream(guest, results, STDOUT),
        ("cli/stderr", "get-stderr") => |guest, _, results| stream(guest, results, STDERR),
        ("clocks/monotonic-clock", "now") => |guest, _, results| {
            let ns = guest.data().time_us.max(0) as u64;
            give(results, Val::U64(ns.saturating_mul(1_000)))
        },
        ("clocks/monotonic-clock", "resolution") => |_, _, results| give(results, Val::U64(1_000)),
        ("clocks/wall-clock", "now") => |guest, _, results| {
            let us = guest.data().time_us.max(0) as u64;
            give(
                results,
                datetime(us / 1_000_000, (us % 1_000_000) as u32 * 1_000),
            )
        },
        ("clocks/wall-clock", "resolution") => |_, _, results| give(results, datetime(0, 1_000)),
        ("random/random", "get-random-bytes")
        | ("random/insecure", "get-insecure-random-bytes") => random_bytes,
        ("random/random", "get-random-u64") | ("random/insecure", "get-insecure-random-u64") => {
            |mut guest, _, results| give(results, Val::U64(guest.data_mut().random()))
        }
        ("random/insecure-seed", "insecure-seed" | "get-insecure-seed") => {
            |mut guest, _, results| {
                let guest = guest.data_mut();
                let pair = vec![Val::U64(guest.random()), Val::U64(guest.random())];
                give(results, Val::Tuple(pair))
            }
        }
        ("io/error", "[method]error.to-debug-string") => {
            |_, _, results| give(results, Val::String("closed".into()))
        }
        ("io/streams", function) => stream_body(function)?,
        // Only output streams give pollables, and the log is always ready.
        ("io/poll", "poll") => poll,
        ("io/poll", "[method]pollable.ready") => |_, _, results| give(results, Val::Bool(true)),
        ("io/poll", "[method]pollable.block") => |_, _, _| Ok(()),
        _ => return None,
    })
}

fn stream_body(function: &str) -> Option<Body> {
    Some(match function {
        "[method]input-stream.read"
        | "[method]input-stream.blocking-read"
        | "[method]input-stream.skip"
        | "[method]input-stream.blocking-skip"
        | "[method]output-stream.splice"
        | "[method]output-stream.blocking-splice"
        | "[method]output-stream.write-zeroes"
        | "[method]output-stream.blocking-write-zeroes-and-flush" => {
            |_, _, results| give(results, Val::Result(Err(Some(closed()))))
        }
        "[method]output-stream.check-write" => |_, _, results| {
            let room = Val::U64(WRITE_BYTES_MAX);
            give(results, Val::Result(Ok(Some(Box::new(room)))))
        },
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            |_, _, results| give(results, Val::Result(Ok(None)))
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => write,
        "[method]output-stream.subscribe" => |guest, _, results| {
            let resource = ResourceDynamic::new_own(0, resource_number("pollable"));
            give(
                results,
                Val::Resource(resource.try_into_resource_any(guest)?),
            )
        },
        _ => return None,
    })
}

fn give(results: &mut [Val], value: Val) -> wasmtime::Result<()> {
    match results.first_mut() {
        Some(result) => *result = value,
        None => wasmtime::bail!("the function has no result"),
    }
    Ok(())
}

fn closed() -> Box<Val> {
    Box::new(Val::Variant("closed".into(), None))
}

fn datetime(seconds: u64, nanoseconds: u32) -> Val {
    Val::Record(vec![
        ("seconds".into(), Val::U64(seconds)),
        ("nanoseconds".into(), Val::U32(nanoseconds)),
    ])
}

fn stream(guest: Guest<'_>, results: &mut [Val], number: u32) -> wasmtime::Result<()> {
    let name = match number {
        STDIN => "input-stream",
        _ => "output-stream",
    };
    let resource = ResourceDynamic::new_own(number, resource_number(name));
    let resource = resource.try_into_resource_any(guest)?;
    give(results, Val::Resource(resource))
}

fn write(mut guest: Guest<'_>, parameters: &[Val], results: &mut [Val]) -> wasmtime::Result<()> {
    let [Val::U32(number), Val::List(bytes)] = parameters else {
        wasmtime::bail!("a stream takes bytes");
    };
    let bytes: Vec<u8> = bytes
        .iter()
        .filter_map(|byte| match byte {
            Val::U8(byte) => Some(*byte),
            _ => None,
        })
        .collect();
    let stream = usize::from(*number != STDOUT);
    guest.data_mut().log_bytes(stream, &bytes)?;
    give(results, Val::Result(Ok(None)))
}

fn poll(_: Guest<'_>, parameters: &[Val], results: &mut [Val]) -> wasmtime::Result<()> {
    let [Val::List(pollables)] = parameters else {
        wasmtime::bail!("a poll takes pollables");
    };
    let ready = (0..pollables.len() as u32).map(Val::U32).collect();
    give(results, Val::List(ready))
}

/// A parameter with its borrowed resources returned: their numbers stand in their places.
fn give_back(guest: &mut Guest<'_>, parameter: &Val) -> wasmtime::Result<Val> {
    Ok(match parameter {
        Val::Resource(resource) => {
            let resource = resource.try_into_resource_dynamic(&mut *guest)?;
            Val::U32(resource.rep())
        }
        Val::List(items) => {
            let items: Result<Vec<_>, _> =
                items.iter().map(|item| give_back(guest, item)).collect();
            Val::List(items?)
        }
        other => other.clone(),
    })
}

fn random_bytes(
    mut guest: Guest<'_>,
    parameters: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let [Val::U64(wanted)] = parameters else {
        wasmtime::bail!("random bytes are asked for by number");
    };
    if *wanted > RANDOM_BYTES_MAX {
        return Err(wasmtime::Error::new(Forbidden {
            function: "wasi:random/random#get-random-bytes".into(),
            reason: "more than 64 KiB at once",
        }));
    }
    let mut bytes = Vec::new();
    while bytes.len() < *wanted as usize {
        bytes.extend(guest.data_mut().random().to_le_bytes().map(Val::U8));
    }
    bytes.truncate(*wanted as usize);
    give(results, Val::List(bytes))
}

//! Guests that misbehave: each is stopped, and its error names what it did.

use std::{sync::LazyLock, time::Duration};

use wasmill_core::boundary::{Decoder, Effects, Encoder, Group, Kind, Layout, Question};

use super::*;

static PLUGIN: LazyLock<Plugin> =
    LazyLock::new(|| engine().load(&component("guest-hostile")).expect("loads"));

const BUDGET: Duration = Duration::from_millis(30);

fn options() -> InstanceOptions {
    InstanceOptions {
        limits: Limits {
            cpu_max: BUDGET,
            memory_bytes_max: 24 << 20,
            output_bytes_max: 4 << 20,
            log_bytes_max: 64 << 10,
            ..Limits::default()
        },
        ..InstanceOptions::default()
    }
}

async fn instance(word: &str) -> Result<Instance, CallError> {
    let mut instance = PLUGIN.instantiate(&options()).await?;
    let context = format!(r#"{{ "context": 1, "config": {{ "misbehave": "{word}" }} }}"#);
    instance.open(&context).await?;
    Ok(instance)
}

fn batch(ids: &[u64]) -> Encoder {
    let mut encoder = Encoder::new();
    encoder.begin(Group::Input, 0, ids.len() as u32);
    encoder.copy(0, Kind::Values, ids);
    encoder
}

/// Calls a guest that misbehaves so, with rows 0 to 19.
fn call(word: &str) -> Result<RawOutput, CallError> {
    let ids: Vec<u64> = (0..20).collect();
    let encoder = batch(&ids);
    let (directory, arena) = encoder.finish().expect("small");
    block_on(async {
        let mut instance = instance(word).await?;
        let answer = instance
            .process(20, directory, arena, CallContext::default())
            .await;
        let failed = matches!(
            answer,
            Err(CallError::Trap { .. } | CallError::Limit { .. })
        );
        assert_eq!(
            instance.is_usable(),
            !failed,
            "only a stopped guest is spent"
        );
        if failed {
            let again = instance
                .process(20, directory, arena, CallContext::default())
                .await;
            assert!(
                matches!(again, Err(CallError::Spent)),
                "a spent guest was called"
            );
        }
        answer
    })
}

#[track_caller]
fn check_limit(word: &str, wanted: Limit) {
    let error = call(word).expect_err(word);
    let CallError::Limit {
        limit,
        used,
        budget,
        ..
    } = &error
    else {
        panic!("{word}: {error}")
    };
    assert_eq!(*limit, wanted, "{word}: {error}");
    assert!(used >= budget, "{word}: {error}");
    assert!(
        error.to_string().contains(&format!("`{wanted}`")),
        "{word}: {error}"
    );
}

#[track_caller]
fn check_trap(word: &str, wanted: TrapKind, part: &str) {
    let error = call(word).expect_err(word);
    let CallError::Trap {
        kind, message, log, ..
    } = &error
    else {
        panic!("{word}: {error}")
    };
    assert_eq!(*kind, wanted, "{word}: {error}");
    let said = log.iter().any(|line| line.text.contains(part));
    assert!(said || message.contains(part), "{word}: {error}, {log:?}");
}

/// The hostile guest's own columns.
fn decode(output: &RawOutput) -> Result<usize, String> {
    let descriptor = wasmill_core::descriptor::Descriptor::parse(PLUGIN.descriptor());
    let descriptor = descriptor.expect("the descriptor is good");
    let layout = Layout {
        outputs: vec![descriptor.outputs[0].schema.clone()],
        ..Layout::default()
    };
    let question = Question {
        rows: 20,
        is_broadcast: false,
        output_rows_max: 1_000,
        ..Question::default()
    };
    let mut decoder = Decoder::new();
    let effects: Effects<'_> = decoder
        .decode(&layout, &question, &output.directory, &output.arena)
        .map_err(|error| error.to_string())?;
    Ok(effects
        .outputs
        .iter()
        .map(|output| output.rows.num_rows())
        .sum())
}

#[track_caller]
fn check_refused(word: &str, part: &str) {
    let output = call(word).unwrap_or_else(|error| panic!("{word}: {error}"));
    let error = decode(&output).expect_err(word);
    assert!(error.contains(part), "{word}: {error}");
}

#[test]
fn a_guest_that_behaves_passes_its_rows_on() {
    assert_eq!(decode(&call("not").expect("behaves")), Ok(20));
}

#[test]
fn a_guest_that_spins_is_stopped_within_two_ticks_of_its_budget() {
    // A loaded machine may hold the ticker back: one good run of several shows the rule.
    let most = BUDGET.as_micros() as u64 + 2_000;
    let mut seen = Vec::new();
    for _ in 0..20 {
        let error = call("spin").expect_err("spins");
        let CallError::Limit {
            limit: Limit::Cpu,
            used,
            budget,
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!(budget, BUDGET.as_micros() as u64);
        assert!(used >= budget);
        seen.push(used);
        if used <= most {
            return;
        }
    }
    panic!("CPU time used: {seen:?} µs, allowed: {most} µs");
}

#[test]
fn guests_that_use_too_much_are_stopped() {
    check_limit("spin-at-13", Limit::Cpu);
    check_limit("deep-calls", Limit::Stack);
    check_limit("memory-bomb", Limit::Memory);
    check_limit("huge-output", Limit::OutputBytes);
    check_limit("log-flood", Limit::LogBytes);
    check_limit("log-lines", Limit::LogLines);
    check_limit("stderr-flood", Limit::LogBytes);
    let error = block_on(instance("spin-in-open"))
        .map(|_| ())
        .expect_err("spins");
    assert!(
        matches!(
            error,
            CallError::Limit {
                limit: Limit::Cpu,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn guests_that_trap_leave_their_last_words() {
    check_trap("trap", TrapKind::Unreachable, "unreachable");
    check_trap("trap-at-13", TrapKind::Unreachable, "unreachable");
    check_trap(
        "panic",
        TrapKind::Unreachable,
        r"a panic\u{1b}[31m of its own",
    );
    // Frames with arrays lie in the guest's own memory: they run out of it before the stack ends.
    check_trap("recursion", TrapKind::OutOfBounds, "out of bounds");
    check_trap("null-pointer", TrapKind::OutOfBounds, "out of bounds");
    let error = call("report").expect_err("fails");
    assert_eq!(error.row(), Some(1));
    assert!(
        error.to_string().contains("at row 1: about to fail"),
        "{error}"
    );
}

#[test]
fn guests_that_wait_are_stopped_at_once() {
    check_trap(
        "sleep",
        TrapKind::Forbidden,
        "wasi:clocks/monotonic-clock#subscribe",
    );
    check_trap("poll", TrapKind::Forbidden, "set a timer instead");
    check_trap("exit", TrapKind::Forbidden, "wasi:cli/exit#exit");
}

#[test]
fn guests_that_lie_are_refused() {
    check_refused("many-rows", "at most 1000 are allowed");
    check_refused("lying-length", "outside the arena");
    check_refused("lying-offset", "outside the arena");
    check_refused("odd-offset", "no multiple of 8");
    check_refused("lying-count", "column 0: the values are 160 bytes, not 168");
    check_refused("lying-cause", "neither a row nor a firing");
    check_refused("bad-utf8", "row 0: the reason is not UTF-8");
    check_refused("key-out-of-range", "declares no such section");
    check_refused("undeclared-output", "section output 7");
    check_refused("long-directory", "70000 entries");
}

#[test]
fn a_fault_names_its_row_and_spares_the_instance() {
    let error = call("fault-every-7th").expect_err("faults");
    assert_eq!(
        error.to_string(),
        "the plugin failed at row 3: every seventh"
    );
}

#[test]
fn a_neighbour_is_not_disturbed() {
    let ids: Vec<u64> = (0..20).collect();
    let encoder = batch(&ids);
    let (directory, arena) = encoder.finish().expect("small");
    block_on(async {
        let mut good = instance("not").await.expect("behaves");
        for word in [
            "trap",
            "spin",
            "memory-bomb",
            "log-flood",
            "recursion",
            "exit",
        ] {
            call(word).expect_err(word);
            let output = good
                .process(20, directory, arena, CallContext::default())
                .await
                .unwrap_or_else(|error| panic!("after {word}: {error}"));
            assert_eq!(decode(&output), Ok(20), "after {word}");
        }
    });
}

#[test]
fn a_yielded_call_counts_only_its_own_time() {
    // The hook says that somebody always waits: the call yields at every tick, and still its
    // own budget ends it.
    let encoder = batch(&[1]);
    let (directory, arena) = encoder.finish().expect("small");
    let error = block_on(async {
        let options = InstanceOptions {
            somebody_is_ready: || true,
            ..options()
        };
        let mut instance = PLUGIN.instantiate(&options).await.expect("instantiates");
        let context = r#"{ "config": { "misbehave": "spin" } }"#;
        instance.open(context).await.expect("opens");
        let call = instance.process(1, directory, arena, CallContext::default());
        let mut call = std::pin::pin!(call);
        let mut pending = 0;
        let outcome = std::future::poll_fn(|context| {
            let polled = call.as_mut().poll(context);
            pending += u32::from(polled.is_pending());
            // What others do on this thread meanwhile is not the guest's.
            let others = crate::clock::thread_cpu();
            while polled.is_pending() && crate::clock::thread_cpu() - others < BUDGET / 5 {}
            polled
        })
        .await;
        assert!(pending >= 10, "yielded {pending} times");
        outcome.expect_err("spins")
    });
    let CallError::Limit {
        limit: Limit::Cpu,
        used,
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert!(used >= BUDGET.as_micros() as u64);
}

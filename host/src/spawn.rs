//! The only place that starts threads: each has a name that tools show.

use std::{
    thread::{Builder, JoinHandle},
    time::Duration,
};

/// Starts a thread that may block: readers, sinks, the ticker.
///
/// # Panics
///
/// If the system gives no more threads: nothing useful can go on then.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that may start threads"
)]
pub fn thread<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    // Linux keeps 15 bytes of a thread's name.
    let mut name = name.to_string();
    name.truncate(
        (0..=15)
            .rev()
            .find(|end| name.is_char_boundary(*end))
            .unwrap_or(0),
    );
    Builder::new()
        .name(name)
        .spawn(body)
        .expect("the system starts a thread")
}

/// Runs something on a thread of its own and waits for it: a runtime cannot run within another one,
/// and whoever calls may be within one.
///
/// # Panics
///
/// As the body does, and as [`thread`].
pub fn aside<T: Send>(name: &str, body: impl FnOnce() -> T + Send) -> T {
    let done = std::thread::scope(|scope| {
        let thread = Builder::new().name(name.into()).spawn_scoped(scope, body);
        thread.expect("the system starts a thread").join()
    });
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs something on a thread with a stack of so many bytes, and waits for it: what recurses as
/// deep as somebody else's text tells it to.
///
/// # Errors
///
/// If the body panics: what it works on is not ours.
///
/// # Panics
///
/// As [`thread`].
pub fn deep<T: Send>(
    name: &str,
    stack_bytes: usize,
    body: impl FnOnce() -> T + Send,
) -> std::thread::Result<T> {
    std::thread::scope(|scope| {
        let thread = Builder::new().name(name.into()).stack_size(stack_bytes);
        let thread = thread.spawn_scoped(scope, body);
        thread.expect("the system starts a thread").join()
    })
}

/// Does something with each item, all at the same time, and waits for all: for what takes long and
/// has nobody else to wait for it, before a job runs.
pub fn side_by_side<T: Send, R: Send>(
    items: &mut [T],
    body: impl Fn(&mut T) -> R + Sync,
) -> Vec<R> {
    if let [only] = items {
        return vec![body(only)];
    }
    std::thread::scope(|scope| {
        let body = &body;
        let running: Vec<_> = items
            .iter_mut()
            .map(|item| scope.spawn(move || body(item)))
            .collect();
        let results = running.into_iter().map(|running| running.join());
        let results =
            results.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.collect()
    })
}

/// Starts a task on the runtime of whoever calls: what waits for files and stores.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that may start tasks"
)]
pub fn task(body: impl Future<Output = ()> + Send + 'static) {
    // It ends by itself: nobody waits for it but through what it sends.
    drop(tokio::spawn(body));
}

/// Lets a task rest, between two tries of what failed.
#[expect(
    clippy::disallowed_methods,
    reason = "for tasks of the runtime that ask a store again"
)]
pub async fn rest(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Lets a thread that may block rest, between two looks at what the system cannot announce.
#[expect(
    clippy::disallowed_methods,
    reason = "for readers' threads; tasks on slots never block"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

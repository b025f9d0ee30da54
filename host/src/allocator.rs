//! The allocator of every program that has this library in it, C libraries included: jemalloc.
//!
//! A batch is made by one thread and freed by another, and what a checkpoint's image has kept is
//! freed piece by piece beside the threads that go on. The system's allocator makes both wait for
//! each other (`docs/design/decisions.md` has the figures).

use rustix::thread::disable_transparent_huge_pages;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Columns of a batch are kept by the thread that frees them, up to 256 KiB each, and state lies
/// in pages of 2 MiB: keys are looked up anywhere in it. `MALLOC_CONF` says otherwise at run time.
#[expect(unsafe_code, reason = "jemalloc looks for its settings by this name")]
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8; 28] = b"lg_tcache_max:18,thp:always\0";

/// Has the process do without pages of 2 MiB from now on, if the kernel lets it. Where memory is
/// given back all the time, the kernel fills what was given back with them again, and the process
/// grows (`docs/design/decisions.md`).
pub(crate) fn use_small_pages() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "pages of 2 MiB stay in use");
    }
}

//! The allocator of every program that has this library in it, C libraries included: jemalloc.
//!
//! A batch is made by one thread and freed by another, and what a checkpoint's image has kept is
//! freed piece by piece beside the threads that go on. The system's allocator makes both wait for
//! each other (`docs/design/decisions.md` has the figures).

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Columns of a batch are kept by the thread that frees them, up to 256 KiB each. `MALLOC_CONF`
/// says otherwise at run time. Pages of 2 MiB are not asked for: the kernel fills what was given
/// back with them again, and memory grows (`docs/design/decisions.md`).
#[expect(unsafe_code, reason = "jemalloc looks for its settings by this name")]
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8; 17] = b"lg_tcache_max:18\0";

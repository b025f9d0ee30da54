//! Telling the processor what will be needed soon.

/// Asks for the cache line at `at`. Changes nothing but speed.
///
/// Measured with `state::bench`: a million keys with 24-byte values cost about half with it.
#[inline(always)]
#[allow(unsafe_code, reason = "the instruction takes a raw address")]
pub(super) fn prefetch<T>(at: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is allowed and reads nothing; SSE is part of x86_64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

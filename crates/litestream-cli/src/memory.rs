//! Keeps the memory of a busy moment from staying for ever.
//!
//! The C library raises the size from which on it maps buffers on their own each time it frees a
//! large one; later buffers then stay in the heaps of the threads. With a thousand databases that is
//! more than everything else together. A fixed size keeps buffers out of the heaps.

use std::time::Duration;

/// Buffers from this size on go back to the system when they are freed. Mapping the smaller ones too would
/// cost each start of a database several interruptions of all other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM: libc::c_int = 256 * 1024;

/// Tells the C library. To be called before threads are started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library's allocator is told in C only")]
pub(crate) fn limit() {
    // SAFETY: sets one parameter of the allocator; the documented call has no other effect. That it
    // is refused (it returns 0 then) costs memory only.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
    }
}

/// Other allocators need no telling.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn limit() {}

/// How often what is free goes back to the system.
const TEND_EVERY: Duration = Duration::from_secs(20);

/// Gives free memory back to the system now and then, for ever: small buffers of a busy moment lie
/// between those that stay, and the heaps do not shrink by themselves.
pub(crate) async fn tend() {
    loop {
        tokio::time::sleep(TEND_EVERY).await;
        give_back();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library's allocator is told in C only")]
fn give_back() {
    // SAFETY: takes no pointer and may be called at any time by any thread; what is in use stays.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

#[cfg(test)]
mod tests {
    #[test]
    fn large_and_small_allocations_work_afterwards() {
        super::limit();
        let large = vec![1_u8; 1 << 20];
        let small = Vec::from([2_u8; 100]);
        super::give_back();
        assert_eq!((large[1 << 19], small[50]), (1, 2));
    }
}

//! An allocator that counts the bytes in use, so that the memory of a waiter or of a held lock is exact.
#![allow(unsafe_code)] // because allocators are unsafe; every call is passed on to the system's allocator

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a counter.
pub struct Counting;

// SAFETY: every method passes its arguments on to the system's allocator and returns its result.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        IN_USE.fetch_add(size.wrapping_sub(layout.size()), Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Returns the number of bytes that are allocated now.
pub fn in_use() -> usize {
    IN_USE.load(Relaxed)
}

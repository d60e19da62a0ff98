//! Programs by concern, and what they share: [`maps`], [`emit`], [`field`], [`socket`], [`port`], [`call`], [`evidence`],
//! [`way`], [`task`], [`registers`], [`arch`], [`atomic`].

mod arch;
mod ask;
mod atomic;
mod attempt;
mod call;
mod circumstances;
mod emit;
mod evidence;
mod field;
mod group;
mod io_uring;
mod lifecycle;
mod maps;
mod multicast;
mod own_group;
mod passing;
mod port;
mod registers;
mod sample;
mod selection;
mod snapshot;
mod socket;
mod state;
mod subflow;
mod syscall;
mod task;
mod touch;
mod uid;
mod way;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: the verifier refuses a program that could come here.
    loop {}
}

/// The kernel lends GPL-only helpers to programs that say so; the object is licensed Dual MIT/GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

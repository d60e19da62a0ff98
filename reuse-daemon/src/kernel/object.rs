//! The eBPF object that the build put into this binary.

use thiserror::Error;

/// The programs; empty in a build without the eBPF toolchain.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/reuse-ebpf"));

/// This binary was built without its programs.
#[derive(Debug, Error)]
#[error(
    "this reuse-daemon was built without its eBPF programs and can only print help; build it with `cargo xtask build --release`"
)]
pub struct Stub;

/// The programs.
///
/// # Errors
/// [`Stub`]
pub fn bytes() -> Result<&'static [u8], Stub> {
    if OBJECT.is_empty() { Err(Stub) } else { Ok(OBJECT) }
}

//! What only trying tells: the smallest programs there are, loaded or attached and gone again.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use super::sys;

/// include/uapi/linux/bpf.h, `enum bpf_cmd`
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
/// `enum bpf_prog_type`
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const BPF_PROG_TYPE_TRACING: u32 = 26;
/// `enum bpf_attach_type`
const BPF_TRACE_FENTRY: u32 = 24;
/// `enum bpf_func_id`
const BPF_FUNC_PROBE_READ_KERNEL: u32 = 113;
/// `src_reg` of a call of a function of the kernel
pub(super) const BPF_PSEUDO_KFUNC_CALL: u8 = 2;

/// `union bpf_attr` of `BPF_PROG_LOAD`, as far as `attach_btf_id`
#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// `union bpf_attr` of `BPF_RAW_TRACEPOINT_OPEN`
#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    prog_fd: u32,
    padding: u32,
}

/// Whether programs may read kernel memory.
///
/// # Errors
/// The kernel refuses.
pub(super) fn read_kernel_memory() -> io::Result<()> {
    load(BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0, &READS_MEMORY).map(drop)
}

/// Whether the entry of the function with this number among the kernel's types can be traced. What `attach` says is the
/// whole truth, and has the function's code changed twice; without it a refusal is noticed only where the kernel refuses
/// the kind altogether.
///
/// # Errors
/// The kernel refuses.
pub(super) fn function_entry(number: u32, attach: bool) -> io::Result<()> {
    let program = load(BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, number, &RETURNS)?;
    if attach {
        let prog_fd = program.as_raw_fd().cast_unsigned();
        sys::bpf(BPF_RAW_TRACEPOINT_OPEN, &RawTracepointOpen { name: 0, prog_fd, padding: 0 })?;
    }
    Ok(())
}

/// Whether programs may load what lies this many bytes behind an address that the function casts to the structure.
///
/// # Errors
/// The kernel refuses.
pub(super) fn load_by_cast(function: u32, structure: u32, bytes: u32) -> io::Result<()> {
    const LAST: u32 = size_of::<u64>() as u32;
    let instructions = [
        instruction(MOVE, 1, 0, 0),
        instruction(MOVE, 2, 0, structure),
        instruction(CALL, 0, BPF_PSEUDO_KFUNC_CALL, function),
        instruction(ADD, 0, 0, bytes - LAST),
        instruction(LOAD, 0, 0, 0),
        instruction(MOVE, 0, 0, 0),
        instruction(EXIT, 0, 0, 0),
    ];
    load(BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0, &instructions).map(drop)
}

fn load(prog_type: u32, attach_type: u32, attach_to: u32, instructions: &[u64]) -> io::Result<OwnedFd> {
    let attributes = ProgramLoad {
        prog_type,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        prog_name: *b"reuse_trial\0\0\0\0\0",
        expected_attach_type: attach_type,
        attach_btf_id: attach_to,
        ..ProgramLoad::default()
    };
    sys::bpf(BPF_PROG_LOAD, &attributes)
}

/// One instruction as `struct bpf_insn` lies in memory: operation, registers, offset, immediate.
const fn instruction(operation: u8, to: u8, from: u8, immediate: u32) -> u64 {
    let bytes = immediate.to_ne_bytes();
    u64::from_ne_bytes([
        operation,
        if cfg!(target_endian = "little") { to | from << 4 } else { to << 4 | from },
        0,
        0,
        bytes[0],
        bytes[1],
        bytes[2],
        bytes[3],
    ])
}

/// include/uapi/linux/bpf_common.h and bpf.h: operations on 64-bit registers, load, call, exit
const MOVE: u8 = 0xb7;
const COPY: u8 = 0xbf;
const ADD: u8 = 0x07;
const LOAD: u8 = 0x79;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// `return 0`
const RETURNS: [u64; 2] = [instruction(MOVE, 0, 0, 0), instruction(EXIT, 0, 0, 0)];

/// `bpf_probe_read_kernel(stack, 8, 0); return 0`
const READS_MEMORY: [u64; 7] = [
    instruction(COPY, 1, 10, 0),
    instruction(ADD, 1, 0, (-8_i32).cast_unsigned()),
    instruction(MOVE, 2, 0, 8),
    instruction(MOVE, 3, 0, 0),
    instruction(CALL, 0, 0, BPF_FUNC_PROBE_READ_KERNEL),
    instruction(MOVE, 0, 0, 0),
    instruction(EXIT, 0, 0, 0),
];

/// `struct perf_event_attr` (include/uapi/linux/perf_event.h), as far as `config2`: `PERF_ATTR_SIZE_VER1`
#[repr(C)]
#[derive(Default)]
struct PerfEvent {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    /// The first bit: disabled
    flags: u64,
    wakeup: u32,
    breakpoint_type: u32,
    /// Of this kind: the function's name
    config1: u64,
    /// Its offset
    config2: u64,
}

/// Whether a probe can be put on the entry of this function: one is made, switched off, and goes again.
///
/// # Errors
/// The kernel has no such probes, or refuses this one.
pub(super) fn function_probe(function: &str) -> io::Result<()> {
    const KIND: &str = "/sys/bus/event_source/devices/kprobe/type";
    let kind = fs::read_to_string(KIND)?;
    let kind = kind.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, KIND))?;
    let name = CString::new(function)?;
    let event = PerfEvent {
        kind,
        size: size_of::<PerfEvent>() as u32,
        flags: 1,
        config1: name.as_ptr() as u64,
        ..PerfEvent::default()
    };
    const ANY_PROCESS: libc::c_int = -1;
    const FIRST_CPU: libc::c_int = 0;
    const NO_GROUP: libc::c_int = -1;
    const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;
    // SAFETY: `event` says its own true size and lives until after the call, as does the name it points to.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const event,
            ANY_PROCESS,
            FIRST_CPU,
            NO_GROUP,
            CLOSE_ON_EXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    Ok(())
}

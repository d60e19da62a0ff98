//! `iter/bpf_map_elem` over the selection map: counters and, in the same pass, what each socket says of itself now.

use aya_ebpf::{bindings::seq_file, helpers::generated::bpf_seq_write};
use reuse_ebpf::{
    count::{Selection, SelectionRow},
    group::RawGroup,
};

use super::{
    field::{View, offset, read, read_if_there},
    group::copy_group,
    socket::{drops, inode_number},
};

/// `struct bpf_iter__bpf_map_elem` (kernel/bpf/map_iter.c); each member is one register wide.
#[repr(C)]
pub(crate) struct MapElement {
    meta: *const *mut seq_file,
    map: u64,
    key: *const u64,
    value: *const Selection,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
pub(crate) fn sample(ctx: *const MapElement) -> i32 {
    // SAFETY: the context of this iterator; key and value are null on its last call.
    let (seq, key, value) = unsafe { ((*ctx).meta, (*ctx).key, (*ctx).value) };
    if key.is_null() || value.is_null() {
        return 0;
    }
    // SAFETY: checked above; the verifier bounds them by the map's key and value size.
    let (key, selection) = unsafe { (key.read(), value.read()) };
    let sk = selection.sock;
    let mut row = SelectionRow {
        key,
        selected: selection.selected,
        inode: selection.inode,
        flows: selection.flows,
        tells_flows: selection.tells_flows,
        ..ZERO
    };
    if is_same(key, &selection) {
        row.live = 1;
        row.state = read(sk + offset!(sk_state) as u64);
        row.drops = drops(View::of(sk));
        row.accept_queue = read_if_there(sk, offset!(sk_ack_backlog));
        row.accept_queue_limit = read_if_there(sk, offset!(sk_max_ack_backlog));
        row.receive_queue = read_if_there(sk, offset!(sk_rmem_alloc));
        row.receive_queue_limit = read_if_there(sk, offset!(sk_rcvbuf));
        // SAFETY: a part of the row.
        unsafe { copy_group(&raw mut row.group, sk) };
    }
    // SAFETY: the iterator's file and one whole row; on overflow the kernel calls again with an empty buffer.
    unsafe { bpf_seq_write(*seq, (&raw const row).cast_mut().cast(), size_of::<SelectionRow>() as u32) };
    0
}

/// Whether the socket is still the one that was counted. A closed one keeps its cookie until its memory is used again, but
/// belongs to nobody.
#[inline(always)]
fn is_same(key: u64, selection: &Selection) -> bool {
    let socket: u64 = read(selection.sock + offset!(sk_socket) as u64);
    if socket == 0 {
        return false;
    }
    if Selection::is_key_of_inode(key) {
        inode_number(socket) == selection.inode
    } else {
        read::<u64>(selection.sock + offset!(sk_cookie) as u64) == key
    }
}

const ZERO: SelectionRow = SelectionRow {
    key: 0,
    selected: 0,
    inode: 0,
    flows: 0,
    group: RawGroup::NONE,
    drops: 0,
    accept_queue: 0,
    accept_queue_limit: 0,
    receive_queue: 0,
    receive_queue_limit: 0,
    live: 0,
    state: 0,
    tells_flows: 0,
    reserved: 0,
};

//! Every map. Names are what the daemon looks them up by.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use reuse_ebpf::{
    count::{Lost, ProbeKey, SELECTIONS_MAX, Selection, WANTED_MAX, WATCHED_MAX, passed},
    flow::{FLOWS_MAX, WINDOWS as WINDOWS_MAX},
    record::RING_BYTES,
};

/// Records of calls, closes and exits. 4 MiB hold 15,000 calls with their closes: what two cores binding at full speed
/// send in 30 ms, many times the reader's nap. The reader has them mapped twice, which counts as its memory.
#[map]
pub(crate) static RING: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// One word: the reader sleeps and wants to be woken.
#[map]
pub(crate) static SLEEPING: Array<u32> = Array::with_max_entries(1, 0);

/// Losses by [`Lost`].
#[map]
pub(crate) static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(Lost::ALL.len() as u32, 0);

/// One word: the daemon's process id in the initial pid namespace, whose calls are not told.
#[map]
pub(crate) static OWN: Array<u32> = Array::with_max_entries(1, 0);

/// Selections by socket cookie. Not LRU: evicting a live counter would make it go back; a full map is counted instead.
#[map]
pub(crate) static SELECTIONS: HashMap<u64, Selection> = HashMap::with_max_entries(SELECTIONS_MAX, 0);

/// Hashes that the program on the daemon's own groups saw, by probe.
#[map]
pub(crate) static PROBES: LruHashMap<ProbeKey, u32> = LruHashMap::with_max_entries(4096, 0);

/// Inode numbers of the sockets whose owners are looked for.
#[map]
pub(crate) static WANTED: HashMap<u64, u8> = HashMap::with_max_entries(WANTED_MAX, 0);

/// Inode numbers of sockets in no group that are counted as if they were in one.
#[map]
pub(crate) static WATCHED: HashMap<u64, u8> = HashMap::with_max_entries(WATCHED_MAX, 0);

/// One word: whether there are any.
#[map]
pub(crate) static WATCHING: Array<u32> = Array::with_max_entries(1, 0);

/// Binds that passed the hooks of the root cgroup, by way.
#[map]
pub(crate) static PASSED: PerCpuArray<u64> = PerCpuArray::with_max_entries(passed::LEN, 0);

/// One word: the ways whose calls these hooks and the changes of state tell, by [`reuse_ebpf::record::Way::bit`] and
/// [`reuse_ebpf::record::Way::listen_bit`]; the others have programs of their own.
#[map]
pub(crate) static TOLD: Array<u32> = Array::with_max_entries(1, 0);

/// For each flow of a socket the window in which it was seen last.
#[map]
pub(crate) static FLOWS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(FLOWS_MAX, 0);

/// One word: flows that were entered there.
#[map]
pub(crate) static FLOWS_ENTERED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The windows that run now, by [`reuse_ebpf::flow::window_of`].
#[map]
pub(crate) static WINDOWS: Array<u64> = Array::with_max_entries(WINDOWS_MAX, 0);

/// One word: the tick of the kernel's clock, and how many datagrams were looked at in it.
#[map]
pub(crate) static LOOKS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// One word: when a listener closed last whose connections may go to others of its group, [`super::field::now`]; 0: none did.
#[map]
pub(crate) static HANDED_ON: Array<u64> = Array::with_max_entries(1, 0);

/// The same by the thread that closed it.
#[map]
pub(crate) static CLOSERS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1024, 0);

/// One word: how far a task's saved registers are from the beginning of its kernel stack, bytes; 0: not learned yet.
#[map]
pub(crate) static REGISTERS: Array<u64> = Array::with_max_entries(1, 0);

//! Every map. Names are what the daemon looks them up by.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use reuse_ebpf::count::{Lost, ProbeKey, SELECTIONS_MAX, Selection, WANTED_MAX, passed};

/// Records of calls, closes and exits. 4 MiB hold 15,000 calls with their closes: what two cores binding at full speed
/// send in 30 ms, many times the reader's nap. The reader has them mapped twice, which counts as its memory.
#[map]
pub(crate) static RING: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

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

/// Binds that passed the hooks of the root cgroup, by way.
#[map]
pub(crate) static PASSED: PerCpuArray<u64> = PerCpuArray::with_max_entries(passed::LEN, 0);

/// One word: the ways whose calls these hooks and the changes of state tell, by [`reuse_ebpf::record::Way::bit`] and
/// [`reuse_ebpf::record::Way::listen_bit`]; the others have programs of their own.
#[map]
pub(crate) static TOLD: Array<u32> = Array::with_max_entries(1, 0);

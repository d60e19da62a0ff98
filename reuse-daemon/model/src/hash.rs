//! A hasher for keys that are kernel numbers: inode numbers, cookies, process ids.
//!
//! A flood of binds looks up two or three such keys per event; SipHash would be most of that cost. An attacker cannot
//! choose inode numbers or cookies, the kernel hands them out, so resistance to chosen keys buys nothing here.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

/// A map keyed by a kernel number.
pub type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// A set of kernel numbers.
pub type NumberSet<K> = HashSet<K, BuildHasherDefault<NumberHasher>>;

/// Multiplies by 2^64 over the golden ratio and folds the well-mixed high half into the low one.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        let product = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_numbers_differ_in_low_and_in_high_bits() {
        let hash = |number: u64| {
            let mut hasher = NumberHasher::default();
            hasher.write_u64(number);
            hasher.finish()
        };
        let low: HashSet<u64> = (0..1024).map(|number| hash(number) & 0xffff).collect();
        let high: HashSet<u64> = (0..1024).map(|number| hash(number) >> 57).collect();
        assert!(low.len() > 950, "{} distinct low halves", low.len());
        assert_eq!(high.len(), 128, "the map's tag bits are all used");
    }
}

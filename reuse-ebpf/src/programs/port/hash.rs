//! The kernel's hash of an address in its tables of listeners and of UDP addresses.
//!
//! Bob Jenkins' lookup3 as include/linux/jhash.h has it, over what `ipv4_portaddr_hash` and `ipv6_portaddr_hash` feed it
//! (include/net/ip.h, include/net/ipv6.h): one word for IPv4, mapped and wildcard addresses, four for others.

use super::address::Address;

/// include/linux/jhash.h, `JHASH_INITVAL`
const INITIAL: u32 = 0xdead_beef;

/// Hash of an address and port, before it is cut to a table's size. `mix` is the namespace's.
#[inline(always)]
pub(super) fn portaddr(address: Address, mix: u32, port: u16) -> u32 {
    let hash = if address.is_unspecified() {
        word(0, mix)
    } else if address.is_mapped() {
        word(address.v4(), mix)
    } else {
        four_words(address, mix)
    };
    hash ^ u32::from(port)
}

/// `jhash_1word`
#[inline(always)]
fn word(value: u32, mix: u32) -> u32 {
    let start = mix.wrapping_add(INITIAL).wrapping_add(1 << 2);
    finish(start.wrapping_add(value), start, start)
}

/// `jhash2` over four words
#[inline(always)]
fn four_words(Address(low, high): Address, mix: u32) -> u32 {
    let start = INITIAL.wrapping_add(4 << 2).wrapping_add(mix);
    let (a, b, c) = stir(
        start.wrapping_add(low as u32),
        start.wrapping_add((low >> 32) as u32),
        start.wrapping_add(high as u32),
    );
    finish(a.wrapping_add((high >> 32) as u32), b, c)
}

/// `__jhash_mix`
#[inline(always)]
fn stir(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    (a, b.wrapping_add(a), c)
}

/// `__jhash_final`
#[inline(always)]
fn finish(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

//! The table of what differs, in words: for the documentation, and for whoever asks which rules a kernel has.
//!
//! Each entry is a member of [`Kernel`] and has its name. Commits are those of mainline; a stable series is named where
//! the change was ported back.

use super::Kernel;

/// One thing that some kernels do and others do not.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Its name, the same in every message
    pub name: &'static str,
    /// What a kernel does that has it, and what one does that has not
    pub what: &'static str,
    /// Which kernels have it
    pub kernels: &'static str,
    /// By what the running kernel is told to have it
    pub told_by: &'static str,
    /// Whether a kernel has it
    pub is: fn(&Kernel) -> bool,
}

/// All of them, the oldest first.
pub const DIFFERENCES: [Difference; 10] = [
    Difference {
        name: "buckets_by_address",
        what: "TCP: a bind to a specific address asks the sockets on that address and on the wildcards. Without: every \
               socket on the port, so that a connection over IPv6 of a dual-stack listener stands in the way of \
               `127.0.0.6`",
        kernels: "from 6.1 (28044fc1d495)",
        told_by: "`struct inet_bind2_bucket`",
        is: |kernel| kernel.buckets_by_address,
    },
    Difference {
        name: "time_wait_by_address",
        what: "TCP: such a bind asks connections in TIME_WAIT too. Without: it succeeds beside them whatever the options",
        kernels: "from 6.2, 6.1.5 (936a192f9740)",
        told_by: "`inet_bind2_bucket.deathrow`, or `inet_bind_bucket.bhash2`",
        is: |kernel| kernel.time_wait_by_address,
    },
    Difference {
        name: "ipv4_sees_ipv6_wildcard",
        what: "TCP: a bind to a specific IPv4 address is refused by a dual-stack socket on `::`. Without: it succeeds",
        kernels: "from 6.3, 6.2.8, 6.1.21 (d9ba99342855); before 6.1 too",
        told_by: "the release",
        is: |kernel| kernel.ipv4_sees_ipv6_wildcard,
    },
    Difference {
        name: "ipv4_sees_mapped",
        what: "TCP: a bind to a specific IPv4 address is refused by an IPv6 socket on `::ffff:0.0.0.0` or on the same \
               address in mapped form. Without: it succeeds",
        kernels: "from 6.6, 6.5.4, 6.1.54 (aa99e5f87bd5, c48ef9c4aed3); before 6.1 too",
        told_by: "the release",
        is: |kernel| kernel.ipv4_sees_mapped,
    },
    Difference {
        name: "mapped_by_address",
        what: "TCP: a bind of an IPv6 socket to a specific mapped address (`::ffff:127.0.0.1`) asks like one to the IPv4 \
               address. Without: every socket on the port, which by itself gives the same answers",
        kernels: "from 6.8, 6.6.131, 6.1.168 (5e07e672412b)",
        told_by: "`inet_bind_bucket.bhash2`; in 6.1 and 6.6 the release",
        is: |kernel| kernel.mapped_by_address,
    },
    Difference {
        name: "mapped_sees_mapped_wildcard",
        what: "TCP: a bind to a specific mapped address is refused by an IPv6 socket on `::ffff:0.0.0.0`. Without: it \
               succeeds, also beside IPv4 sockets on `0.0.0.0` that came after that one; where they came first, it is \
               refused by both",
        kernels: "all but 6.6 from 6.6.131 and 6.1 from 6.1.168, which have 5e07e672412b without 06a8c04f8994",
        told_by: "the release",
        is: |kernel| kernel.mapped_sees_mapped_wildcard,
    },
    Difference {
        name: "mapped_sees_v6only",
        what: "TCP: a bind to a mapped address is refused by a socket on `::` with IPV6_V6ONLY. Without: it succeeds",
        kernels: "6.8 to 6.8.4 (5e07e672412b to ea111449501e)",
        told_by: "the release",
        is: |kernel| kernel.mapped_sees_v6only,
    },
    Difference {
        name: "first_bind_opens_bucket",
        what: "TCP: where the first socket on a port has SO_REUSEADDR or SO_REUSEPORT, the port remembers it, and lets \
               others with that option (and for SO_REUSEPORT that uid) pass unchecked even if the first has cleared it \
               since. Without: they are checked, since the first bind finds its own address in the port already",
        kernels: "up to 6.7 (b2cb9f9ef240)",
        told_by: "no `inet_bind_bucket.bhash2`",
        is: |kernel| kernel.first_bind_opens_bucket,
    },
    Difference {
        name: "ownerless_uid_is_root",
        what: "A connection that nobody has accepted yet, or that was closed, counts as root's in the uid rule of \
               SO_REUSEPORT. Without: it keeps the uid of its listener or its owner",
        kernels: "up to 6.16 (c51da3f7a161); some stable series lost it earlier",
        told_by: "function `sock_i_uid`",
        is: |kernel| kernel.ownerless_uid_is_root,
    },
    Difference {
        name: "udp_wildcard_scans_port",
        what: "UDP: a bind to a wildcard asks every socket on the port. Without: if more than 10 sockets share its slot, \
               those on wildcards alone, and it succeeds beside the others",
        kernels: "from 7.0, 6.19.11, 6.18.21, 6.12.80, 6.6.131, 6.1.168 (e537dd15d0d4)",
        told_by: "the release",
        is: |kernel| kernel.udp_wildcard_scans_port,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the table is shown to users.
    const DOCUMENT: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rules-by-kernel.md"));

    #[test]
    fn the_document_has_the_table() {
        let head = "| rule | what it is | kernels that have it | told by |\n| --- | --- | --- | --- |\n";
        let row =
            |it: &Difference| format!("| `{}` | {} | {} | {} |\n", it.name, it.what, it.kernels, it.told_by);
        let table: String = std::iter::once(head.to_owned()).chain(DIFFERENCES.iter().map(row)).collect();
        assert!(DOCUMENT.contains(&table), "docs/rules-by-kernel.md should have this table:\n\n{table}");
    }

    #[test]
    fn each_name_is_that_of_the_member() {
        use crate::fixtures::kernel;
        let shown = format!("{:?}", kernel());
        for difference in DIFFERENCES {
            let member = format!("{}: {}", difference.name, (difference.is)(&kernel()));
            assert!(shown.contains(&member), "{member} in {shown}");
        }
    }
}

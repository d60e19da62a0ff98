//! The network namespaces that scenarios run in, where nothing else has sockets: one with the host's hash tables, one
//! with small tables of its own, each with a second device and a listener on a port that is not contested.

use std::{
    cell::{Cell, RefCell},
    fs::{self, File},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsFd as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Socket, Type};

use crate::{destroy::destroy_is_known, devices, scenario::Tables};

/// Slots of a UDP table of a namespace's own, the fewest there can be (`UDP_HTABLE_SIZE_MIN_PERNET`, net/ipv4/udp.c):
/// ports that far apart share one.
const OWN_TABLE: u16 = 128;
/// Ports that far apart share a slot of the host's table as well: one slot to 2 MiB of memory, up to 16 GiB of it
/// (`udp_table_init`, net/ipv4/udp.c).
const HOST_TABLE: u16 = 8192;
/// Settings of the thread's namespace.
const NET_IPV4: &str = "/proc/sys/net/ipv4";
/// Where connections from the contested port go.
pub(crate) const REMOTE_PORT: u16 = 1500;
/// Where [`Room::let_arrive`] sends to.
const ECHO_PORT: u16 = 1501;
const ECHO_LIMIT: Duration = Duration::from_secs(10);
/// Contested ports: clear of the privileged ones and of those that the kernel chooses from.
const PORTS: std::ops::Range<u16> = 2_000..30_000;
/// Scenarios in one pair of namespaces: what they leave in TIME_WAIT stays well under `tcp_max_tw_buckets`.
const SCENARIOS: u16 = 5_000;

/// What a kernel without its modules may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Equipment {
    /// A namespace may have hash tables of its own (UDP: since 6.2)
    pub(crate) own_tables: bool,
    /// The second device is one, not an index alone
    pub(crate) second_device: bool,
    /// SOCK_DESTROY takes connections off their port
    pub(crate) sock_destroy: bool,
}

/// One namespace.
struct Namespace {
    file: File,
    /// Accepts what comes to [`REMOTE_PORT`]
    remote: Socket,
    /// Sends to itself
    echo: UdpSocket,
    migrate: Cell<bool>,
    equipment: Equipment,
}

/// Both namespaces, entered by the thread that made them. They go with it.
pub(crate) struct Room {
    host_tables: Namespace,
    own_tables: Namespace,
    inside: RefCell<Tables>,
    /// A scenario leaves TIME_WAIT behind, so each has its own port
    next_port: Cell<u16>,
}

impl Room {
    /// Makes the namespaces and enters them with the calling thread.
    ///
    /// # Errors
    /// Without root, or where the kernel refuses.
    pub(crate) fn new() -> Result<Self> {
        let host_tables = Namespace::new()?;
        // Said in the parent for the namespaces made from it.
        if host_tables.equipment.own_tables {
            sysctl("udp_child_hash_entries", &OWN_TABLE.to_string())?;
            sysctl("tcp_child_ehash_entries", "1024")?;
        }
        let own_tables = Namespace::new()?;
        let next_port = Cell::new(PORTS.start);
        Ok(Self { host_tables, own_tables, inside: RefCell::new(Tables::Own), next_port })
    }

    /// Whether another should be made for the next scenario.
    pub(crate) fn is_worn(&self) -> bool {
        self.next_port.get() >= PORTS.start + SCENARIOS
    }

    /// What there is to play with.
    pub(crate) fn equipment(&self) -> Equipment {
        self.host_tables.equipment
    }

    /// The n-th of the ports that share their slot of UDP's table of ports with `port`.
    pub(crate) fn neighbour(&self, tables: Tables, port: u16, n: u8) -> u16 {
        let apart = if tables == Tables::Own && self.equipment().own_tables { OWN_TABLE } else { HOST_TABLE };
        port.saturating_add(apart.saturating_mul(u16::from(n)))
    }

    /// Enters the namespace with these tables, with `tcp_migrate_req` as asked, and gives a port nobody has used.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn enter(&self, tables: Tables, migrate: bool) -> Result<u16> {
        let namespace = self.namespace(tables);
        if *self.inside.borrow() != tables {
            setns(namespace.file.as_fd(), CloneFlags::CLONE_NEWNET).context("entering a namespace")?;
            *self.inside.borrow_mut() = tables;
        }
        if namespace.migrate.get() != migrate {
            sysctl("tcp_migrate_req", if migrate { "1" } else { "0" })?;
            namespace.migrate.set(migrate);
        }
        let port = self.next_port.get();
        if !PORTS.contains(&port) {
            bail!("a pair of namespaces has no port left");
        }
        self.next_port.set(port + 1);
        Ok(port)
    }

    /// The listener of [`REMOTE_PORT`] where the thread is.
    pub(crate) fn remote(&self, tables: Tables) -> &Socket {
        &self.namespace(tables).remote
    }

    /// Returns once every packet of the thread has arrived, and the answers to it. The packets of one processor stay in
    /// order on loopback, but now and then the kernel leaves them to be delivered after the system call.
    ///
    /// # Errors
    /// If a packet does not come back.
    pub(crate) fn let_arrive(&self, tables: Tables) -> Result<()> {
        /// SYN, its answer, and the answer to that
        const ROUNDS: usize = 3;
        let echo = &self.namespace(tables).echo;
        for _ in 0..ROUNDS {
            echo.send(&[0])?;
            echo.recv(&mut [0]).context("a packet to itself did not come back")?;
        }
        Ok(())
    }

    fn namespace(&self, tables: Tables) -> &Namespace {
        match tables {
            Tables::Host => &self.host_tables,
            Tables::Own => &self.own_tables,
        }
    }
}

impl Namespace {
    /// Makes it from the thread's present one, and enters it.
    fn new() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace (root is needed)")?;
        let file = File::open("/proc/thread-self/ns/net").context("opening the new namespace")?;
        let second_device = devices::set_up()?;
        // By default half of the slots of the table of connections, which may be a small one.
        sysctl("tcp_max_tw_buckets", "100000")?;
        let remote = Socket::new(Domain::IPV6, Type::STREAM, None)?;
        remote.set_only_v6(false)?;
        remote.set_nonblocking(true)?;
        remote.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, REMOTE_PORT)).into())?;
        remote.listen(128)?;
        let echo = UdpSocket::bind((Ipv4Addr::LOCALHOST, ECHO_PORT))?;
        echo.connect((Ipv4Addr::LOCALHOST, ECHO_PORT))?;
        echo.set_read_timeout(Some(ECHO_LIMIT))?;
        let sock_destroy =
            destroy_is_known(remote_address(true)).context("asking sock_diag for a listener")?;
        let own_tables = Path::new(NET_IPV4).join("udp_child_hash_entries").exists();
        let equipment = Equipment { own_tables, second_device, sock_destroy };
        Ok(Self { file, remote, echo, migrate: Cell::new(false), equipment })
    }
}

/// Where [`Room::remote`] is reached.
pub(crate) fn remote_address(ipv4: bool) -> SocketAddr {
    if ipv4 { (Ipv4Addr::LOCALHOST, REMOTE_PORT).into() } else { (Ipv6Addr::LOCALHOST, REMOTE_PORT).into() }
}

/// Sets `net.ipv4.<name>` of the thread's namespace.
fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = Path::new(NET_IPV4).join(name);
    fs::write(&path, value).with_context(|| format!("writing {}", path.display()))
}

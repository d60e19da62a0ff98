"""Runs the statements a test sends, a JSON string a line, and answers each with a JSON object a line: the value that the
statements left in `answer`, or the errno they ended with."""

# What is imported here is run at each start: on an emulated machine some modules of the library take longer than a test.
# Once it is another user, a process may not read the library.
import _signal as signal
import _socket
import ctypes
import errno
import os
import struct
import sys
import warnings  # os.execvp imports it
from _json import encode_basestring_ascii
from _socket import *

SO_INCOMING_CPU = 49
SO_ATTACH_REUSEPORT_CBPF = 51
SO_DETACH_REUSEPORT_BPF = 68
TCP_REPAIR = 19
IPPROTO_MPTCP = 262
RA = (SOL_SOCKET, SO_REUSEADDR, 1)
RP = (SOL_SOCKET, SO_REUSEPORT, 1)
V6ONLY = (IPPROTO_IPV6, IPV6_V6ONLY, 1)
LIBC = ctypes.CDLL(None, use_errno=True)


class socket(_socket.socket):
    def accept(self):
        descriptor, address = self._accept()
        return socket(fileno=descriptor), address


def send_fds(to, buffers, descriptors):
    rights = struct.pack(f"{len(descriptors)}i", *descriptors)
    return to.sendmsg(buffers, [(SOL_SOCKET, SCM_RIGHTS, rights)])


def recv_fds(of, size, most):
    data, messages, flags, address = of.recvmsg(size, CMSG_LEN(most * struct.calcsize("i")))
    descriptors = []
    for level, kind, rights in messages:
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
            descriptors += struct.unpack(f"{len(rights) // struct.calcsize('i')}i", rights)
    return data, descriptors, flags, address


def opened(host, *options, kind=SOCK_STREAM, protocol=0):
    made = socket(AF_INET6 if ":" in host else AF_INET, kind, protocol)
    for option in options:
        made.setsockopt(*option)
    return made


def bound(host, port, *options, **kind):
    made = opened(host, *options, **kind)
    made.bind((host, port))
    return made


def listening(host, port, *options, **kind):
    made = bound(host, port, *options, **kind)
    made.listen(512)
    return made


def connected(host, port, *options, source=None, **kind):
    made = opened(host, *options, **kind)
    if source:
        made.bind((source, 0))
    made.connect((host, port))
    return made


def through(device):
    """The option that binds a socket to a device."""
    return SOL_SOCKET, SO_BINDTODEVICE, device.encode()


def facts(held):
    """What getsockname, getsockopt and fstat say, under the names of a holder's fields."""
    stat = os.fstat(held.fileno())
    address, port = held.getsockname()[:2]
    six = held.family == AF_INET6
    return {
        "address": address,
        "port": port,
        "family": "ipv6" if six else "ipv4",
        "reuseaddr": held.getsockopt(SOL_SOCKET, SO_REUSEADDR) != 0,
        "reuseport": held.getsockopt(SOL_SOCKET, SO_REUSEPORT) != 0,
        "v6only": six and held.getsockopt(IPPROTO_IPV6, IPV6_V6ONLY) != 0,
        "socket_uid": stat.st_uid,
        "inode": stat.st_ino,
    }


def send(host, port, count, **kind):
    """Sends as many datagrams, or makes and keeps as many connections, each from a port of its own."""
    flows = [connected(host, port, **kind) for _ in range(count)]
    if kind:
        for flow in flows:
            flow.send(b"x")
    return flows


def taken(held):
    """How many datagrams or connections wait; none does any more."""
    held.setblocking(False)
    take = held.accept if held.type == SOCK_STREAM else lambda: held.recv(1)
    count = 0
    try:
        while True:
            take()
            count += 1
    except BlockingIOError:
        return count
    finally:
        held.setblocking(True)


def tcp_state(held):
    """The first member of `struct tcp_info`."""
    return held.getsockopt(IPPROTO_TCP, TCP_INFO, 1)[0]


def tcp_states(port):
    """Of every IPv4 socket on this local port."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return [int(row[3], 16) for row in rows if int(row[1].split(":")[1], 16) == port]


def fill(connection):
    """Writes until neither this side nor the other, which does not read, has room."""
    connection.setblocking(False)
    try:
        while True:
            connection.send(bytes(65536))
    except BlockingIOError:
        pass


def forked(work):
    """The pid of a child that does `work`, then waits for its end; it ends with this process at the latest."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
        work()
        while True:
            signal.pause()
    finally:
        os._exit(1)


def copied(clone, netns, tester, orders, answers):
    """The pid of a copy of this process, which is no child of it but another one of its parent's, in this network namespace.
    It takes its orders from and answers to pipes of that parent. It is made by the system call `clone`: 0 in the copy."""
    ends = [(orders, os.O_RDONLY), (answers, os.O_WRONLY)]
    pipes = [os.open(f"/proc/{tester}/fd/{pipe}", how) for pipe, how in ends]
    # The interpreter's lock stays with the only thread: in the copy there would be nobody to give it back.
    copy = ctypes.PyDLL(None).syscall(clone, 0x00008000 | signal.SIGCHLD, 0, 0, 0, 0)  # CLONE_PARENT
    for own, pipe in enumerate(pipes):
        if copy == 0:
            os.dup2(pipe, own)
        os.close(pipe)
    if copy < 0:
        raise RuntimeError("clone")
    if copy == 0:
        namespace = os.open(netns, os.O_RDONLY)
        if LIBC.setns(namespace, 0x40000000) != 0:  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "setns")
        os.close(namespace)
    return copy


def named(comm):
    with open("/proc/self/comm", "w") as its:
        its.write(comm)


def end(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def forbid(call, error):
    """From now on the kernel answers this system call of this process with `error`, by a seccomp filter."""
    load, equal, answer = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
    refuse, allow = 0x00050000 | error, 0x7FFF0000  # SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW
    steps = [(load, 0, 0, 0), (equal, 0, 1, call), (answer, 0, 0, refuse), (answer, 0, 0, allow)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    for arguments in [(38, 1, 0, 0, 0), (22, 2, program, 0, 0)]:  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
        if LIBC.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def attach_program(member):
    """A classic reuseport program that answers 0."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
    member.setsockopt(SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)


def part():
    """Goes on in a child; this process waits for it."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)
    LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def contain():
    """Goes on in a child with namespaces of its own for processes, mounts and network."""
    if LIBC.unshare(0x20000000 | 0x00020000 | 0x40000000) != 0:  # CLONE_NEWPID, CLONE_NEWNS, CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "unshare")
    part()
    LIBC.mount(None, b"/", None, 0x4000 | 0x40000, None)  # MS_REC, MS_PRIVATE
    if LIBC.mount(b"proc", b"/proc", b"proc", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    if os.system("ip link set lo up") != 0:
        sys.exit("loopback stays down")


def text(value):
    """As JSON."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{text(str(key))}:{text(its)}" for key, its in value.items()) + "}"
    return "[" + ",".join(map(text, value)) + "]"


if sys.argv[2:] == ["contained"]:
    contain()
named(sys.argv[1])
for line in sys.stdin:
    answer = None
    try:
        # Every string of JSON without surrogates is one of Python.
        exec(eval(line), globals())
        said = {"answer": answer}
    except OSError as error:
        said = {"errno": errno.errorcode[error.errno]}
    except Exception as error:
        said = {"error": repr(error)}
    print(text(said), flush=True)

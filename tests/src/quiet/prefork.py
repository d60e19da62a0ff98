"""A pre-forking HTTP server: `prefork.py inherit|own PORT UID`. Its workers wait on one listener that they inherited, or each
on one of its own in a SO_REUSEPORT group. A worker serves a number of requests and gives way to the next; one at a time,
so that somebody listens always.

SIGHUP: other workers. SIGUSR2: the program itself starts anew and goes on with the listener it has (`inherit` alone)."""

import os
import select
import signal
import socket
import sys

MODE, PORT, UID = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
WORKERS = 3
SERVES = 100
SIGNALS = {signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR2, signal.SIGTERM}
STOPPED, FAILED, GAVE_WAY = range(3)
ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"


def listening():
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if MODE == "own":
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("0.0.0.0", PORT))
    made.listen(512)
    return made


def is_my_turn():
    """Whether no other worker is about to give way."""
    try:
        return os.read(TURN, 1) != b""
    except BlockingIOError:
        return False


def serve(listener):
    """Until enough is served, or SIGTERM; whoever is in the queue by then is served as well. Whether it took the turn."""
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    listener.setblocking(False)
    # Not all at the same time.
    served, enough, leaves = 0, SERVES + os.getpid() % SERVES, False
    while True:
        leaves = leaves or served >= enough and is_my_turn()
        last = stopped or leaves
        if not select.select([listener], [], [], 0 if last else 0.05)[0]:
            if last:
                return leaves
            continue
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            continue
        try:
            connection.setblocking(True)
            connection.recv(4096)
            connection.sendall(ANSWER)
        except ConnectionError:
            pass
        connection.close()
        served += 1
        if last and MODE == "inherit":
            return leaves


def work(listener):
    """The pid of a new worker, which listens by then."""
    ready, listens = os.pipe()
    worker = os.fork()
    if worker:
        os.close(listens)
        os.read(ready, 1)
        os.close(ready)
        return worker
    status = FAILED
    try:
        os.setuid(UID)
        listener = listener or listening()
        os.close(listens)
        status = GAVE_WAY if serve(listener) else STOPPED
    finally:
        os._exit(status)


signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
shared, old = None, set()
TURN, NEXT = os.pipe()
os.set_blocking(TURN, False)
os.write(NEXT, b".")
if MODE == "inherit":
    handed_on = [int(number) for number in os.environ.pop("PREFORKED", "").split()]
    shared = socket.socket(fileno=handed_on[0]) if handed_on else listening()
    old = set(handed_on[1:])
workers = {work(shared) for _ in range(WORKERS)}
for worker in old:
    os.kill(worker, signal.SIGTERM)
while True:
    said = signal.sigwait(SIGNALS)
    if said == signal.SIGCHLD:
        while workers | old:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                break
            old.discard(ended)
            if ended in workers:
                workers.remove(ended)
                workers.add(work(shared))
            if os.waitstatus_to_exitcode(status) == GAVE_WAY:
                os.write(NEXT, b".")
    elif said == signal.SIGHUP:
        old |= workers
        workers = {work(shared) for _ in range(WORKERS)}
        for worker in old:
            os.kill(worker, signal.SIGTERM)
    elif said == signal.SIGUSR2 and shared:
        shared.set_inheritable(True)
        os.environ["PREFORKED"] = " ".join(map(str, [shared.fileno(), *workers, *old]))
        os.execv(sys.executable, [sys.executable, "-SE", *sys.argv])
    elif said == signal.SIGTERM:
        for worker in workers | old:
            os.kill(worker, signal.SIGTERM)
        sys.exit(0)

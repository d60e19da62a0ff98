"""A service that is started by its sockets (sd_listen_fds(3)): serves HTTP on stream sockets and echoes datagrams, without
rights, and ends once nobody has asked for a second.

`activated.py UID`, or `activated.py UID one` for one connection, which is standard input (Accept=yes)."""

import os
import select
import socket
import sys

ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
IDLE = 1


def answer(connection):
    try:
        connection.recv(4096)
        connection.sendall(ANSWER)
    except ConnectionError:
        pass
    connection.close()


os.setuid(int(sys.argv[1]))
if sys.argv[2:] == ["one"]:
    answer(socket.socket(fileno=0))
    sys.exit(0)
sockets = [socket.socket(fileno=3 + number) for number in range(int(os.environ["LISTEN_FDS"]))]
for held in sockets:
    held.setblocking(False)
while ready := select.select(sockets, [], [], IDLE)[0]:
    for held in ready:
        try:
            if held.type == socket.SOCK_DGRAM:
                held.sendto(*held.recvfrom(4096))
            else:
                connection, _ = held.accept()
                connection.setblocking(True)
                answer(connection)
        except (BlockingIOError, ConnectionError):
            pass

"""A responder on a multicast port, as programs of every user bring one: `responder.py PORT GROUP4 GROUP6 UID any|group`.

It binds as Avahi does (avahi-core/socket.c): SO_REUSEADDR and SO_REUSEPORT, each family's address that is any, and joins on
every device. With `group` it binds the group's address, as Go's net.ListenMulticastUDP does. It asks twice a second, and
answers whoever asks. Says `bound`, and `asked` once another one has asked it."""

import os
import select
import socket
import struct
import sys
import time

PORT, GROUP4, GROUP6, UID, BOUND = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
ME = b"anyone? %d" % os.getpid()
LEFT = socket.if_nametoindex("left")


def opened(family, address):
    made = socket.socket(family, socket.SOCK_DGRAM)
    for option in socket.SO_REUSEADDR, socket.SO_REUSEPORT:
        made.setsockopt(socket.SOL_SOCKET, option, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    # The group's address is one of a link.
    made.bind((address, PORT, 0, LEFT) if address == GROUP6 else (address, PORT))
    return made


os.setuid(UID)
four = opened(socket.AF_INET, GROUP4 if BOUND == "group" else "0.0.0.0")
six = opened(socket.AF_INET6, GROUP6 if BOUND == "group" else "::")
for index, _ in socket.if_nameindex():
    # struct ip_mreqn, struct ipv6_mreq
    join4 = struct.pack("4s4si", socket.inet_aton(GROUP4), bytes(4), index)
    four.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join4)
    join6 = struct.pack("16si", socket.inet_pton(socket.AF_INET6, GROUP6), index)
    six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, join6)
print("bound", flush=True)
last, asked = 0, False
while True:
    if time.monotonic() > last + 0.5:
        last = time.monotonic()
        four.sendto(ME, (GROUP4, PORT))
        six.sendto(ME, (GROUP6, PORT, 0, LEFT))
    for made in select.select([four, six], [], [], 0.1)[0]:
        said, sender = made.recvfrom(9000)
        if not said.startswith(b"anyone?") or said == ME:
            continue
        made.sendto(b"me", sender)
        if not asked:
            asked = True
            print("asked", flush=True)

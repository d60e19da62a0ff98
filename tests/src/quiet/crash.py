"""A service that listens and answers until it is killed: `crash.py PORT`."""

import socket
import sys

PORT = int(sys.argv[1])
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("0.0.0.0", PORT))
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("0.0.0.0", PORT))
listener.listen()
while True:
    connection, _ = listener.accept()
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nok")

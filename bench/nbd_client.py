"""As much of an NBD client as it takes to see when an export answers again."""
import socket
import struct

OPTION_MAGIC = 0x49484156454F5054
GO = 7
READ, WRITE = 0, 1


class Client:
    """One connection over a unix socket; raises OSError when it breaks or does not answer in time."""

    def __init__(self, path, name, timeout):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.cookie = 0
        try:
            self.socket.connect(path)
            self.negotiate(name.encode())
        except BaseException:
            self.socket.close()
            raise

    def receive(self, size):
        out = b""
        while len(out) < size:
            part = self.socket.recv(size - len(out))
            if not part:
                raise ConnectionError("the server closed the connection")
            out += part
        return out

    def negotiate(self, name):
        self.receive(18)
        go = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
        self.socket.sendall(struct.pack(">I", 3) + struct.pack(">QII", OPTION_MAGIC, GO, len(go)) + go)
        while True:
            _, _, kind, size = struct.unpack(">QIII", self.receive(20))
            body = self.receive(size)
            if kind == 1:
                return
            if kind >> 31:
                raise ConnectionError(f"refused: {body.decode(errors='replace')}")

    def request(self, command, offset, length, data=b""):
        self.cookie += 1
        self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, command, self.cookie, offset, length) + data)
        magic, error, cookie = struct.unpack(">IIQ", self.receive(16))
        if magic != 0x67446698 or cookie != self.cookie:
            raise ConnectionError("not a simple reply")
        if error:
            raise OSError(error, "the server answered with an error")
        return self.receive(length) if command == READ else b""

    def read(self, offset, length):
        return self.request(READ, offset, length)

    def write(self, offset, data):
        self.request(WRITE, offset, len(data), data)

    def close(self):
        self.socket.close()

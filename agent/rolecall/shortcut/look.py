"""One question to this machine's database server: is it as the last run left it, and does no write hang?

As little of the servers' own protocol as that needs (MariaDB Knowledge Base, "Connection", "COM_QUERY", "Result Set
Packets"; MySQL's "Client/Server Protocol"), over the local socket, as root, who is known by being root and sends no
password. It is asked every minute: the server's client would cost more than the whole refresh, and so would the module
`socket`, which adds to `_socket` what nobody needs here.
"""

import _socket
import time

SECONDS = 5.0  # for a server to answer; one that does not is looked at by the run itself
# CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH
_CAPABILITIES = 0x00088201
_UTF8MB4 = 45  # a collation that both servers have
_OK, _SWITCH = 0x00, 0xFE  # the first byte of an answer to a login: it is done, or to be done by another plugin
_QUERY = b"\x03"


def unmoved(question: str) -> bool:
    """Whether the server answers as it did when `question` was written: socket, statement and answer."""
    path, statement, before = question.split("\t")
    try:
        return answer(path, statement) == before
    except (OSError, ValueError):
        return False


def answer(path: str, statement: str) -> str:
    """The one field, of at most 250 bytes, that a statement returns. Raises OSError, or ValueError for any other."""
    until = time.monotonic() + SECONDS
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        _settle(sock, until)
        sock.connect(path)
        _log_in(sock, until)
        _send(sock, 0, _QUERY + statement.encode(), until)
        columns, _, _, row = (_packet(sock, until)[1] for _ in range(4))  # number, its definition, an end, the row
    finally:
        sock.close()
    if columns != b"\x01" or not row or row[0] != len(row) - 1:
        raise ValueError("it does not answer with one field")
    return row[1:].decode()


def _log_in(sock: _socket.socket, until: float) -> None:
    number, greeting = _packet(sock, until)
    if greeting[0] != 10:
        raise ValueError("it does not speak version 10 of the protocol")
    head = _CAPABILITIES.to_bytes(4, "little") + (1 << 24).to_bytes(4, "little") + bytes([_UTF8MB4]) + bytes(23)
    _send(sock, number + 1, head + b"root\0" + b"\0" + b"mysql_native_password\0", until)
    number, reply = _packet(sock, until)
    while reply[0] == _SWITCH:
        _send(sock, number + 1, b"", until)
        number, reply = _packet(sock, until)
    if reply[0] != _OK:
        raise ValueError("it does not let root in")


def _send(sock: _socket.socket, number: int, payload: bytes, until: float) -> None:
    _settle(sock, until)
    sock.sendall(len(payload).to_bytes(3, "little") + bytes([number & 0xFF]) + payload)


def _packet(sock: _socket.socket, until: float) -> tuple[int, bytes]:
    """The number of the next packet, and what it has."""
    head = _bytes(sock, 4, until)
    return head[3], _bytes(sock, int.from_bytes(head[:3], "little"), until) or b"\xff"


def _bytes(sock: _socket.socket, count: int, until: float) -> bytes:
    data = b""
    while len(data) < count:
        _settle(sock, until)
        if not (part := sock.recv(count - len(data))):
            raise ValueError("it broke off")
        data += part
    return data


def _settle(sock: _socket.socket, until: float) -> None:
    """Give the next call what is left of the time. Raises TimeoutError if nothing is."""
    if (left := until - time.monotonic()) <= 0:
        raise TimeoutError
    sock.settimeout(left)

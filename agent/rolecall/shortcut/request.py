"""The one small request of a refresh that changes nothing: is the document still the one with this tag?

It is asked every minute on every machine, so neither boto3 nor requests is loaded for it, nor anything that they load:
a socket, our own signature, one answer's first line. Whatever is unusual is left to the run itself.
"""

import _thread
import os
import socket
import time

_MOST = 16384  # bytes of an answer's head


def unchanged(revalidation: str, run: str) -> bool:
    """Whether the store answers 304.

    `revalidation`: what the store's method of that name wrote. `run`: the folder that has the credentials.
    """
    try:
        signer, scheme, host, path, etag, scope, ca, timeout = revalidation.split("\t")
        until = time.monotonic() + float(timeout)
        headers = {"If-None-Match": etag}
        if any(name.lower() in (f"{scheme}_proxy", "all_proxy") for name in os.environ):
            return False
        if signer:
            # The provider's folder. Importing by name costs what an import statement costs: `importlib` is not loaded.
            module = __import__(f"rolecall.{signer}.signer", fromlist=["sign"])
            path, headers = module.sign(host, path, headers, scope, run)
        else:
            headers["Host"] = host
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET {path} HTTP/1.1\r\n{head}Accept-Encoding: identity\r\nConnection: close\r\n\r\n".encode()
    except (OSError, ValueError, LookupError, ImportError):
        return False
    statuses: list[str] = []
    over = _thread.allocate_lock()
    over.acquire()

    def ask() -> None:
        try:
            statuses.extend(_first_line(scheme, host, ca, request, until).split(" ", 2)[1:2])
        except (OSError, ValueError):
            pass
        finally:
            over.release()

    # In a thread, as in deadline.py but without what that loads: a resolver that is silent has no timeout of ours.
    _thread.start_new_thread(ask, ())
    over.acquire(timeout=max(until - time.monotonic(), 0.0))
    return statuses == ["304"]


def _first_line(scheme: str, host: str, ca: str, request: bytes, until: float) -> str:
    text, _, port = host.partition("]:") if host.startswith("[") else host.partition(":")
    name = text.strip("[]").encode("ascii")  # as bytes: for a str Python loads the tables of IDNA, whatever is in it
    with _connected(name, int(port or (443 if scheme == "https" else 80)), until) as plain:
        sock = plain
        if scheme == "https":
            import ssl

            sock = ssl.create_default_context(cafile=ca or None).wrap_socket(plain, server_hostname=name)
        with sock:
            sock.settimeout(_left(until))
            sock.sendall(request)
            answer = b""
            while b"\r\n" not in answer and len(answer) < _MOST:
                sock.settimeout(_left(until))
                if not (data := sock.recv(4096)):
                    break
                answer += data
    return answer.partition(b"\r\n")[0].decode("ascii")


def _connected(name: bytes, port: int, until: float) -> socket.socket:
    """As socket.create_connection, but with one deadline for all of a name's addresses."""
    for family, kind, protocol, _, address in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(until))
            sock.connect(address)
        except OSError:
            sock.close()
            continue
        return sock
    raise ConnectionError


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left

"""The one small request of a refresh that changes nothing: is the document still the one with this tag?

A server that knows no tags, or does not look at them, sends the document each time: then its bytes are compared.

It is asked every minute on every machine, so neither boto3 nor requests is loaded for it, nor anything that they load:
a socket, our own signature, one answer's first line. Whatever is unusual is left to the run itself.
"""

import _thread
import os
import socket
import time

_MOST = 16384  # bytes of an answer's head


def unchanged(revalidation: str, run: str) -> bool:
    """Whether the store answers 304, or sends the document that the last run read.

    `revalidation`: what the store's method of that name wrote; after it, in a field of its own, may come the file that
    has the document. `run`: the folder that has the credentials.
    """
    try:
        signer, scheme, host, path, etag, scope, ca, timeout, *files = revalidation.split("\t")
        document = _content(files[0]) if files else b""
        until = time.monotonic() + float(timeout)
        headers = {"If-None-Match": etag} if etag else {}
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
    answers: list[bytes] = []
    over = _thread.allocate_lock()
    over.acquire()

    def ask() -> None:
        try:
            answers.append(_answer(scheme, host, ca, request, until, document))
        except (OSError, ValueError):
            pass
        finally:
            over.release()

    # In a thread, as in deadline.py but without what that loads: a resolver that is silent has no timeout of ours.
    _thread.start_new_thread(ask, ())
    over.acquire(timeout=max(until - time.monotonic(), 0.0))
    return any(_status(answer) == b"304" or _is_document(answer, document) for answer in answers)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _status(answer: bytes) -> bytes:
    """The status of an answer whose first line is there."""
    words = answer.partition(b"\r\n")[0].split(b" ", 2)
    return words[1] if len(words) > 1 else b""


def _is_document(answer: bytes, document: bytes) -> bool:
    """Whether an answer is the document that the last run read, as it is: neither in chunks nor compressed."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return _status(answer) == b"200" and _has_length(head, document) and body == document


def _has_length(head: bytes, document: bytes) -> bool:
    return document != b"" and b"\r\ncontent-length: %d\r\n" % len(document) in head.lower() + b"\r\n"


def _is_enough(answer: bytes, document: bytes) -> bool:
    """Whether what has come tells all that there is to learn."""
    if b"\r\n" not in answer:
        return len(answer) >= _MOST
    if _status(answer) != b"200" or not document:
        return True
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return len(answer) >= _MOST
    return not _has_length(head, document) or len(body) >= len(document)


def _answer(scheme: str, host: str, ca: str, request: bytes, until: float, document: bytes) -> bytes:  # noqa: PLR0917
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
            while not _is_enough(answer, document):
                sock.settimeout(_left(until))
                if not (data := sock.recv(65536)):
                    break
                answer += data
    return answer


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

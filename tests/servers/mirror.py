"""A fake mirror: files over http or https, with entity tags and ranges."""

import gzip
import hashlib
import re
import ssl
from pathlib import Path
from typing import Literal

from servers.http import Answer, Request, Server


def etag(data: bytes) -> str:
    """The entity tag of a content, with its quotes."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


class Mirror(Server):
    """A mirror of a folder, or of a dict from paths (without a slash before them) to contents.

    Its attributes may be changed while it runs.
    """

    def __init__(
        self,
        files: Path | dict[str, bytes] | None = None,
        context: ssl.SSLContext | None = None,
        address: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(address, port, context)
        self.files = {} if files is None else files
        self.read_only = False
        self.authorization: str | None = None  # what a request must have there: 401 without, 403 with another
        self.compress: Literal["never", "asked", "always"] = "never"  # always: to clients that did not ask, too
        self.conditions: Literal["kept", "ignored", "unknown"] = "kept"  # of a PUT; unknown: 501
        self.tags: Literal["strong", "weak", "none"] = "strong"
        self.ranges = self.revalidates = True  # whether a Range, or the tag of a GET, is looked at
        self.loses = ""  # the end of names whose PUT is answered, and not done
        self.redirects: dict[str, tuple[int, str]] = {}

    def redirect(self, path_prefix: str, to: str, status: int = 302) -> None:
        """Send who asks for a path to another place; `to` replaces the prefix."""
        self.redirects[path_prefix] = (status, to)

    def read(self, name: str) -> bytes | None:
        """The content of a file."""
        if isinstance(self.files, dict):
            return self.files.get(name)
        path = self.files / name
        return path.read_bytes() if path.is_file() else None

    def write(self, name: str, data: bytes) -> None:
        """Change a file, as a whole."""
        if isinstance(self.files, dict):
            self.files[name] = data
            return
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.write_bytes(data)
        beside.replace(path)

    def answer(self, request: Request) -> Answer:
        if self.authorization:
            sent = request.headers.get("Authorization")
            if sent is None:
                return failed(401, {"WWW-Authenticate": "Basic"})
            if sent != self.authorization:
                return failed(403)
        for prefix, (status, to) in self.redirects.items():
            if request.path.startswith(prefix):
                return failed(status, {"Location": to + request.path.removeprefix(prefix)})
        allowed = ("GET", "HEAD") if self.read_only else ("GET", "HEAD", "PUT", "DELETE")
        if request.method not in allowed:
            return failed(405, {"Allow": ", ".join(allowed)})
        name = request.path[1:]
        if {"", ".", ".."} & set(name.split("/")) or "\0" in name:
            return failed(404)
        answers = {"PUT": self._put, "DELETE": self._delete}
        answer = answers.get(request.method, self._get)(name, request)
        if self.tags == "none":
            answer.headers.pop("ETag", None)
        elif self.tags == "weak" and "ETag" in answer.headers:
            answer.headers["ETag"] = f"W/{answer.headers['ETag'].removeprefix('W/')}"
        return answer

    def _delete(self, name: str, _: Request) -> Answer:
        if self.read(name) is None:
            return failed(404)
        if isinstance(self.files, dict):
            del self.files[name]
        else:
            (self.files / name).unlink()
        return Answer(204)

    def _put(self, name: str, request: Request) -> Answer:
        if "Content-Length" not in request.headers and "Transfer-Encoding" not in request.headers:
            return failed(411)
        before = self.read(name)
        tag = "" if before is None else etag(before)
        expected, forbidden = request.headers.get("If-Match"), request.headers.get("If-None-Match")
        if self.conditions == "unknown" and expected:
            return failed(501)
        if self.conditions == "ignored":
            expected = forbidden = None
        if (expected and not matches(expected, tag)) or (forbidden and matches(forbidden, tag, weak=True)):
            return failed(412)
        if not self.loses or not name.endswith(self.loses):
            self.write(name, request.body)
        return Answer(201 if before is None else 200, b"", {"ETag": etag(request.body)})

    def _get(self, name: str, request: Request) -> Answer:
        data = self.read(name)
        if data is None:
            return failed(404)
        asked = self.compress == "asked" and "gzip" in request.headers.get("Accept-Encoding", "")
        packed = asked or self.compress == "always"
        tag = f"W/{etag(data)}" if packed else etag(data)  # the bytes are others, so the tag is a weak one
        headers = {"ETag": tag, "Content-Type": "application/octet-stream"}
        expected, known = request.headers.get("If-Match"), request.headers.get("If-None-Match")
        if expected and not matches(expected, tag):
            return failed(412)
        if self.revalidates and known and matches(known, tag, weak=True):
            return Answer(304, b"", {"ETag": tag})
        if packed:
            return Answer(200, gzip.compress(data), headers | {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"})
        return part(data, headers | {"Accept-Ranges": "bytes"}, request) if self.ranges else Answer(200, data, headers)


def part(data: bytes, headers: dict[str, str], request: Request) -> Answer:
    """The range that was asked for, or all."""
    asked = re.fullmatch("bytes=([0-9]*)-([0-9]*)", request.headers.get("Range", ""))
    wanted = request.headers.get("If-Range", headers["ETag"])
    if request.method != "GET" or not asked or asked[0] == "bytes=-" or wanted != headers["ETag"]:
        return Answer(200, data, headers)
    first, last = asked.groups()
    start = int(first) if first else max(len(data) - int(last), 0)
    end = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= len(data) or end <= start:
        return failed(416, {"Content-Range": f"bytes */{len(data)}"})
    return Answer(206, data[start:end], headers | {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})


def matches(condition: str, tag: str, *, weak: bool = False) -> bool:
    """Whether a tag ("" for no file) is among those of If-Match or, `weak`, of If-None-Match."""
    if condition.strip() == "*":
        return bool(tag)
    given = {one.strip() for one in condition.split(",")}
    if weak:
        return tag.removeprefix("W/") in {one.removeprefix("W/") for one in given}
    return tag in given and not tag.startswith("W/")


def failed(status: int, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, f"{status}\n".encode(), {"Content-Type": "text/plain"} | (headers or {}))

"""Large objects in S3: multipart uploads, and the tags that they end up with.

Protocol: "Uploading and copying objects using multipart upload" (Amazon S3 User Guide). At most 10,000 parts, each but
the last of at least 5 MiB. The tag of the whole is the MD5 of its parts' MD5s and their number, unless the bucket is
encrypted with a key of KMS.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from rolecall.errors import Fault, FetchFault

T = TypeVar("T")
_PART = 8 << 20  # bytes of the first thousand parts; of the second thousand twice as many, and so on: 430 GiB in all
_THOUSAND = 1000
_LOST = ("unreachable", "broken-answer", "server-error", "too-slow", "no-key")  # no-key: our own first try was done


class Ask(Protocol):
    """How a store asks S3 for something: see `S3Store`."""

    def __call__(self, action: str, ask: Callable[[Any], T], seconds: float | None = None) -> T:
        """What S3 answers to `ask` within `seconds`."""


def parts_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes as parts of the sizes that an upload has: always the same for the same content."""
    buffer, number = bytearray(), 1
    for piece in pieces:
        buffer += piece
        while len(buffer) >= (size := _PART * (1 + (number - 1) // _THOUSAND)):
            yield bytes(buffer[:size])
            del buffer[:size]
            number += 1
    if buffer:
        yield bytes(buffer)


def tags_of(pieces: Iterable[bytes]) -> tuple[str, str]:
    """The tags that an object of these bytes has: if it was put, and if it was uploaded in our parts."""
    whole, parts = _md5(b""), []
    for part in parts_of(pieces):
        whole.update(part)
        parts.append(_md5(part).hexdigest())
    return f'"{whole.hexdigest()}"', _tag_of_parts(parts)


class MultipartUpload:
    """One upload of an object in parts; whatever ends it early aborts it."""

    def __init__(self, ask: Ask, target: dict[str, str], action: str, seconds: float) -> None:
        self._ask, self._target, self._what, self._seconds = ask, target, action, seconds

    def send(self, parts: Iterable[bytes]) -> str:
        """Send all parts, then make them the object; returns its tag. Raises FetchFault, or what `parts` raises."""
        answer = self._ask(self._what, lambda client: client.create_multipart_upload(**self._target))
        upload = {**self._target, "UploadId": str(answer["UploadId"])}
        try:
            tags = [self._send_part(upload, number, part) for number, part in enumerate(parts, 1)]
            return self._complete(upload, tags)
        except BaseException:  # whatever ends it, a signal too: parts that no upload comes back for cost money
            with suppress(Fault):
                self._ask(self._what, lambda client: client.abort_multipart_upload(**upload))
            raise

    def _send_part(self, upload: dict[str, str], number: int, part: bytes) -> str:
        def ask(client: Any) -> str:
            return str(client.upload_part(**upload, PartNumber=number, Body=part)["ETag"])

        return self._ask(self._what, ask, self._seconds)

    def _complete(self, upload: dict[str, str], tags: list[str]) -> str:
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]

        def ask(client: Any) -> str:
            answer = client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
            return str(answer.get("ETag", ""))

        try:
            return self._ask(self._what, ask, self._seconds)
        except FetchFault as fault:
            # Where the answer was lost the object may be there all the same: its tag tells.
            expected = _tag_of_parts([tag.strip('"') for tag in tags])
            if fault.cause in _LOST and self._current_tag(fault) == expected:
                return expected
            raise

    def _current_tag(self, first: FetchFault) -> str:
        try:
            return str(self._ask(self._what, lambda client: client.head_object(**self._target)).get("ETag", ""))
        except FetchFault:
            raise first from None


def _tag_of_parts(digests: list[str]) -> str:
    try:
        joined = b"".join(map(bytes.fromhex, digests))
    except ValueError:  # another S3 than Amazon's may have other tags
        return ""
    return f'"{_md5(joined).hexdigest()}-{len(digests)}"'


def _md5(data: bytes) -> Any:
    return hashlib.md5(data, usedforsecurity=False)

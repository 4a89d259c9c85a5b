"""Archives that somebody could publish to do harm, or by mistake, each built byte by byte.

Not by `tarfile`: it would refuse to write many of them. `HOSTILE` names each and what its refusal must say, so that
none is refused for another reason than the one it was made for; `HARMLESS` are those whose harm is left out instead.
"""

import gzip
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import zstandard

from rolecall.host.archive_rules import Limits

MiB = 1024 * 1024
END = bytes(1024)
FILE, HARD, LINK, CHARACTER, BLOCK, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
LONG_NAME, LONG_TARGET, SPARSE, VOLUME, PAX, PAX_FOR_ALL = b"L", b"K", b"S", b"V", b"x", b"g"
MTIME = 1_700_000_000


@dataclass(frozen=True)
class Hostile:
    """An archive, the words its refusal must have, and the limits that it must break, if not the usual ones."""

    data: bytes
    says: str
    name: str = "releases/blog/1.tar"
    limits: Limits = field(default_factory=Limits)


def number(value: int, width: int) -> bytes:
    """A header field: octal, or GNU's base 256 for what does not fit or is negative."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return bytes([0x80 if value >= 0 else 0xFF]) + value.to_bytes(width - 1, "big", signed=True)


def header(
    name: bytes,
    kind: bytes = FILE,
    size: int = 0,
    mode: int = 0o644,
    target: bytes = b"",
    mtime: int = MTIME,
    owner: int = 0,
    user: bytes = b"root",
    device: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
) -> bytes:
    """One ustar header, with the checksum right whatever else is wrong."""
    fields = struct.pack(
        "100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x",
        name,
        number(mode, 8),
        number(owner, 8),
        number(owner, 8),
        number(size, 12),
        number(mtime, 12),
        b" " * 8,
        kind,
        target,
        b"ustar\x0000",
        user,
        user,
        number(device[0], 8),
        number(device[1], 8),
        prefix,
    )
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


def padded(data: bytes) -> bytes:
    """Data, filled up to a whole block."""
    return data + bytes(-len(data) % 512)


def named(name: bytes, kind: bytes = FILE, *, target: bytes = b"", size: int = 0, mode: int = 0o644) -> bytes:
    """A header that may need GNU's long forms before it, since a scratch folder has a long path."""
    before = long(LONG_NAME, name) if len(name) > 100 else b""
    before += long(LONG_TARGET, target) if len(target) > 100 else b""
    return before + header(name[:100], kind, size, mode, target[:100])


def file(name: bytes, content: bytes = b"harm") -> bytes:
    """A regular file."""
    return named(name, size=len(content)) + padded(content)


def folder(name: bytes) -> bytes:
    """A folder."""
    return named(name, FOLDER, mode=0o755)


def link(name: bytes, target: bytes) -> bytes:
    """A symbolic link."""
    return named(name, LINK, target=target, mode=0o777)


def long(kind: bytes, text: bytes) -> bytes:
    """GNU's way to give the next entry a long name or target."""
    return header(b"././@LongLink", kind, len(text) + 1) + padded(text + b"\0")


def record(key: bytes, value: bytes) -> bytes:
    """One pax record: its length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def pax(fields: dict[bytes, bytes], kind: bytes = PAX) -> bytes:
    """A pax header for the next entry, or for all that follow."""
    data = b"".join(record(key, value) for key, value in fields.items())
    return header(b"././@PaxHeader", kind, len(data)) + padded(data)


def zst(data: bytes) -> bytes:
    """Data as `zstd` compresses it, with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def wide_frame(data: bytes) -> bytes:
    """A zstandard frame that is stored, but asks for a window of 256 MiB."""
    block = (len(data) << 3 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x90" + block + data


def zeros(count: int, compress: Callable[[bytes], bytes]) -> bytes:
    """Compressed mebibytes of zeros: one is compressed, and joined as often as it takes."""
    return compress(bytes(MiB)) * count


def flipped(data: bytes, at: int) -> bytes:
    """Data with one byte changed."""
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


GOOD = file(b"index.php", b"<?php echo 1;") + folder(b"public/") + file(b"public/app.css", b"body {}")
WHOLE = GOOD + END
# From the top of the new folder to the folder that a test puts beside the state folder.
OUT = b"../../../outside"
ALREADY, NOTHING, TOO_BIG = "it already has a", "which is not a file or folder in it", "unpacks to more than"
ABSOLUTE = "absolute or has an empty part, '.' or '..'"
CONTROL = "a control character or not in UTF-8"
DAMAGED = "damaged or cut off"
NOT_THE_FORMAT = "not of the format that its name says"


Builder = Callable[[bytes], Hostile]  # from the folder outside, which holds a file `canary`


def tar(*parts: bytes, says: str) -> Hostile:
    """An archive that is whole but for what is wrong with its parts."""
    return Hostile(b"".join(parts) + END, says)


# Names that lead out, or that a log, a terminal or a web server would take for something else.
NAMES: dict[str, Builder] = {
    "absolute name": lambda out: tar(file(out + b"/harm"), says=ABSOLUTE),
    "absolute name of a file that is there": lambda out: tar(file(out + b"/canary"), says=ABSOLUTE),
    "absolute name of a folder": lambda out: tar(folder(out + b"/harm"), says=ABSOLUTE),
    "absolute name after ./": lambda out: tar(file(b"./" + out + b"/harm"), says=ABSOLUTE),
    "folder named /": lambda out: tar(folder(b"/"), says=ABSOLUTE),
    "dots": lambda out: tar(file(OUT + b"/harm"), says=ABSOLUTE),
    "dots after a folder": lambda out: tar(GOOD, file(b"public/../" + OUT + b"/harm"), says=ABSOLUTE),
    "dots that stay inside": lambda out: tar(GOOD, file(b"public/../other.php"), says=ABSOLUTE),
    "dots in a ustar prefix": lambda out: tar(header(b"harm", prefix=OUT), says=ABSOLUTE),
    "dots in a GNU long name": lambda out: tar(long(LONG_NAME, OUT + b"/harm"), file(b"good"), says=ABSOLUTE),
    "dots in the first of two long names": lambda out: tar(
        long(LONG_NAME, OUT + b"/harm"), long(LONG_NAME, b"good"), file(b"good"), says=ABSOLUTE
    ),
    "dots in a pax path": lambda out: tar(pax({b"path": OUT + b"/harm"}), file(b"good"), says=ABSOLUTE),
    "dots in a pax path for all": lambda out: tar(
        pax({b"path": OUT + b"/harm"}, PAX_FOR_ALL), file(b"good"), says=ABSOLUTE
    ),
    "dots in the name of a sparse file": lambda out: tar(
        pax({b"GNU.sparse.name": OUT + b"/harm", b"GNU.sparse.map": b"0,4"}), file(b"good"), says="a sparse file"
    ),
    "absolute pax path": lambda out: tar(pax({b"path": out + b"/harm"}), file(b"good"), says=ABSOLUTE),
    "one pax path for two files": lambda out: tar(
        pax({b"path": b"same"}, PAX_FOR_ALL), file(b"one"), file(b"two"), says="a file where it already has a file"
    ),
    "empty part": lambda out: tar(file(b"public//app.css"), says=ABSOLUTE),
    "dot part": lambda out: tar(file(b"public/./app.css"), says=ABSOLUTE),
    "file with a slash at its end": lambda out: tar(file(b"index.php/"), says=ABSOLUTE),
    "no name": lambda out: tar(file(b""), says=ABSOLUTE),
    "file named .": lambda out: tar(file(b"."), says="a file where it already has a folder"),
    "newline": lambda out: tar(file(b"a\nServerAlias evil"), says=CONTROL),
    "terminal escape": lambda out: tar(file(b"a\x1b]0;owned\x07"), says=CONTROL),
    "C1 control": lambda out: tar(file("a\x9b2J".encode()), says=CONTROL),
    "line separator": lambda out: tar(file("a\u2028b".encode()), says=CONTROL),
    "NUL in a pax path": lambda out: tar(pax({b"path": b"a\0b"}), file(b"good"), says=CONTROL),
    "not UTF-8": lambda out: tar(file(b"\xe9t\xe9"), says=CONTROL),
    "surrogate": lambda out: tar(file(b"a\xed\xb3\xbf"), says=CONTROL),
    "not UTF-8 in a pax path": lambda out: tar(
        pax({b"hdrcharset": b"BINARY", b"path": b"\xe9t\xe9"}), file(b"good"), says=CONTROL
    ),
    "part of 256 bytes": lambda out: tar(file(b"a" * 256), says="255 bytes in one"),
    "name of 4,000 bytes": lambda out: tar(file(b"/".join([b"a" * 200] * 20)), says="3072 bytes"),
    "33 parts": lambda out: tar(file(b"a/" * 32 + b"a"), says="over 32 parts"),
}

# The same name for two things.
DOUBLES: dict[str, Builder] = {
    "file twice": lambda out: tar(GOOD, file(b"index.php"), says=f"a file where {ALREADY} file"),
    "file twice, once after ./": lambda out: tar(GOOD, file(b"./index.php"), says=f"a file where {ALREADY} file"),
    "file, then folder": lambda out: tar(GOOD, folder(b"index.php"), says=f"a folder where {ALREADY} file"),
    "folder, then file": lambda out: tar(GOOD, file(b"public"), says=f"a file where {ALREADY} folder"),
    "implied folder, then file": lambda out: tar(file(b"a/b"), file(b"a"), says=f"a file where {ALREADY} folder"),
    "file, then a file below it": lambda out: tar(GOOD, file(b"index.php/a"), says=f"a folder where {ALREADY} file"),
    "link twice": lambda out: tar(
        GOOD, link(b"a", b"public"), link(b"a", b"public"), says=f"a link where {ALREADY} link"
    ),
    "file, then link": lambda out: tar(GOOD, link(b"index.php", out + b"/canary"), says=f"a link where {ALREADY} file"),
    "folder, then link": lambda out: tar(GOOD, link(b"public", OUT), says=f"a link where {ALREADY} folder"),
    "link, then file through it": lambda out: tar(
        link(b"a", OUT + b"/canary"), file(b"a"), says=f"a file where {ALREADY} link"
    ),
    "link, then folder": lambda out: tar(
        GOOD, link(b"a", b"public"), folder(b"a"), says=f"a folder where {ALREADY} link"
    ),
    "link out, then file below it": lambda out: tar(
        link(b"a", OUT), file(b"a/harm"), says=f"a folder where {ALREADY} link"
    ),
    "link out, then folder below it": lambda out: tar(
        link(b"a", OUT), folder(b"a/harm"), says=f"a folder where {ALREADY} link"
    ),
    "link inside, then file below it": lambda out: tar(
        GOOD, link(b"a", b"public"), file(b"a/more.css"), says=f"a folder where {ALREADY} link"
    ),
}

# Links that lead out, or nowhere.
CHAIN = b"".join(link(b"l%d" % i, b"l%d" % (i + 1)) for i in range(60))
LINKS: dict[str, Builder] = {
    "absolute link": lambda out: tar(GOOD, link(b"a", out + b"/canary"), says="a link that is absolute"),
    "absolute link to the root": lambda out: tar(GOOD, link(b"a", b"/"), says="a link that is absolute"),
    "link out": lambda out: tar(GOOD, link(b"a", OUT), says=NOTHING),
    "link out from a folder": lambda out: tar(GOOD, link(b"public/a", b"../" + OUT), says=NOTHING),
    "link out and in again": lambda out: tar(GOOD, link(b"a", b"../new/index.php"), says=NOTHING),
    "link to the folder above": lambda out: tar(GOOD, link(b"a", b".."), says=NOTHING),
    "long link out": lambda out: tar(GOOD, long(LONG_TARGET, OUT), link(b"a", b"public"), says=NOTHING),
    "pax link out": lambda out: tar(GOOD, pax({b"linkpath": OUT}), link(b"a", b"public"), says=NOTHING),
    # In letters `public/up/../../outside` stays inside; but `public/up` is the top, and above that is outside.
    "link out through a link": lambda out: tar(
        GOOD, link(b"public/up", b".."), link(b"a", b"public/up/../../../outside"), says=NOTHING
    ),
    "link out through two links": lambda out: tar(
        GOOD, link(b"b", b"public/up/.."), link(b"public/up", b"../public/.."), link(b"a", b"b/.."), says=NOTHING
    ),
    "link to nothing": lambda out: tar(GOOD, link(b"a", b"nothing"), says=NOTHING),
    "link below a file": lambda out: tar(GOOD, link(b"a", b"index.php/"), says=NOTHING),
    "link up from a file": lambda out: tar(GOOD, link(b"a", b"index.php/../public"), says=NOTHING),
    "link to itself": lambda out: tar(GOOD, link(b"a", b"a"), says="through too many links"),
    "link in a circle": lambda out: tar(GOOD, link(b"a", b"b"), link(b"b", b"a"), says="through too many links"),
    "link through sixty links": lambda out: tar(GOOD, CHAIN, link(b"l60", b"public"), says="through too many links"),
    "link to no name": lambda out: tar(GOOD, link(b"a", b""), says="a link that is absolute, empty"),
    "link with a newline": lambda out: tar(GOOD, link(b"a", b"public\n"), says="or not plain text"),
    "link that is not UTF-8": lambda out: tar(GOOD, link(b"a", b"\xe9t\xe9"), says="or not plain text"),
    "link of 4,000 bytes": lambda out: tar(GOOD, link(b"a", b"public/" + b"./" * 2000), says="over 3072 bytes"),
    "link with content": lambda out: tar(
        GOOD, header(b"a", LINK, 4, target=b"public"), padded(b"harm"), says="a link of 4 bytes"
    ),
}

# What is neither a file nor a folder nor a link.
KINDS: dict[str, Builder] = {
    "hard link to /etc/passwd": lambda out: tar(named(b"a", HARD, target=b"/etc/passwd"), says="a hard link"),
    "hard link out": lambda out: tar(named(b"a", HARD, target=OUT + b"/canary"), says="a hard link"),
    "hard link out, then file": lambda out: tar(
        named(b"a", HARD, target=out + b"/canary"), file(b"a"), says="a hard link"
    ),
    "hard link inside": lambda out: tar(GOOD, named(b"a", HARD, target=b"index.php"), says="a hard link"),
    "character device": lambda out: tar(header(b"null", CHARACTER, device=(1, 3)), says="a device"),
    "block device": lambda out: tar(header(b"disk", BLOCK, device=(8, 0)), says="a device"),
    "fifo": lambda out: tar(header(b"pipe", FIFO), says="a fifo"),
    "contiguous file": lambda out: tar(header(b"a", b"7"), says="an entry of type b'7'"),
    "volume label": lambda out: tar(header(b"a", VOLUME), GOOD, says="an entry of type b'V'"),
    "second volume": lambda out: tar(header(b"a", b"M", 4), padded(b"harm"), says="an entry of type b'M'"),
    "type of no tar": lambda out: tar(header(b"a", b"\xff"), says=r"an entry of type b'\xff'"),
    "GNU sparse file": lambda out: tar(header(b"a", SPARSE, 4), padded(b"harm"), says="a sparse file"),
    # The byte at the end of this prefix says that the map goes on in the next block.
    "GNU sparse file whose map is cut off": lambda out: Hostile(
        header(b"a", SPARSE, prefix=bytes(137) + b"\1"), DAMAGED
    ),
    "sparse file 0.0": lambda out: tar(
        pax({b"GNU.sparse.size": b"9", b"GNU.sparse.offset": b"0", b"GNU.sparse.numbytes": b"4"}),
        file(b"a"),
        says="a sparse file",
    ),
    "sparse file 0.1": lambda out: tar(
        pax({b"GNU.sparse.map": b"0,4", b"GNU.sparse.size": b"9"}), file(b"a"), says="a sparse file"
    ),
    "sparse file 1.0": lambda out: tar(
        pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9"}),
        file(b"a", b"4\n0\n0\n"),
        says=DAMAGED,
    ),
    "sparse size alone": lambda out: tar(pax({b"GNU.sparse.realsize": b"1000000"}), file(b"a"), says="a sparse file"),
    "sparse map of words": lambda out: tar(pax({b"GNU.sparse.map": b"a,b"}), file(b"a"), says=DAMAGED),
}

# Sizes that lie, and archives that cost more than they may.


def eighty(compress: Callable[[bytes], bytes]) -> bytes:
    """Ten files of eight mebibytes of zeros."""
    return b"".join(compress(header(b"f%d" % i, size=8 * MiB)) + zeros(8, compress) for i in range(10))


SIZES: dict[str, Builder] = {
    "size of more than there is": lambda out: tar(header(b"a", size=100_000), padded(b"harm"), says="it is cut off"),
    "size of less than there is": lambda out: tar(header(b"a", size=4), b"harm" * 256, says=DAMAGED),
    "negative size": lambda out: tar(header(b"a", size=-512), says="a file of -512 bytes"),
    "negative size of a long name": lambda out: tar(header(b"././@LongLink", LONG_NAME, -512), GOOD, says=DAMAGED),
    "negative pax size": lambda out: tar(pax({b"size": b"-512"}), file(b"a"), says="a file of -512 bytes"),
    "pax size of no number": lambda out: tar(pax({b"size": b"four"}), file(b"a"), says=DAMAGED),
    "size of 8 exbibytes": lambda out: tar(header(b"a", size=2**63), says="a file of 9223372036854775808 bytes"),
    "folder with content": lambda out: tar(header(b"a", FOLDER, 4), padded(b"harm"), says="a folder of 4 bytes"),
    "gzip bomb": lambda out: Hostile(
        gzip.compress(header(b"a", size=2**37)) + zeros(1, gzip.compress), "a file of", "1.tar.gz"
    ),
    "gzip bomb in ten files": lambda out: Hostile(eighty(gzip.compress), f"{TOO_BIG} 67108864 bytes", "1.tar.gz"),
    "zstandard bomb in ten files": lambda out: Hostile(eighty(zst), f"{TOO_BIG} 67108864 bytes", "1.tar.zst"),
    "bomb after the end marker": lambda out: Hostile(
        gzip.compress(WHOLE) + zeros(80, gzip.compress), "headers or padding", "1.tgz"
    ),
    "bomb in a long name": lambda out: Hostile(
        gzip.compress(header(b"././@LongLink", LONG_NAME, 80 * MiB)) + zeros(80, gzip.compress),
        "headers or padding",
        "1.tar.gz",
    ),
    "bomb in a pax header": lambda out: Hostile(
        gzip.compress(header(b"././@PaxHeader", PAX, 80 * MiB)) + zeros(80, gzip.compress),
        "headers or padding",
        "1.tar.gz",
    ),
    "bomb in a sparse map": lambda out: Hostile(
        gzip.compress(
            pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0"})
            + header(b"a", size=80 * MiB)
            + (b"999999999\n" + b"0\n" * 251)
        )
        + gzip.compress(b"0\n" * (MiB // 2)) * 80,
        "headers or padding",
        "1.tar.gz",
    ),
    "frame with a window of 256 MiB": lambda out: Hostile(wide_frame(WHOLE), NOT_THE_FORMAT, "1.tar.zst"),
    "more bytes than allowed": lambda out: Hostile(
        file(b"a", bytes(600_000)) + file(b"b", bytes(600_000)) + END, TOO_BIG, limits=Limits(bytes=MiB)
    ),
    "100,001 tiny files": lambda out: Hostile(
        b"".join(header(b"t%d" % i) for i in range(100_001)) + END,
        "more than 100 entries",
        limits=Limits(entries=100),
    ),
    "100,001 times the same folder": lambda out: Hostile(
        folder(b"a/") * 100_001 + END, "more than 1000 entries", limits=Limits(entries=1000)
    ),
    "folders that ten files imply": lambda out: Hostile(
        b"".join(file(b"%d/" % i * 30 + b"a") for i in range(10)) + END,
        "more than 100 entries",
        limits=Limits(entries=100),
    ),
    "pax headers without end": lambda out: tar(pax({b"comment": b"x"}) * 500, GOOD, says=DAMAGED),
    "empty long names without end": lambda out: tar(header(b"././@LongLink", LONG_NAME) * 900, GOOD, says=DAMAGED),
    "pax header of a mebibyte": lambda out: tar(pax({b"comment": b"x" * MiB}), GOOD, says="headers or padding"),
}

# What is no archive, or not all of one.
GZ, ZST, NOISE = gzip.compress(WHOLE), zst(WHOLE), b"\x5a\xa5" * 4096
LARGE = zst(file(b"index.php", random.Random(1).randbytes(MiB)) + END)
ONE = 1024  # the first entry of GOOD: a block of header, a block of content
FORMATS: dict[str, Builder] = {
    "empty file": lambda out: Hostile(b"", DAMAGED),
    "empty file named .tar.gz": lambda out: Hostile(b"", DAMAGED, "1.tar.gz"),
    "empty file named .tar.zst": lambda out: Hostile(b"", DAMAGED, "1.tar.zst"),
    "empty archive": lambda out: Hostile(END, "it has no entries"),
    "empty compressed archive": lambda out: Hostile(gzip.compress(END), "it has no entries", "1.tar.gz"),
    "noise": lambda out: Hostile(NOISE, DAMAGED),
    "noise named .tar.gz": lambda out: Hostile(NOISE, NOT_THE_FORMAT, "1.tar.gz"),
    "noise named .tar.zst": lambda out: Hostile(NOISE, NOT_THE_FORMAT, "1.tar.zst"),
    "noise in gzip": lambda out: Hostile(gzip.compress(NOISE), DAMAGED, "1.tar.gz"),
    "text": lambda out: Hostile(b"<html>404 Not Found</html>\n", DAMAGED),
    "gzip named .tar.zst": lambda out: Hostile(GZ, NOT_THE_FORMAT, "1.tar.zst"),
    "gzip named .tar": lambda out: Hostile(GZ, DAMAGED),
    "zstandard named .tar.gz": lambda out: Hostile(ZST, NOT_THE_FORMAT, "1.tar.gz"),
    "tar named .tar.gz": lambda out: Hostile(WHOLE, NOT_THE_FORMAT, "1.tar.gz"),
    "name of another format": lambda out: Hostile(WHOLE, "has no known format", "1.tar.xz"),
    "name of no format": lambda out: Hostile(WHOLE, "has no known format", "1"),
    "no end marker": lambda out: Hostile(GOOD, DAMAGED),
    "noise in the place of the end marker": lambda out: Hostile(GOOD + NOISE, DAMAGED),
    "noise after the end marker": lambda out: Hostile(WHOLE + NOISE, "continues after its end marker"),
    "two archives joined": lambda out: Hostile(WHOLE + file(b"more.php") + END, "continues after its end marker"),
    "bad checksum": lambda out: Hostile(flipped(WHOLE, ONE), DAMAGED),
    "cut in a header": lambda out: Hostile(GOOD[: ONE + 100], DAMAGED),
    "cut in a file": lambda out: Hostile(GOOD[:520], "it is cut off"),
    "cut after a header": lambda out: Hostile(GOOD[:512], "it is cut off"),
    "long name of nothing": lambda out: tar(long(LONG_NAME, b"a"), says=DAMAGED),
    "pax header of nothing": lambda out: tar(pax({b"path": b"a"}), says=DAMAGED),
    "pax record of no length": lambda out: tar(header(b"a", PAX, 9), padded(b"0 path=a\n"), GOOD, says=DAMAGED),
    "cut gzip": lambda out: Hostile(GZ[: len(GZ) // 2], NOT_THE_FORMAT, "1.tar.gz"),
    "gzip without its checksum": lambda out: Hostile(GZ[:-8], NOT_THE_FORMAT, "1.tar.gz"),
    "gzip with a wrong checksum": lambda out: Hostile(flipped(GZ, len(GZ) - 5), NOT_THE_FORMAT, "1.tar.gz"),
    "gzip with a wrong byte": lambda out: Hostile(flipped(GZ, 10), NOT_THE_FORMAT, "1.tar.gz"),
    "gzip, then noise": lambda out: Hostile(GZ + NOISE, NOT_THE_FORMAT, "1.tar.gz"),
    "cut zstandard": lambda out: Hostile(LARGE[: len(LARGE) // 2], "it is cut off", "1.tar.zst"),
    "zstandard with a wrong checksum": lambda out: Hostile(flipped(ZST, len(ZST) - 1), NOT_THE_FORMAT, "1.tar.zst"),
    "zstandard, then noise": lambda out: Hostile(ZST + NOISE, NOT_THE_FORMAT, "1.tar.zst"),
}

HOSTILE: dict[str, Builder] = {**NAMES, **DOUBLES, **LINKS, **KINDS, **SIZES, **FORMATS}

# What these ask for is left out, and the rest unpacked: each has a file `a` and perhaps a folder `b`.
HARMLESS: dict[str, bytes] = {
    "setuid": header(b"a", mode=0o4755) + END,
    "setgid and sticky": header(b"a", mode=0o3644) + folder(b"b") + END,
    "setgid folder": header(b"a") + header(b"b", FOLDER, mode=0o7777) + END,
    "writable by all": header(b"a", mode=0o666) + header(b"b", FOLDER, mode=0o777) + END,
    "no permission": header(b"a", mode=0) + header(b"b", FOLDER, mode=0) + file(b"b/c") + END,
    "other owner": header(b"a", owner=1234, user=b"daemon") + header(b"b", FOLDER, owner=1234, user=b"daemon") + END,
    "huge owner": header(b"a", owner=2**40, user=b"") + END,
    "negative owner": header(b"a", owner=-1, user=b"") + END,
    "pax owner": pax({b"uid": b"1234", b"uname": b"daemon"}) + header(b"a") + END,
    "negative mtime": header(b"a", mtime=-1) + END,
    "mtime after the end of time": header(b"a", mtime=2**70) + END,
    "pax mtime of no number": pax({b"mtime": b"nan"}) + header(b"a") + END,
    "pax mtime without end": pax({b"mtime": b"inf"}) + header(b"a") + END,
    "pax mtime of words": pax({b"mtime": b"yesterday"}) + header(b"a") + END,
    "capabilities": pax({b"SCHILY.xattr.security.capability": b"\1\0\0\2" + b"\xff" * 16}) + header(b"a") + END,
    "user attribute": pax({b"SCHILY.xattr.user.mime": b"text/plain"}) + header(b"a") + END,
    "access list": pax({b"SCHILY.acl.access": b"user::rw-,user:daemon:rwx,group::---,other::---"}) + header(b"a") + END,
}

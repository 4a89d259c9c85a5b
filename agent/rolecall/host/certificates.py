"""A machine's own certificate authority, and the certificate that its server shows, made by `openssl`.

Nobody else is told a key. What others have to know of it is the authority's certificate, which never changes; what it
signs may change at any time. Why: docs/decisions/0055-each-server-is-its-own-authority.md.
"""

import base64
import re
import time
from pathlib import Path

from rolecall.forms.quoting import pem
from rolecall.host import files, programs
from rolecall.host.selinux import relabel

_AUTHORITY_DAYS = 20 * 365
_DAYS = 365
_AHEAD = 60 * 86400  # seconds before its end at which another one is signed
_FORM = """\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = {name}
[extensions]
"""
_AUTHORITY = """\
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
"""
_SERVER = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:{address}
"""


class Certificates:
    """The folder of a machine's keys and certificates, below the state folder: it outlives generations."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "certificates"
        self.authority = self.folder / "authority.pem"
        self.server = self.folder / "server.pem"
        self._authority_key, self._server_key = self.folder / "authority.key", self.folder / "server.key"

    def ensure(self, name: str, address: str, uid: int) -> str:
        """Make what is missing, and sign another certificate where clients would soon refuse the one that is there.

        `address`: by which clients reach the server. `uid`: of its account, which alone reads its key. Returns why
        clients will refuse even the new one; '' if they will not. Raises HostFault.
        """
        files.make_folders(self.folder)
        if not self.authority.exists():
            self._ensure_key(self._authority_key)
            form = _FORM.format(name=f"authority of {name}") + _AUTHORITY
            argv = ("-key", str(self._authority_key), "-days", str(_AUTHORITY_DAYS))
            files.replace(self.authority, self._signed(form, argv), 0o644)
        self._ensure_key(self._server_key, uid)
        if not self._refusal(address):
            return ""
        form = _FORM.format(name=name) + _SERVER.format(address=address)
        authority = ("-CA", str(self.authority), "-CAkey", str(self._authority_key))
        certificate = self._signed(form, (*authority, "-key", str(self._server_key), "-days", str(_DAYS)))
        files.replace(self.server, certificate, 0o644)
        relabel(self.folder)
        return self._refusal(address)

    def public(self) -> str:
        """The authority's certificate, as the document has it: DER in Base64. Raises HostFault."""
        return base64_of(files.read(self.authority) or b"")

    def trust(self, server: str, certificate: str) -> Path:
        """The file by which a client knows another server; `certificate`: as the document has it."""
        path = self.folder / "trusted" / f"{server}.pem"
        data = f"{pem(certificate)}\n".encode()
        if files.read(path) != data:
            files.make_folders(path.parent)
            files.replace(path, data, 0o644)
            relabel(self.folder)
        return path

    def _ensure_key(self, path: Path, uid: int = -1) -> None:
        """Make a key where there is none, or another account's. What was signed for the one before is removed first."""
        key = (files.read(path) or b"").decode("ascii", "replace")
        if _pem_block("PRIVATE KEY", key) and uid in (-1, path.stat().st_uid):
            return
        files.remove(self.server)
        argv = ("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        files.replace(path, _block("PRIVATE KEY", programs.run_checked(argv).output), 0o600, uid)

    def _signed(self, form: str, argv: tuple[str, ...]) -> bytes:
        """A certificate in PEM. Raises HostFault."""
        result = programs.run(
            ("openssl", "req", "-x509", "-sha256", "-config", "/dev/stdin", *argv), stdin=form.encode()
        )
        if not result.ok:
            raise result.fault(
                f"openssl does not sign a certificate for the database server: {result.tail}",
                f"is {self._authority_key} damaged? Move {self.folder} away: the next run makes another authority, and "
                "`rolecall fleet certificates` takes it into the document if you name this server",
            )
        return _block("CERTIFICATE", result.output)

    def _refusal(self, address: str) -> str:
        """Why a client would refuse the server's certificate some time before its end; '' if none would."""
        when = str(int(time.time() + _AHEAD))
        argv = ("openssl", "verify", "-CAfile", str(self.authority), "-attime", when, "-verify_ip", address)
        result = programs.run((*argv, str(self.server)))
        return "" if result.ok else result.tail


def base64_of(data: bytes) -> str:
    """The first certificate of a PEM file in one line; '' where there is none."""
    match = re.search(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END", data)
    return base64.b64encode(base64.b64decode(match[1])).decode() if match else ""


def _block(label: str, output: str) -> bytes:
    """What openssl has written, without whatever it says beside it."""
    block = _pem_block(label, output)
    assert block
    return block.encode()


def _pem_block(label: str, text: str) -> str:
    """The first block of a PEM file; '' where there is none."""
    match = re.search(rf"-----BEGIN {label}-----.*?-----END {label}-----\n", text, re.DOTALL)
    return match[0] if match else ""

"""A machine's own authority: what it signs is signed anew in time, and what the document has of it never changes."""

import subprocess
from pathlib import Path

import pytest

from rolecall.errors import HostFault
from rolecall.host.certificates import Certificates

ADDRESS = "10.0.0.21"


def ensured(folder: Path, address: str = ADDRESS) -> Certificates:
    certificates = Certificates(folder)
    assert certificates.ensure("db1", address, -1) == ""
    return certificates


def accepts(certificates: Certificates, address: str) -> bool:
    """Whether a client that trusts the authority takes the server for the one at this address."""
    argv = ["openssl", "verify", "-CAfile", str(certificates.authority), "-verify_ip", address]
    return subprocess.run([*argv, str(certificates.server)], capture_output=True).returncode == 0


def short(certificates: Certificates, days: int, *signer: str) -> None:
    """A certificate that ends soon, in the place of the server's, or without a signer in that of the authority."""
    target = certificates.server if signer else certificates.authority
    key = certificates.folder / f"{target.stem}.key"
    extensions = [f"subjectAltName=IP:{ADDRESS}"] if signer else ["basicConstraints=critical,CA:TRUE"]
    argv = ["openssl", "req", "-x509", "-key", str(key), "-days", str(days), "-subj", f"/CN={target.stem}", *signer]
    subprocess.run([*argv, "-addext", *extensions, "-out", str(target)], check=True, capture_output=True)


def test_each_folder_has_keys_of_its_own_for_nobody_else_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    certificates = ensured(tmp_path)
    content = {path: path.read_bytes() for path in certificates.folder.iterdir()}
    assert {path.stat().st_mode & 0o777 for path in content if path.suffix == ".key"} == {0o600}
    assert accepts(certificates, ADDRESS)
    assert not accepts(certificates, "10.0.0.22")
    ensured(tmp_path)
    assert {path: path.read_bytes() for path in certificates.folder.iterdir()} == content
    assert ensured(tmp_path / "other").public() != certificates.public()


def test_another_address_and_an_end_that_is_near_are_no_reason_to_publish_anything(tmp_path: Path) -> None:
    certificates = ensured(tmp_path)
    public = certificates.public()
    ensured(tmp_path, "fd00::21")
    assert accepts(certificates, "fd00::21")
    signer = ("-CA", str(certificates.authority), "-CAkey", str(certificates.folder / "authority.key"))
    short(certificates, 59, *signer)
    ending = certificates.server.read_bytes()
    ensured(tmp_path)
    assert certificates.server.read_bytes() != ending
    assert certificates.public() == public


def test_an_authority_that_ends_itself_is_told_in_time(tmp_path: Path) -> None:
    certificates = ensured(tmp_path)
    short(certificates, 59)
    assert "certificate has expired" in certificates.ensure("db1", ADDRESS, -1)


def test_a_damaged_key_of_the_server_is_made_anew_and_that_of_the_authority_only_by_a_person(tmp_path: Path) -> None:
    certificates = ensured(tmp_path)
    public = certificates.public()
    (certificates.folder / "server.key").write_bytes(b"")
    ensured(tmp_path)
    of_certificate, of_key = (
        subprocess.run(["openssl", *words], cwd=certificates.folder, capture_output=True, check=True).stdout
        for words in (["x509", "-in", "server.pem", "-noout", "-pubkey"], ["pkey", "-in", "server.key", "-pubout"])
    )
    assert of_certificate == of_key
    (certificates.folder / "authority.key").write_bytes(b"")
    ensured(tmp_path)
    with pytest.raises(HostFault, match="does not sign") as fault:
        certificates.ensure("db1", "10.0.0.99", -1)
    assert "Move" in fault.value.hint
    assert certificates.public() == public

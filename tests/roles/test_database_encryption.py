"""Connections to database servers: encrypted from the first boot, and once the document has the servers' certificates,
whoever answers in the place of one is refused.
"""

import getpass
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import program
from box import Box
from database_fleet import ADDRESSES, APP, Fleet
from database_fleet import template as template  # noqa: PLC0414 - a fixture
from database_servers import SERVER
from patience import wait_until
from rolecall.forms.quoting import sql
from rolecall.host.certificates import Certificates

SERVERS = ("db1", "db2", "db4")


@pytest.fixture(scope="module")
def fleet(template: Path) -> Iterator[Fleet]:
    """Master, candidate and snapshot server, and a web server that is not started."""
    folder = Path(tempfile.mkdtemp(prefix="rc-"))
    folder.chmod(0o755)
    servers = Fleet(folder)
    servers.document["databases"]["blog"]["replicas"] = ["db5"]
    servers.install(template)
    servers.publish()
    try:
        servers.settle(*SERVERS)
        yield servers
    finally:
        servers.stop()
        shutil.rmtree(folder)


def report(fleet: Fleet, name: str) -> Any:
    return json.loads((fleet.nodes[name].machine.store / f"reports/{name}.json").read_text())


def channel(fleet: Fleet, name: str) -> tuple[str, ...]:
    """How a server is connected to its upstream: whether encrypted, verified, at all."""
    argv = [SERVER.client, "--no-defaults", f"--socket={fleet.socket(name)}", "--user=root", "--batch"]
    asked, columns = SERVER.dialect.replica_status, SERVER.dialect.status_columns
    told = subprocess.run(argv, input=asked, capture_output=True, text=True, check=True).stdout
    status = dict(zip(*(line.split("\t") for line in told.splitlines()), strict=True))
    return tuple(status[column] for column in (columns.encrypted, columns.verified, columns.receiver))


VERIFIED = ("Yes", "Yes", "Yes")
ENCRYPTED = ("Yes", "No", "Yes")
PLAIN = ("No", "No", "Yes")


def certificates(fleet: Fleet, *servers: str, ok: int = 0) -> str:
    """`fleet certificates` with the reports of all servers in one store; the document has the result."""
    store, file = fleet.folder / "operator", fleet.folder / "fleet.json"
    for name in SERVERS:
        (store / "reports").mkdir(parents=True, exist_ok=True)
        shutil.copy(fleet.nodes[name].machine.store / f"reports/{name}.json", store / "reports")
    file.write_text(json.dumps(fleet.document, indent=2))
    words = ("fleet", "certificates", str(file), *servers, "--store", f"file://{store}")
    done = program.rolecall(words, {**os.environ, "NO_COLOR": "1"}, 60)
    assert done.returncode == ok, done.stdout + done.stderr
    fleet.document |= json.loads(file.read_text())
    return done.stdout


def certify(fleet: Fleet) -> None:
    """The document has the certificates of all servers that are there, and everybody has read it."""
    certificates(fleet, ok=75)  # db5 is only in the document
    fleet.publish()
    fleet.follow(*SERVERS)


@contextmanager
def sniffed() -> Iterator[bytearray]:
    """All that goes over loopback meanwhile."""
    captured, over = bytearray(), threading.Event()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3)) as packets:
        packets.bind(("lo", 0))
        packets.settimeout(0.1)

        def listen() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    captured.extend(packets.recv(1 << 16))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield captured
        finally:
            over.set()
            thread.join()


def overheard(fleet: Fleet, key: str) -> bool:
    """Whether who only listens reads a row on its way to the replicas."""
    with sniffed() as captured:
        fleet.sql("db1", f"INSERT INTO blog.t (k) VALUES ('{key}')")
        fleet.arrives("db1", "db2", "db4")
    assert len(captured) > 1000
    return key.encode() in captured


def showing(certificates: Certificates) -> tuple[str, ...]:
    """A daemon's options."""
    return f"--ssl-cert={certificates.server}", f"--ssl-key={certificates.folder}/server.key"


@contextmanager
def impostor(fleet: Fleet, template: Path, options: tuple[str, ...]) -> Iterator[None]:
    """A server in the place of db1."""
    data = fleet.folder / "impostor"
    shutil.copytree(template, data)
    server = subprocess.Popen(
        [SERVER.daemon, "--no-defaults", f"--datadir={data}", f"--socket={data}/sock", f"--port={fleet.port}",
         f"--bind-address={ADDRESSES['db1']}", f"--user={getpass.getuser()}", f"--pid-file={data}/pid",
         f"--log-error={data}/log", "--server-id=1", "--log-bin", *SERVER.options, *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        argv = [*SERVER.admin, f"--socket={data}/sock", "--execute=SELECT 1"]
        wait_until(lambda: subprocess.run(argv, capture_output=True).returncode == 0, "it answers")
        yield
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(data)


def as_product(fleet: Fleet, web: Box, *options: str) -> "subprocess.CompletedProcess[str]":
    """What a product's job does with the option file that it is given."""
    config = web.state / "current/mysql/blog.cnf"
    argv = ["mariadb", f"--defaults-file={config}", "--batch", "--skip-column-names", *options]
    return subprocess.run(argv, input="SHOW STATUS LIKE 'Ssl_cipher'", capture_output=True, text=True)


def test_from_the_first_boot_nobody_can_overhear_and_reports_say_that_nobody_is_verified(fleet: Fleet) -> None:
    for server in fleet.document["servers"].values():
        server.pop("certificate", None)
    fleet.become(tls="on")
    fleet.follow(*SERVERS)
    assert [channel(fleet, name) for name in ("db2", "db4")] == [ENCRYPTED, ENCRYPTED]
    assert not overheard(fleet, "one-to-nobody-else")
    for name in SERVERS:
        assert "no certificate of db1, db2, db5, db4" in " ".join(report(fleet, name)["warnings"])
        key = fleet.nodes[name].state / "certificates/authority.key"
        assert key.stat().st_mode & 0o777 == 0o600
        assert "PRIVATE KEY" not in json.dumps(report(fleet, name))


def test_once_the_document_has_the_certificates_whoever_answers_in_a_servers_place_is_refused(
    fleet: Fleet, template: Path
) -> None:
    certify(fleet)
    assert [channel(fleet, name) for name in ("db2", "db4")] == [VERIFIED, VERIFIED]
    assert not overheard(fleet, "two-to-nobody-else")
    own = Certificates(fleet.folder / "impostors")
    own.ensure("db1", ADDRESSES["db1"], -1)
    shown, stolen = map(showing, (own, Certificates(fleet.nodes["db4"].state)))
    fleet.kill("db1")
    try:
        for options in (shown, stolen, SERVER.without_tls):
            with impostor(fleet, template, options):
                wait_until(lambda: "2026" in fleet.sql("db2", SERVER.dialect.replica_status), "it is refused")
                assert "SSL connection error" in fleet.nodes["db4"].rolecall("selftest", ok=1).stdout
    finally:
        fleet.start("db1")
        fleet.follow("db1", "db2", "db4")
    assert channel(fleet, "db2") == VERIFIED


def test_a_renewed_certificate_is_shown_without_a_restart_and_nobody_has_to_publish(fleet: Fleet) -> None:
    certify(fleet)
    pid, folder = fleet.pid("db1"), fleet.nodes["db1"].state / "certificates"
    before = (folder / "server.pem").read_bytes()
    other = Certificates(fleet.folder / "other")
    other.ensure("db1", "10.9.9.9", -1)  # as if its address had been another one until now
    (folder / "server.pem").write_bytes(other.server.read_bytes())
    fleet.publish()
    fleet.follow("db1")
    assert (folder / "server.pem").read_bytes() not in (before, other.server.read_bytes())
    fleet.sql("db2", f"{SERVER.dialect.stop_receiver}; {SERVER.dialect.resume}")
    wait_until(lambda: channel(fleet, "db2") == VERIFIED, "it connects anew")
    shown = subprocess.run(
        ["openssl", "s_client", "-starttls", "mysql", "-connect", f"{ADDRESSES['db1']}:{fleet.port}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert (folder / "server.pem").read_text() in shown
    assert fleet.pid("db1") == pid
    assert report(fleet, "db1")["certificate"] == fleet.document["servers"]["db1"]["certificate"]


def test_a_server_that_still_runs_as_before_an_upgrade_is_followed_and_reports_no_certificate(fleet: Fleet) -> None:
    for server in fleet.document["servers"].values():
        server.pop("certificate", None)
    fleet.become(tls="on")
    fleet.follow(*SERVERS)
    cnf = fleet.nodes["db1"].state / "current/mysql/server.cnf"
    text = cnf.read_text()
    fleet.kill("db1")
    cnf.write_text("".join(line for line in text.splitlines(keepends=True) if not line.startswith("ssl-")))
    fleet.start("db1")
    cnf.write_text(text)
    fleet.follow("db1", "db2", "db4")
    assert "certificates" not in fleet.sql("db1", "SELECT @@ssl_cert")
    assert "not encrypted until somebody restarts it" in " ".join(report(fleet, "db1")["warnings"])
    assert "db1     -" in certificates(fleet, ok=75)
    fleet.arrives("db1", "db2", "db4")
    fleet.kill("db1")
    fleet.start("db1")
    fleet.follow("db1", "db2", "db4")
    assert report(fleet, "db1")["certificate"]
    assert not overheard(fleet, "three-to-nobody-else")


def test_off_is_what_it_says_and_every_report_says_it(fleet: Fleet, box: Box) -> None:
    fleet.become(tls="off")
    fleet.follow(*SERVERS)
    assert [channel(fleet, name) for name in ("db2", "db4")] == [PLAIN, PLAIN]
    assert overheard(fleet, "four-to-everybody")
    words = "nothing that goes to or from servers of blog is encrypted: databases.blog.tls is 'off'"
    for name in SERVERS:
        assert words in report(fleet, name)["warnings"]
    box.document["databases"]["blog"]["tls"] = "off"
    box.product("blog", runtime="static", databases=["blog"])
    box.publish()
    box.boot()
    assert words in box.json("status")["last_run"]["warnings"]
    assert "skip-ssl" in (box.state / "current/mysql/blog.cnf").read_text()


def test_a_product_knows_the_servers_of_its_database_by_a_file_and_is_sent_to_none_that_it_cannot_know(
    fleet: Fleet, box: Box, template: Path
) -> None:
    fleet.become(tls="on")
    fleet.follow(*SERVERS)
    certify(fleet)
    database = {**fleet.document["databases"]["blog"], "replicas": ["db4", "db5"], "snapshot": None}
    box.document |= {"databases": {"blog": database}, "servers": {**fleet.document["servers"]}}
    box.document["servers"]["web1"]["products"] = []
    secret = {"DB_PASSWORD": f"file:{fleet.folder}/app"}
    box.product("blog", databases=["blog"], caches=[], secrets=secret)
    box.publish()
    box.boot(ok=False)
    vhost = (box.state / "current/apache/50-blog.conf").read_text()
    assert f'SetEnv DATABASE_BLOG_REPLICAS "{ADDRESSES["db4"]}:{fleet.port}"' in vhost
    assert f'SetEnv DATABASE_BLOG_CA "{box.state}/current/mysql/blog.pem"' in vhost
    own = Certificates(fleet.folder / "impostors")
    own.ensure("db1", ADDRESSES["db1"], -1)
    fleet.sql("db1", f"CREATE USER 'p-blog'@'127.0.0.1' IDENTIFIED BY {sql(APP)}")  # whose address this is
    assert "TLS_" in as_product(fleet, box).stdout, as_product(fleet, box).stderr
    fleet.kill("db1")
    try:
        for options in (showing(own), SERVER.without_tls):
            with impostor(fleet, template, options):
                done = as_product(fleet, box)
                assert "ERROR 2026" in done.stderr
                assert done.stdout == ""
    finally:
        fleet.start("db1")
        fleet.follow("db1", "db2")


def test_a_certificate_of_the_document_is_replaced_only_by_name(fleet: Fleet) -> None:
    certify(fleet)
    db2 = fleet.document["servers"]["db2"]
    reported, db2["certificate"] = db2["certificate"], fleet.document["servers"]["db4"]["certificate"]
    assert "is another one than the document's" in certificates(fleet, ok=1)
    assert fleet.document["servers"]["db2"]["certificate"] != reported
    assert "replaced" in certificates(fleet, "db2", ok=75)
    assert fleet.document["servers"]["db2"]["certificate"] == reported

"""Reports reach every store that is there, and the others once they are there again."""

import json
from pathlib import Path

import pytest

from contract.conftest import Cloud
from reporters import notice
from rolecall.errors import FetchFault
from rolecall.node.node import Node, open_node
from rolecall.node.outbox import Outbox
from rolecall.readiness import open_reporter
from rolecall.report import Report
from rolecall.settings import Aws, Network, Paths, Settings, Trust
from servers.mirror import Mirror
from servers.s3 import AccessKey, S3Server
from servers.tls import Authority

REPORT = "reports/web1.json"


class Site:
    """A node with a bucket, a mirror and a folder; `node` opens it as each run does."""

    def __init__(self, folder: Path, cloud: Cloud, mirror: Mirror, authority: Authority) -> None:
        self.folder, self.cloud, self.mirror, self.ca = folder, cloud, mirror, str(authority.file)
        self.s3, self.https, self.file = cloud.url(), f"{mirror.url}/fleet", f"file://{folder}/store"
        (folder / "store").mkdir()

    def node(self, *stores: str) -> Node:
        network = Network(ca=self.ca, timeout=5.0)
        paths = Paths(state=f"{self.folder}/state", run=f"{self.folder}/run")
        return open_node(
            Settings(
                role="web",
                platform="debian",
                store=stores or (self.s3, self.https, self.file),
                trust=Trust(unsigned=True),
                paths=paths,
                network=network,
                aws=Aws(imds=(self.cloud.imds.url,)),
            )
        )

    def outbox(self, *stores: str) -> Outbox:
        """Of another run."""
        return Outbox(self.node(*stores))

    def have(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """The report as each of the three has it."""
        path = self.folder / "store" / REPORT
        found = path.read_bytes() if path.exists() else None
        return self.cloud.s3.objects.get(("bucket", f"fleet/{REPORT}")), self.mirror.read(f"fleet/{REPORT}"), found

    def waiting(self) -> dict[str, dict[str, str]]:
        """What is left on disk."""
        path = self.folder / "state" / "outbox.json"
        stores: dict[str, dict[str, str]] = json.loads(path.read_text())["stores"] if path.exists() else {}
        return stores


@pytest.fixture
def site(tmp_path: Path, cloud: Cloud, mirror: Mirror, authority: Authority) -> Site:
    return Site(tmp_path, cloud, mirror, authority)


def test_a_report_goes_to_every_store(site: Site) -> None:
    site.outbox().put(REPORT, b"1")
    assert site.have() == (b"1", b"1", b"1")
    assert site.waiting() == {}


def test_the_store_reporter_writes_to_all_of_them(site: Site) -> None:
    report = Report("boot", server="web1", outcome="ready", exit_code=0)
    open_reporter("store").tell(notice(report, site.outbox()))
    for data in site.have():
        assert json.loads(data or b"")["outcome"] == "ready"


def test_with_one_store_out_the_others_have_it_at_once_and_that_one_later(site: Site) -> None:
    site.cloud.s3.stop()
    outbox = site.outbox()
    outbox.put(REPORT, b"1")
    assert site.have() == (None, b"1", b"1")
    outbox.flush()
    assert site.have() == (None, b"1", b"1")
    (waiting,) = site.waiting()
    assert waiting.startswith("s3://bucket/fleet")
    site.outbox().put(REPORT, b"2")
    site.cloud.s3.start()
    site.outbox().flush()
    assert site.have() == (b"2", b"2", b"2")
    assert site.waiting() == {}
    puts = [one for one in site.cloud.s3.requests if one.method == "PUT"]
    assert len(puts) == 1, "the last version, and no other"


def test_the_next_report_takes_along_what_waited(site: Site) -> None:
    site.cloud.s3.stop()
    site.outbox().put("reports/old-name.json", b"1")
    site.cloud.s3.start()
    site.outbox().put(REPORT, b"2")
    assert site.cloud.s3.get("bucket", "fleet/reports/old-name.json") == b"1"
    assert site.have() == (b"2", b"2", b"2")
    assert site.waiting() == {}


def test_with_all_stores_out_every_cause_is_told_and_nothing_is_lost(site: Site) -> None:
    site.cloud.s3.stop()
    site.mirror.stop()
    (site.folder / "store").rename(site.folder / "elsewhere")
    with pytest.raises(FetchFault) as told:
        site.outbox().put(REPORT, b"1")
    assert told.value.cause == "unreachable"
    for url in ("s3://bucket/fleet", site.https, f"{site.folder}/store"):
        assert url in told.value.message
    assert len(site.waiting()) == 3
    site.cloud.s3.start()
    site.mirror.start()
    (site.folder / "elsewhere").rename(site.folder / "store")
    site.outbox().flush()
    assert site.have() == (b"1", b"1", b"1")
    assert site.waiting() == {}


def test_a_store_that_was_out_in_this_run_is_not_asked_again(site: Site) -> None:
    site.mirror.fault(503)
    outbox = site.outbox(site.https, site.file)
    for data in (b"1", b"2", b"3"):
        outbox.put(REPORT, data)
    outbox.flush()
    assert len(site.mirror.requests) == 1
    assert site.have()[2] == b"3"
    site.mirror.heal()
    site.outbox(site.https, site.file).flush()
    assert site.have()[1] == b"3"


def test_flushing_says_nothing_while_a_store_is_out(site: Site) -> None:
    site.mirror.stop()
    site.outbox(site.https, site.file).put(REPORT, b"1")
    site.outbox(site.https, site.file).flush()
    assert [*site.waiting()] == [site.https]


def test_nothing_is_asked_where_nothing_waits(site: Site) -> None:
    site.outbox().flush()
    assert not site.mirror.requests
    assert not site.cloud.s3.requests
    assert not (site.folder / "state").exists()


def test_what_waits_is_bounded_and_the_newest_stay(site: Site) -> None:
    site.mirror.stop()
    for n in range(20):
        site.outbox(site.https, site.file).put(f"reports/name-{n}.json", b"x" * 1000)
    waiting = site.waiting()[site.https]
    assert len(waiting) < 18
    assert "reports/name-19.json" in waiting
    assert (site.folder / "state" / "outbox.json").stat().st_size < 100_000


def test_what_was_written_again_is_the_newest(site: Site) -> None:
    """Else the report of today would go, and those of former names stay."""
    site.mirror.stop()
    site.outbox(site.https, site.file).put(REPORT, b"old")
    for n in range(20):
        site.outbox(site.https, site.file).put(f"reports/name-{n}.json", b"x")
        site.outbox(site.https, site.file).put(REPORT, b"new")
    site.mirror.start()
    site.outbox(site.https, site.file).flush()
    assert site.have()[1] == b"new"


def test_what_waits_can_be_read_by_the_agent_only(site: Site) -> None:
    site.mirror.stop()
    site.outbox(site.https, site.file).put(REPORT, b"1")
    assert (site.folder / "state" / "outbox.json").stat().st_mode & 0o777 == 0o600


def test_a_mirror_that_takes_nothing_is_not_waited_for(site: Site) -> None:
    site.mirror.read_only = True
    site.outbox(site.https, site.file).put(REPORT, b"1")
    assert site.have() == (None, None, b"1")
    assert site.waiting() == {}
    site.outbox(site.https, site.file).flush()
    assert [one.method for one in site.mirror.requests] == ["PUT"]


def test_a_store_that_is_no_longer_named_is_forgotten(site: Site) -> None:
    site.mirror.stop()
    site.outbox(site.https, site.file).put(REPORT, b"1")
    assert site.https in site.waiting()
    site.outbox(site.file).flush()
    assert site.waiting() == {}
    site.mirror.start()
    site.outbox(site.https, site.file).flush()
    assert site.have() == (None, None, b"1")


def test_an_object_that_a_store_refuses_keeps_no_other_back(site: Site) -> None:
    """A node that has got another name may no longer be allowed to write under its old one."""
    site.cloud.s3.stop()
    site.outbox(site.s3, site.file).put("reports/old-name.json", b"1")
    site.cloud.s3.keys["ASIA1"] = AccessKey("secret-1", "token-1", allowed=[("PutObject", f"bucket/fleet/{REPORT}")])
    site.cloud.s3.start()
    site.outbox(site.s3, site.file).put(REPORT, b"2")
    assert site.have()[0] == b"2"


def test_two_stores_of_the_same_bucket_at_two_endpoints_both_have_it(site: Site) -> None:
    with S3Server(site.cloud.s3.buckets, site.cloud.s3.keys) as second:
        stores = (site.s3, site.cloud.url(endpoint=second.url))
        site.outbox(*stores).put(REPORT, b"1")
        assert (site.have()[0], second.get("bucket", f"fleet/{REPORT}")) == (b"1", b"1")
        site.cloud.s3.stop()
        site.outbox(*stores).put(REPORT, b"2")
        assert second.get("bucket", f"fleet/{REPORT}") == b"2"
        site.cloud.s3.start()
        site.outbox(*stores).flush()
        assert site.have()[0] == b"2"


@pytest.mark.parametrize(
    "note", ["", "{", "[]", '{"https://x": 5}', '{"https://x": {"k": 5}}', '{"URL": {"k": 5}}', '{"URL": {"k": "%%%"}}']
)
def test_a_note_that_cannot_be_read_is_never_worth_failing_for(site: Site, note: str) -> None:
    (site.folder / "state").mkdir()
    (site.folder / "state" / "outbox.json").write_text(note.replace("URL", site.https))
    site.outbox().flush()
    site.outbox().put(REPORT, b"1")
    assert site.have() == (b"1", b"1", b"1")

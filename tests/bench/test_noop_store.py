"""The common run where the document is in a store: one small request, answered "not modified", and nothing more."""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.test_noop import ALLOWED, cpu, everything, modules
from box import ROLECALL, Box
from patience import ends_within, on_this_machine
from rolecall.shortcut.request import unchanged
from rolecall.shortcut.stamps import holds
from servers.imds import Imds
from servers.mirror import Mirror
from servers.s3 import AccessKey, S3Server
from servers.tls import Authority

HEAVY = set(
    "boto3 botocore requests urllib3 jinja2 pydantic rich psutil logging asyncio json email http.client".split()
)
OURS = ALLOWED | {"rolecall.aws", "rolecall.aws.signer", "rolecall.shortcut.request"}
KEY_ID, SECRET, TOKEN = "ASIANODE", "secret-of-the-node", "token-of-the-node"
DOCUMENT = "/fleet/prod/fleet.json"
# What boto3 does to ask the same.
BOTO3 = """
import sys, boto3
from botocore.config import Config
from botocore.exceptions import ClientError
url, ca, key_id, secret, token = sys.argv[1:]
config = Config(s3={"addressing_style": "path"}, response_checksum_validation="when_required", proxies={})
s3 = boto3.client("s3", region_name="us-east-1", endpoint_url=url, config=config, verify=ca, aws_access_key_id=key_id,
                  aws_secret_access_key=secret, aws_session_token=token)
try:
    s3.get_object(Bucket="fleet", Key="prod/fleet.json", IfNoneMatch=ETAG)
except ClientError as error:
    assert error.response["Error"]["Code"] == "304"
else:
    raise SystemExit("changed")
"""


class Node:
    """A node on a fake EC2 that has booted from a store of one kind."""

    def __init__(self, kind: str, folder: Path, stack: ExitStack) -> None:
        folder.chmod(0o755)
        self.kind = kind
        self.authority = Authority(folder)
        context = self.authority.context() if kind in ("s3 over TLS", "https") else None
        self.imds = stack.enter_context(Imds())
        self.imds.role("node", KEY_ID, SECRET, TOKEN)
        key = AccessKey(SECRET, token=TOKEN)
        self.s3 = stack.enter_context(S3Server({"fleet": "us-east-1"}, {KEY_ID: key}, context=context))
        self.mirror = stack.enter_context(Mirror(context=context))
        self.server = self.mirror if kind == "https" else self.s3
        self.box = Box(folder, settings=f"""
[network]
ca = "{self.authority.file}"
[aws]
imds = ["{self.imds.url}"]
region = "us-east-1"
[aws.endpoints]
s3 = "{self.s3.url}"
""")  # fmt: skip
        stack.callback(self.box.stop)
        self.box.env = {name: value for name, value in self.box.env.items() if not name.lower().endswith("_proxy")}
        self.box.env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
        stores = {"file": f"file://{self.box.machine.store}", "https": f"{self.mirror.url}/fleet/prod"}
        self.edit(r'store = \[".*"\]', f'store = ["{stores.get(kind, "s3://fleet/prod")}"]')
        self.edit("identity = .*", 'identity = ["ec2"]')
        self.box.document["servers"]["web1"]["instance"] = self.imds.meta["instance-id"]
        self.box.product("video", runtime="static")
        self.publish()
        self.box.boot()

    def edit(self, old: str, new: str) -> None:
        """Change agent.toml."""
        config = self.box.machine.config
        config.write_text(re.sub(old, new, config.read_text()))

    def publish(self) -> None:
        """Write the document and the releases into the store."""
        self.box.publish()
        for path in self.box.machine.store.rglob("*"):
            key = f"prod/{path.relative_to(self.box.machine.store)}"
            if path.is_file() and self.kind == "https":
                self.mirror.write(f"fleet/{key}", path.read_bytes())
            elif path.is_file():
                self.s3.put("fleet", key, path.read_bytes())

    def refresh(self, ok: bool | int = True) -> str:
        """What a refresh says; '' if nothing had moved."""
        done = self.box.rolecall("refresh", ok=ok)
        return done.stdout + done.stderr

    def asked(self) -> list[tuple[str, str, int]]:
        """Method, path and status of each request to the stores since the last look."""
        found = [(one.method, one.path, one.status) for one in self.s3.requests]
        found += [(one.method, one.path, one.status) for one in self.mirror.requests]
        self.s3.requests.clear()
        self.mirror.requests.clear()
        return found

    def told(self) -> list[str]:
        """What the metadata service was asked since the last look."""
        found = [one.path for one in self.imds.requests]
        self.imds.requests.clear()
        return found

    def used(self) -> str:
        """The key that a refresh without news asks with."""
        assert self.refresh() == ""
        return str(re.findall("Credential=([^/]*)", self.s3.requests[-1].headers["Authorization"])[0])

    def new_key(self) -> str:
        """Another key for the role of the instance."""
        name = f"ASIANODE{len(self.imds.requests)}X{len(self.s3.keys)}"
        self.s3.keys[name] = AccessKey(f"secret-of-{name}", token=TOKEN)
        self.imds.role("node", name, f"secret-of-{name}", TOKEN)
        return name

    def key_file(self, path: Path, name: str) -> None:
        """A key without a session, in a file as the AWS tools have it."""
        self.s3.keys[name] = AccessKey(f"secret-of-{name}")
        path.touch(0o600)
        path.write_text(f"[default]\naws_access_key_id = {name}\naws_secret_access_key = secret-of-{name}\n")

    def rest(self) -> None:
        """Bring it to rest, and prove it."""
        self.refresh()
        self.asked(), self.told()
        assert self.refresh() == ""
        assert self.told() == []
        assert self.asked() == ([] if self.kind == "file" else [("GET", DOCUMENT, 304)])

    @property
    def credentials(self) -> Path:
        return self.box.machine.run / "credentials"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Callable[[str], Node]]:
    """Nodes by their kind, each made once; each test leaves them well."""
    made: dict[str, Node] = {}
    with ExitStack() as stack:

        def node(kind: str) -> Node:
            if kind not in made:
                folder = Path(tempfile.mkdtemp(prefix="rc-"))
                stack.callback(shutil.rmtree, folder)
                made[kind] = Node(kind, folder, stack)
            made[kind].rest()
            return made[kind]

        yield node


@pytest.fixture(params=["s3", "s3 over TLS", "https"])
def node(request: pytest.FixtureRequest, nodes: Callable[[str], Node]) -> Node:
    """A node at rest whose document is not on its disk."""
    return nodes(request.param)


@pytest.fixture
def s3(nodes: Callable[[str], Node]) -> Node:
    """A node at rest whose document is in S3."""
    return nodes("s3")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment of the tests is."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


# --- it asks once, and does nothing --------------------------------------------------------------------------------
def test_a_refresh_without_news_asks_the_store_once_and_nobody_else(node: Node) -> None:
    for _ in range(2):
        assert node.refresh() == ""
    [asked, _] = node.server.requests
    assert node.asked() == [("GET", DOCUMENT, 304)] * 2, "by a server that checks every signature"
    assert node.told() == []
    signed = f"AWS4-HMAC-SHA256 Credential={KEY_ID}/" if node.server is node.s3 else ""
    assert asked.headers.get("Authorization", "").startswith(signed)
    assert (asked.headers.get("Authorization") is None) == (node.kind == "https"), "a mirror is told no key"
    assert asked.headers["If-None-Match"]
    assert SECRET not in str(asked.headers)


def test_a_refresh_without_news_leaves_the_whole_node_and_the_store_as_they_were(node: Node) -> None:
    root = node.box.machine.root
    parts = [root / name for name in ("etc", "run", "srv", "usr", "var/lib")]
    before, objects, files = everything(*parts), dict(node.s3.objects), dict(node.mirror.files)  # type: ignore[arg-type]
    for _ in range(2):
        assert node.refresh() == ""
    assert everything(*parts) == before
    assert (node.s3.objects, node.mirror.files) == (objects, files)


def test_a_refresh_without_news_opens_no_file_to_write_and_one_connection(node: Node) -> None:
    if not (strace := shutil.which("strace")):
        pytest.skip("strace is not installed")
    box, trace = node.box, node.box.machine.root / "var/trace"
    words = [*ROLECALL, "refresh", "--config", str(box.machine.config)]
    assert subprocess.run(words, env=box.env).returncode == 0, "its bytecode is there from now on"
    argv = [strace, "-f", "-qq", "-e", "trace=file,process,network", "-o", str(trace), *words]
    done = subprocess.run(argv, env=box.env, capture_output=True, text=True)
    if done.returncode and "ptrace" in done.stderr:
        pytest.skip(f"strace cannot trace here: {done.stderr.strip()}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    calls = trace.read_text()
    trace.unlink()
    assert not re.findall(r"^\d+ +open.*(?:O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND).*", calls, re.MULTILINE)
    changing = r"truncate|f?chmod|[lf]?chown|mk\w+|(?:sym|un)?link(?:at)?|rmdir|rename\w*|utime\w*|fork|vfork|accept4?"
    assert not re.findall(rf"^\d+ +(?:{changing})\(.*", calls, re.MULTILINE)
    assert len(re.findall(r"^\d+ +connect\(.*AF_INET.*", calls, re.MULTILINE)) == 1
    assert len(re.findall(r"^\d+ +execve\(", calls, re.MULTILINE)) == 1


def test_a_refresh_without_news_loads_nothing_heavy(node: Node) -> None:
    tell = "import sys\n{}\nprint(*sorted(sys.modules))"
    bare = modules(node.box, tell.format(""))
    loaded = modules(node.box, tell.format("from rolecall.__main__ import main\nassert main() == 0"))
    more = loaded - bare
    print(f"\n{node.kind}: {len(more)} modules more than a bare interpreter: {' '.join(sorted(more))}")
    assert not HEAVY & loaded
    assert {name for name in more if name.startswith("rolecall")} <= OURS
    assert ("ssl" in loaded) == (node.kind != "s3")
    assert "encodings.idna" not in loaded, "its tables are for names that are no store's"
    assert modules(node.box, tell.format("import rolecall.aws.s3, boto3")) >= {"boto3", "json", "urllib3"}


# --- it costs little -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["file", "s3", "s3 over TLS", "https"])
def test_a_refresh_without_news_costs_a_fraction_of_what_boto3_takes_to_ask_the_same(
    nodes: Callable[[str], Node], kind: str, record_property: Callable[[str, object], None]
) -> None:
    node = nodes(kind)
    config = str(node.box.machine.config)
    script = "import sys; from rolecall.__main__ import main; sys.exit(main())"
    ours = (sys.executable, "-c", script, "refresh", "--config", config)
    bare = (sys.executable, "-c", "pass")
    boto3: tuple[str, ...] = ()
    if kind.startswith("s3"):
        tag = (node.box.machine.run / "steady").read_text().splitlines()[1].split("\t")[4]
        asks = BOTO3.replace("ETAG", repr(tag))
        boto3 = (sys.executable, "-c", asks, node.s3.url, str(node.authority.file), KEY_ID, SECRET, TOKEN)
    spent: dict[str, list[float]] = {"refresh": [], "python -c pass": [], "boto3": []}
    for turn in range(12):
        spent["refresh"].append(cpu(node.box, *ours))
        spent["python -c pass"].append(cpu(node.box, *bare))
        if boto3 and turn % 3 == 0:
            spent["boto3"].append(cpu(node.box, *boto3))
    ratio = statistics.median(one / other for one, other in zip(spent["refresh"], spent["python -c pass"], strict=True))
    medians = {name: statistics.median(times) * 1000 for name, times in spent.items() if times}
    told = ", ".join(f"{name} {milliseconds:.1f} ms" for name, milliseconds in medians.items())
    print(f"\n{kind}: {ratio:.2f} times `python -c pass`; CPU: {told}", end="")
    record_property(f"noop ratio, {kind}", round(ratio, 3))
    assert ratio < 6
    if boto3:
        part = medians["refresh"] / medians["boto3"]
        print(f"; {part:.3f} of boto3's", end="")
        record_property(f"noop to boto3, {kind}", round(part, 3))
        assert part < 1 / 3
    print()


# --- it misses nothing ---------------------------------------------------------------------------------------------
def test_a_changed_document_is_seen_by_the_very_next_refresh(node: Node) -> None:
    node.box.document["products"]["video"]["environment"] = {"NEWS": str(node.box.document["serial"])}
    node.publish()
    assert "reload apache" in node.refresh()
    node.asked()
    assert node.refresh() == ""
    assert node.asked() == [("GET", DOCUMENT, 304)]


def test_a_server_that_sends_its_document_each_time_is_no_reason_for_a_run(node: Node) -> None:
    node.server.revalidates = False
    try:
        node.refresh()
        node.asked()
        assert node.refresh() == ""
        assert node.asked() == [("GET", DOCUMENT, 200)]
        node.box.document["products"]["video"]["environment"] = {"SENT": str(node.box.document["serial"])}
        node.publish()
        assert "reload apache" in node.refresh()
    finally:
        node.server.revalidates = True


def test_what_moves_on_the_machine_is_seen_before_the_store_is_asked(s3: Node) -> None:
    (s3.box.state / "current/apache/50-video.conf").write_text("Require all denied\n")
    assert "repaired apache/50-video.conf" in s3.refresh()
    s3.rest()


def test_a_record_whose_question_cannot_be_read_is_none(tmp_path: Path) -> None:
    config, now = tmp_path / "agent.toml", time.time()
    config.write_text(f'run = "{tmp_path}"\n')
    good = question("127.0.0.1:9")
    for wrong in (
        "aws",
        f"nobody{good}",
        "\t",
        "\t" * 6,
        "\t" * 7,
        "\t" * 8,
        f"{good}x",
        good.replace('"x"', '"x\ty"'),
        good + "\t",
    ):
        (tmp_path / "steady").write_text(f"{now - 1} {now + 60}\n{wrong}\n")
        assert not holds(str(config)), wrong
    (tmp_path / "steady").write_text(f"{now - 1} {now + 60}\n\n")
    assert holds(str(config)), "no question, where the document is a file"


def test_a_name_that_nobody_tells_holds_no_refresh_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        """As with a resolver that does not answer, whose patience is not ours."""
        answered.wait(120)
        return []

    monkeypatch.setattr("socket.getaddrinfo", slow)
    with ends_within(1):
        assert not unchanged(question("store.example.com", timeout=0.3), str(tmp_path))
    answered.set()


def question(host: str, timeout: float = 5.0) -> str:
    """As a store writes it."""
    return "\t".join(("", "http", host, DOCUMENT, '"x"', "", "", str(timeout)))


# --- the credentials that it asks with -----------------------------------------------------------------------------
def test_the_credentials_for_it_are_readable_by_root_alone_and_in_the_run_folder_only(s3: Node) -> None:
    assert s3.credentials.stat().st_mode & 0o777 == 0o600
    assert s3.credentials.read_text().splitlines()[:3] == [KEY_ID, SECRET, TOKEN]
    elsewhere = [path for path in s3.box.machine.root.rglob("*") if path.is_file() and not path.is_symlink()
                 and (SECRET.encode() in path.read_bytes() or TOKEN.encode() in path.read_bytes())]  # fmt: skip
    assert elsewhere == [s3.credentials], "a reboot empties the run folder"


def test_credentials_near_their_end_are_renewed_by_one_whole_run(s3: Node) -> None:
    new = s3.new_key()
    *same, _, end = s3.credentials.read_text().split("\n")
    s3.credentials.write_text("\n".join([*same, str(time.time() + 299), end]))
    assert "unchanged: " in s3.refresh()
    assert "/latest/meta-data/iam/security-credentials/node" in s3.told()
    lines = s3.credentials.read_text().splitlines()
    assert (lines[0], s3.credentials.stat().st_mode & 0o777) == (new, 0o600)
    assert float(lines[3]) > time.time() + 3600
    assert s3.used() == new
    assert (s3.refresh(), s3.told(), s3.asked()[-1]) == ("", [], ("GET", DOCUMENT, 304))


def test_a_key_that_is_refused_is_replaced_by_one_whole_run(s3: Node) -> None:
    s3.s3.keys.clear()
    new = s3.new_key()
    said = s3.refresh()
    assert "unchanged: " in said
    assert "degraded" not in said
    assert s3.asked()[0] == ("GET", DOCUMENT, 403)
    assert s3.used() == new


def test_credentials_from_another_place_are_used_as_soon_as_agent_toml_names_it(s3: Node) -> None:
    mine, used = s3.credentials.read_text().splitlines()[0], []
    file, config = s3.box.machine.root / "etc/rolecall/aws", s3.box.machine.config
    before = config.read_text()
    s3.key_file(file, "AKIAFILE")
    for text in (before.replace("[aws]", f'[aws]\ncredentials = "file:{file}"'), before):
        config.write_text(text)
        assert "unchanged: " in s3.refresh()
        used.append(s3.used())
    s3.credentials.unlink()
    assert used == ["AKIAFILE", mine]


def test_another_key_in_a_file_of_credentials_is_used_at_once(s3: Node) -> None:
    file, config = s3.box.machine.root / "etc/rolecall/aws", s3.box.machine.config
    before, used = config.read_text(), []
    config.write_text(before.replace("[aws]", f'[aws]\ncredentials = "file:{file}"'))
    s3.credentials.unlink()
    for key in ("AKIAONE", "AKIATWO"):
        s3.key_file(file, key)
        s3.refresh()
        used.append(s3.used())
    config.write_text(before)
    s3.credentials.unlink()
    assert used == ["AKIAONE", "AKIATWO"]


# --- when the store is out: these nodes have little patience from here on ------------------------------------------
BREAKS: dict[str, tuple[str, Callable[[Node], None]]] = {
    "denied": ("s3", lambda node: node.s3.fault(403)),
    "an error": ("s3", lambda node: node.s3.fault(500)),
    "no answer": ("s3", lambda node: node.s3.fault("hang")),
    "an error of a mirror": ("https", lambda node: node.mirror.fault(500)),
    "stopped": ("https", lambda node: node.mirror.stop()),
}


@pytest.mark.parametrize(("kind", "fail"), BREAKS.values(), ids=BREAKS)
def test_a_store_that_is_out_makes_a_refresh_the_whole_run_which_goes_on_degraded(
    nodes: Callable[[str], Node], kind: str, fail: Callable[[Node], None]
) -> None:
    node = nodes(kind)
    if "timeout" not in node.box.machine.config.read_text().partition("[network]")[2]:
        node.edit(r"\[network\]", '[network]\ntimeout = "2s"')
        node.rest()
    fail(node)
    began = time.monotonic()
    said = node.refresh()
    took = time.monotonic() - began
    node.server.heal()
    node.server.stop()
    node.server.start()
    assert "unchanged: " in said
    assert "degraded: no store answers" in said
    assert took < on_this_machine(2 + 2 + 6), "the question, the document, and what a run takes by itself"
    said = node.refresh()
    assert "unchanged: " in said
    assert "degraded" not in said

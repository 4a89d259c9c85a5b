"""The metadata service of EC2, and what it tells: every way in which it can fail has a cause, within the deadline."""

import gzip
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from contract.conftest import identify
from patience import ends_within, on_this_machine
from rolecall.aws import ec2
from rolecall.aws.imds import Imds as ImdsClient
from rolecall.errors import ConfigFault, FetchFault
from rolecall.fleet.identity import Identity
from servers.http import KINDS, Answer, Request, Server
from servers.imds import Imds

DOCUMENT = "/latest/dynamic/instance-identity/document"
TOKEN = "/latest/api/token"


class Asker:
    """An agent that asks a metadata service who it is; `root` has the firmware's words."""

    def __init__(self, imds: Imds, root: Path) -> None:
        self.imds, self.root = imds, root
        self.client = ImdsClient((imds.url,))

    def identify(self, seconds: float = 10.0) -> Identity:
        found = ec2.identify(self.client, time.monotonic() + seconds, str(self.root))
        assert found
        return found

    def refused(self, cause: str, seconds: float = 1.0) -> str:
        """The words of the fault, which has this cause and comes in time."""
        with ends_within(5 * seconds + 1), pytest.raises(FetchFault) as told:
            self.identify(seconds)
        assert told.value.cause == cause
        return f"{told.value.message}; {told.value.hint}"

    def asked(self, path: str = "", method: str = "GET") -> int:
        return sum(one.path.startswith(path) and one.method == method for one in self.imds.requests)

    def firmware(self, **words: str) -> None:
        folder = self.root / "sys/class/dmi/id"
        folder.mkdir(parents=True, exist_ok=True)
        for name, word in words.items():
            (folder / name).write_text(f"{word}\n")


@pytest.fixture
def node(imds: Imds, tmp_path: Path) -> Asker:
    return Asker(imds, tmp_path)


# Who it is


def test_the_document_tells_who_the_machine_is(node: Asker) -> None:
    found = node.identify()
    assert (found.instance, found.address) == ("i-0123456789abcdef0", "10.0.1.11")
    assert (found.zone, found.region, found.lifecycle) == ("eu-central-1a", "eu-central-1", "InService")
    assert (found.server, found.leaving, found.tags) == (None, None, {})


@pytest.mark.parametrize(
    ("zone", "region"),
    [("us-east-1-bos-1a", "us-east-1"), ("us-west-2-lax-1b", "us-west-2"), ("us-east-1-wl1-nyc-wlz-1", "us-east-1")],
)
def test_the_region_is_the_one_that_is_told_not_a_part_of_the_zone(node: Asker, zone: str, region: str) -> None:
    node.imds.data["dynamic"]["instance-identity"]["document"] |= {"availabilityZone": zone, "region": region}
    found = node.identify()
    assert (found.zone, found.region) == (zone, region)


@pytest.mark.parametrize("absent", [{}, {"privateIp": None}, {"privateIp": ""}])
def test_a_machine_in_a_subnet_of_ipv6_alone_has_its_ipv6_address(node: Asker, absent: dict[str, Any]) -> None:
    document = node.imds.data["dynamic"]["instance-identity"]["document"]
    del document["privateIp"], node.imds.meta["local-ipv4"], node.imds.meta["public-ipv4"]
    document |= absent
    assert node.identify().address == "2001:db8::11"
    del node.imds.meta["ipv6"]
    assert node.identify().address is None
    node.imds.meta["network"] = {
        "interfaces": {"macs": {node.imds.meta["mac"]: {"ipv6s": "2001:DB8::12\n2001:db8::13"}}}
    }
    assert node.identify().address == "2001:db8::12"


def test_one_token_serves_for_everything(node: Asker) -> None:
    node.identify()
    node.identify()
    assert node.asked(TOKEN, "PUT") == 1
    tokens = {one.headers["X-aws-ec2-metadata-token"] for one in node.imds.requests if one.method == "GET"}
    assert tokens == node.imds.tokens.keys()


def test_version_1_is_never_asked(node: Asker) -> None:
    node.imds.fault(404, method="PUT")
    node.refused("imds-error")
    assert node.asked() == 0, "no question without a token"


# Tags and user-data


def test_tags_tell_the_role_and_the_products(node: Asker) -> None:
    node.imds.tags({"Name": "web 1", "rolecall:role": " web ", "rolecall:products": "blog, shop"})
    assert node.identify().tags == {"rolecall:role": "web", "rolecall:products": "blog, shop"}


def test_where_tags_are_not_enabled_there_are_none(node: Asker) -> None:
    node.imds.tags(None)
    assert node.identify().tags == {}
    node.imds.tags({})
    assert node.identify().tags == {}
    node.imds.tags({"Name": "web 1", "role": "web"})
    assert node.identify().tags == {}


def test_user_data_tells_the_role_and_the_products_and_tags_win(node: Asker) -> None:
    node.imds.data["user-data"] = json.dumps({"rolecall": {"role": "web", "products": ["blog", "shop"]}})
    assert node.identify().tags == {"rolecall:role": "web", "rolecall:products": "blog,shop"}
    node.imds.tags({"rolecall:products": "video"})
    assert node.identify().tags == {"rolecall:role": "web", "rolecall:products": "video"}


def test_what_is_wrong_in_user_data_is_a_part_of_the_answer_whatever_it_is_wrapped_in(node: Asker) -> None:
    """tests/fleet/test_user_data.py has all its forms; here is that its bytes arrive as they are."""
    node.imds.data["user-data"] = gzip.compress(b'\xef\xbb\xbf{"rolecall": {"role": "web", "product": ["blog"]}}')
    node.imds.tags({"Rolecall:Products": "blog"})
    answer = node.identify()
    assert answer.mistakes == ("user-data 1:30: rolecall.product: unknown key — did you mean 'products'?",)
    assert answer.tags == {"Rolecall:Products": "blog"}


@pytest.mark.parametrize("value", ["we\x07b", "we\x85b", "x" * 9000])
def test_a_tag_that_cannot_be_one_is_refused_with_its_name(node: Asker, value: str) -> None:
    node.imds.tags({"rolecall:role": value})
    with pytest.raises(ConfigFault, match="rolecall:role"):
        node.identify()


# What is about to happen


def test_a_spot_instance_that_will_be_taken_away_says_so(node: Asker) -> None:
    node.imds.meta["spot"] = {"instance-action": {"action": "terminate", "time": "2026-01-02T03:04:05Z"}}
    assert node.identify().leaving == "the spot instance will be interrupted: terminate at 2026-01-02T03:04:05Z"


def test_a_spot_instance_at_risk_says_so_and_what_is_certain_comes_first(node: Asker) -> None:
    node.imds.meta["events"] = {"recommendations": {"rebalance": {"noticeTime": "2026-01-02T03:04:05Z"}}}
    told = node.identify().leaving
    assert told
    assert "risk of interruption" in told
    assert "2026-01-02T03:04:05Z" in told
    node.imds.meta["spot"] = {"instance-action": {"action": "stop", "time": "2026-01-02T03:04:05Z"}}
    assert "will be interrupted: stop" in (node.identify().leaving or "")


@pytest.mark.parametrize("body", [b"soon", b"{", b"[]", b'"terminate"', b"5", b"[" * 16_000])
def test_a_notice_that_cannot_be_read_is_a_notice_all_the_same(node: Asker, body: bytes) -> None:
    node.imds.fault("garbage", path_prefix="/latest/meta-data/spot", body=body)
    assert node.identify().leaving == "the spot instance will be interrupted"


@pytest.mark.parametrize("state", ["InService", "Terminated", "Warmed:Stopped", "Pending:Wait"])
def test_the_state_that_auto_scaling_wants_is_told(node: Asker, state: str) -> None:
    node.imds.meta["autoscaling"]["target-lifecycle-state"] = state
    assert node.identify().lifecycle == state


def test_a_machine_outside_of_auto_scaling_has_no_such_state(node: Asker) -> None:
    del node.imds.meta["autoscaling"]
    assert node.identify().lifecycle is None


# Tokens


def test_a_token_that_is_no_longer_good_is_replaced_once(node: Asker) -> None:
    node.identify()
    node.imds.requests.clear()
    node.imds.expire_tokens()
    assert node.identify().instance
    assert node.asked(TOKEN, "PUT") == 1
    assert node.asked(DOCUMENT) == 2


def test_a_token_that_ends_in_the_middle_is_replaced_once(node: Asker) -> None:
    node.identify()
    node.imds.requests.clear()
    answer = node.imds.answer

    def once(request: Request) -> Answer:
        if request.path == "/latest/user-data":
            node.imds.answer = answer  # type: ignore[method-assign]
            node.imds.expire_tokens()
        return answer(request)

    node.imds.answer = once  # type: ignore[method-assign]
    assert node.identify().lifecycle == "InService"
    assert node.asked(TOKEN, "PUT") == 1
    assert [one.status for one in node.imds.requests].count(401) == 1


def test_a_service_that_never_accepts_a_token_is_given_up_at_the_deadline(node: Asker) -> None:
    node.imds.fault(401, method="GET")
    assert "401" in node.refused("imds-error")
    assert node.asked(TOKEN, "PUT") < 20, "it is not asked without a pause"


@pytest.mark.parametrize("body", [b"<html>\nPlease log in</html>", b"\xff\xfe", b"a b\r\nX: y", b"\x00", b""])
def test_a_token_that_is_none_is_never_sent(node: Asker, body: bytes) -> None:
    node.imds.fault("garbage", method="PUT", body=body)
    node.refused("imds-error")
    tokens = {one.headers.get("X-aws-ec2-metadata-token") for one in node.imds.requests if one.method == "GET"}
    assert not any("<" in (token or "") for token in tokens)


# Failures


def test_a_service_that_is_switched_off_is_asked_once(node: Asker) -> None:
    node.imds.fault("off")
    words = node.refused("imds-off", 10.0)
    assert "modify-instance-metadata-options" in words
    assert len(node.imds.requests) == 1


def test_a_service_that_asks_for_a_pause_gets_it(node: Asker) -> None:
    node.imds.fault(503, path_prefix=DOCUMENT, times=1, retry_after=1)
    began = time.monotonic()
    assert node.identify().instance
    assert time.monotonic() - began >= 1
    assert node.asked(DOCUMENT) == 2


@pytest.mark.parametrize("after", ["60", "soon", "-1", "9" * 400, "Fri, 02 Jan 2099 03:04:05 GMT", "²"])
def test_a_pause_that_is_longer_than_the_deadline_or_none_at_all_is_not_waited_for(node: Asker, after: str) -> None:
    node.imds.fault(503, retry_after=after.encode().decode("latin-1"))
    assert "503" in node.refused("imds-busy")


@pytest.mark.parametrize("status", [503, 429])
def test_a_service_that_is_busy_to_the_end_is_told_so(node: Asker, status: int) -> None:
    node.imds.fault(status)
    assert "too many requests" in node.refused("imds-busy")
    assert 2 <= len(node.imds.requests) < 10, "again, with longer pauses"


def test_a_put_that_is_not_answered_is_the_hop_limit(node: Asker) -> None:
    node.imds.fault("hop-limit")
    words = node.refused("imds-hop-limit")
    assert "hop limit" in words
    assert "--http-put-response-hop-limit" in words


def test_a_service_that_answered_before_its_time_ran_out_is_slow_and_no_hop_limit(node: Asker) -> None:
    node.imds.fault("hang", method="GET")
    words = node.refused("imds-unreachable")
    assert "ran out at GET dynamic/instance-identity/document: it had answered until then" in words
    assert "boot.metadata_timeout" in words
    node.imds.heal()
    node.imds.expire_tokens()
    node.imds.fault("hang", method="PUT")
    words = node.refused("imds-unreachable")
    assert "ran out at PUT api/token: it had answered until then" in words
    assert "hop" not in words


def test_a_put_that_had_no_time_left_says_nothing_of_the_hop_limit(node: Asker) -> None:
    node.imds.fault("hop-limit")
    assert re.search(r"ran out at PUT api/token: \d+ ms were left for it", node.refused("imds-unreachable", 0.02))


def test_an_address_that_leads_nowhere_leaves_time_for_the_next_one(node: Asker) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        nowhere = f"http://127.0.0.1:{full.getsockname()[1]}"
        with socket.create_connection(full.getsockname()):  # the queue is full: nobody else is let in, or refused
            node.client = ImdsClient((nowhere, node.imds.url))
            assert node.client.get("meta-data/instance-id", time.monotonic() + on_this_machine(0.9))
            assert node.client.endpoints[0] == node.imds.url


def test_where_nobody_listens_it_is_unreachable(node: Asker, nobody: str) -> None:
    node.client = ImdsClient((nobody,))
    words = node.refused("imds-unreachable")
    assert (nobody in words, "refused" in words) == (True, True)


def test_a_service_that_hangs_is_given_up_at_the_deadline(node: Asker) -> None:
    node.identify()
    node.imds.fault("hang")
    assert node.imds.url in node.refused("imds-unreachable")


def outcome(kind: int | str, method: str, root: Path) -> str:
    """What comes of asking a service that is broken in one way, and whether the same process then goes on."""
    with Imds() as imds:
        node = Asker(imds, root)
        imds.fault(kind, method=method, seconds=0.2, size=3_000_000)
        began = time.monotonic()
        try:
            told = node.identify(0.6).instance or "nobody"
        except (FetchFault, ConfigFault) as fault:
            told = fault.cause or type(fault).__name__
        except Exception as error:  # noqa: BLE001 - shown with the others, not alone
            told = f"{type(error).__name__}!"
        told += " late" if time.monotonic() - began > on_this_machine(6) else ""
        imds.heal()
        return told if node.identify().instance == "i-0123456789abcdef0" else f"{told}, and stuck"


def test_whatever_it_does_ends_in_an_identity_or_a_fault_in_time(tmp_path: Path) -> None:
    statuses = (200, 204, 301, 302, 400, 404, 405, 418, 500, 501, 502, 504, 599)
    cases = [(kind, method) for kind in (*KINDS, *statuses) for method in ("GET", "PUT")]
    with ThreadPoolExecutor(32) as pool:
        found = dict(zip(cases, pool.map(lambda case: outcome(case[0], case[1], tmp_path), cases), strict=True))
    right = "imds-error imds-busy imds-unreachable imds-hop-limit i-0123456789abcdef0".split()
    wrong = {case: told for case, told in found.items() if told not in right}
    # A document with one wrong bit may be read all the same, or hold what no machine has.
    assert {case: told for case, told in wrong.items() if case != ("corrupt", "GET") or "!" in told} == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Please log in</html>",
        b"{",
        b"null",
        b"[]",
        b'"i-1"',
        b"5",
        b"{}",
        b'{"instanceId": null}',
        b'{"instanceId": 5}',
        b'{"region": "eu-central-1"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_document_that_cannot_be_read_is_named(node: Asker, body: bytes) -> None:
    node.imds.fault("garbage", path_prefix=DOCUMENT, body=body)
    words = node.refused("imds-error")
    assert node.imds.url in words


@pytest.mark.parametrize(
    ("key", "value"),
    [("instanceId", "i 1"), ("privateIp", "10.0.0"), ("region", "eu\ncentral"), ("region", ["x"])],
)
def test_a_document_that_holds_what_no_machine_has_is_refused_with_its_place(node: Asker, key: str, value: Any) -> None:
    node.imds.data["dynamic"]["instance-identity"]["document"][key] = value
    place = {"instanceId": "instance", "privateIp": "address"}.get(key, key)
    with pytest.raises(ConfigFault, match=place) as told:
        node.identify()
    assert "instance metadata" in told.value.message


def test_a_document_that_is_not_there_is_an_error_not_another_machine(node: Asker) -> None:
    del node.imds.data["dynamic"]
    assert "none" in node.refused("imds-error")


def test_a_redirection_is_not_followed(node: Asker) -> None:
    with Imds() as other:
        node.imds.fault(302, headers={"Location": f"{other.url}{DOCUMENT}"})
        assert "302" in node.refused("imds-error")
        assert not other.requests


# Networks


class Recorder(Server):
    """A proxy that must see nothing."""

    def answer(self, request: Request) -> Answer:
        return Answer(200, b"seen")


def test_it_is_never_asked_through_a_proxy(node: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    with Recorder() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert node.identify().instance == "i-0123456789abcdef0"
        assert not proxy.requests


def test_nothing_of_a_netrc_file_is_sent(node: Asker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    node.identify()
    assert not any("Authorization" in one.headers for one in node.imds.requests)


def test_where_the_first_address_refuses_the_second_is_asked_and_stays_the_first(node: Asker, nobody: str) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    with Imds(address="::1") as ipv6:
        node.client = ImdsClient((nobody, ipv6.url))
        assert node.identify().instance
        assert node.client.endpoints == [ipv6.url, nobody]


def test_a_service_that_comes_up_late_is_waited_for(node: Asker) -> None:
    node.imds.fault("reset", times=3)
    assert node.identify().instance


# Where it is not asked


def test_a_machine_whose_firmware_names_another_maker_is_not_on_ec2(node: Asker) -> None:
    node.firmware(sys_vendor="QEMU")
    (node.root / "identity.json").write_text('{"server": "web1"}')
    sources = ("ec2", f"file:{node.root}/identity.json")
    found = identify(sources, node.imds.url, node.root, 5)
    assert found.server == "web1"
    assert not node.imds.requests, "nothing is asked at an address that may be anybody's"


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"sys_vendor": "Amazon EC2", "product_version": ""},
        {"sys_vendor": "Xen", "bios_version": "4.11.amazon"},
        {"sys_vendor": "", "board_vendor": ""},
    ],
    ids=["no firmware to ask", "nitro", "xen", "nothing said"],
)
def test_a_service_that_does_not_answer_is_no_proof_that_this_is_not_ec2(
    node: Asker, words: dict[str, str], nobody: str
) -> None:
    node.firmware(**words)
    (node.root / "identity.json").write_text('{"server": "web1"}')
    sources = ("ec2", f"file:{node.root}/identity.json")
    with ends_within(5), pytest.raises(FetchFault) as told:
        identify(sources, nobody, node.root, 0.5)
    assert told.value.cause == "imds-unreachable"


@pytest.mark.parametrize("words", [{"sys_vendor": "Amazon EC2"}, {"sys_vendor": "Xen", "bios_version": "4.2.amazon"}])
def test_a_machine_of_amazons_asks_the_service(node: Asker, words: dict[str, str]) -> None:
    node.firmware(**words)
    assert node.identify().instance


def test_a_firmware_that_says_what_is_no_text_is_another_makers(node: Asker) -> None:
    node.firmware(sys_vendor="x")
    (node.root / "sys/class/dmi/id/sys_vendor").write_bytes(b"\xff\xfe\n")
    assert ec2.identify(node.client, time.monotonic() + 1, str(node.root)) is None

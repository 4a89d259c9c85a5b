"""What the document asks of a machine: which server it is, and what its products get."""

import json
import random
from typing import Any

import pytest

from rolecall.errors import ConfigFault
from rolecall.fleet.assignment import Assignment, assign
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import parse_fleet
from samples import GONE, assigned, edited, fleet

TAGS = {"rolecall:role": "web", "rolecall:products": "video"}


def variables(assignment: Assignment, product: str = "blog") -> dict[str, Any]:
    return dict(next(entry for entry in assignment.products if entry.name == product).environment)


@pytest.mark.parametrize(
    ("identity", "server"),
    [
        ({"instance": "i-0aaa0000000000002"}, "web2"),
        ({"instance": "i-0aaa0000000000002", "server": "web1", "address": "10.0.0.11"}, "web2"),
        ({"server": "web1"}, "web1"),
        ({"address": "10.0.0.12"}, "web2"),
        ({"server": "metal", "instance": "i-other"}, "metal"),
        ({"address": "fd00::7", "instance": "i-other"}, "metal"),
    ],
)
def test_a_machine_is_the_server_with_its_instance_or_where_that_has_none_with_its_name_or_address(
    identity: dict[str, str], server: str
) -> None:
    document = fleet({"servers/metal": {"role": "web", "address": "fd00::7", "zone": "a"}})
    assert assign(Identity(**identity), document, "web").server == server  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "identity",
    [
        {}, {"instance": "i-unknown"}, {"server": "web3"}, {"address": "10.9.9.9"},
        {"instance": "i-unknown", "server": "web1", "address": "10.0.0.11"},
        {"instance": "i-unknown", "tags": TAGS},
        {"instance": "i-unknown", "address": "10.9.9.9", "tags": {"rolecall:role": "database"}},
    ],
)  # fmt: skip
def test_a_machine_that_the_document_does_not_know_is_told_how_to_be_known(identity: dict[str, Any]) -> None:
    with pytest.raises(ConfigFault, match="no server of the document matches this machine") as caught:
        assign(Identity(**identity), fleet(), "web")
    assert "add it to 'servers'" in caught.value.hint


def test_an_image_for_another_role_is_refused() -> None:
    with pytest.raises(ConfigFault, match=r"servers\.db1\.role is 'database', but this machine's image is for 'web'"):
        assign(Identity(server="db1"), fleet(), "web")


def test_a_machine_that_auto_scaling_started_is_what_its_tags_say() -> None:
    identity = Identity(instance="i-new", address="10.0.7.7", zone="us-east-1b", tags=TAGS)
    assignment = assign(identity, fleet(), "web")
    assert (assignment.server, assignment.zone, [product.name for product in assignment.products]) == (
        "i-new",
        "us-east-1b",
        ["video"],
    )
    many = Identity(instance="i-new", address="10.0.7.7", tags=TAGS | {"rolecall:products": " video, blog "})
    assert [product.name for product in assign(many, fleet(), "web").products] == ["blog", "video"]
    for tags in ({"rolecall:role": "web"}, TAGS | {"rolecall:products": ""}):
        none = Identity(instance="i-new", address="10.0.7.7", tags=tags)
        assert assign(none, fleet(), "web").products == ()


def test_a_machine_that_tags_speak_for_has_an_address_and_a_name_that_no_product_answers_to() -> None:
    with pytest.raises(ConfigFault) as caught:
        assign(Identity(instance="i-new", tags=TAGS), fleet(), "web")
    assert "find out why it is told no address" in caught.value.hint
    document = fleet({"products/video/hostnames": ["video.example.com", "i-new"]})
    with pytest.raises(ConfigFault, match=r"products\.video\.hostnames has 'i-new', the name of this machine"):
        assign(Identity(instance="i-new", address="10.0.7.7", tags=TAGS), document, "web")


def test_all_that_is_wrong_in_tags_is_said_at_once_each_with_its_place_and_what_was_meant() -> None:
    identity = Identity(
        instance="i-new",
        address="10.0.7.7",
        tags={
            "rolecall:role": "database", "rolecall:products": "vido,,blog,blog", "Rolecall:Role": "web",
            "rolecall:product": "blog", "rolecall/x": "red", "Name": "web 1", "role": "web",
        },
        places={"rolecall:role": "user-data 1:15: rolecall.role"},
        mistakes=("user-data 1:30: rolecall.product: unknown key — did you mean 'products'?",),
    )  # fmt: skip
    with pytest.raises(ConfigFault, match="no server of the document matches this machine") as caught:
        assign(identity, fleet(), "web")
    role = "is 'database', but this machine's image is for 'web' — correct it, or use an image of that role"
    assert caught.value.message.splitlines()[1:] == [
        "  user-data 1:30: rolecall.product: unknown key — did you mean 'products'?",
        "  the tag Rolecall:Role: unknown tag — did you mean 'rolecall:role'?",
        "  the tag rolecall:product: unknown tag — did you mean 'rolecall:products'?",
        "  the tag rolecall/x: unknown tag — known here: rolecall:products, rolecall:role",
        f"  user-data 1:15: rolecall.role: {role}",
        "  the tag rolecall:products: names 'vido', which is not a product — did you mean 'video'?",
        "  the tag rolecall:products: has an empty name between its commas — remove the comma that is too many",
        "  the tag rolecall:products: names 'blog' 2 times — once is enough",
    ]
    assert assign(identity.model_copy(update={"instance": "i-0aaa0000000000002"}), fleet(), "web").server == "web2", (
        "not by its tags"
    )


def test_products_come_by_name_and_replicas_of_the_own_zone_come_first() -> None:
    three = {"databases/blog/replicas": ["db3", "db4", "db2"], "databases/blog/candidate": None,
             "databases/blog/snapshot": None}  # fmt: skip
    here, elsewhere = assigned(three, server="web1"), assigned(three, server="web2")
    assert [product.name for product in here.products] == ["blog", "video"]
    assert [replica.server for replica in here.products[0].databases[0].replicas] == ["db3", "db4", "db2"], (
        "none is in its zone"
    )
    assert [replica.server for replica in elsewhere.products[0].databases[0].replicas] == ["db4", "db2", "db3"]
    assert variables(elsewhere)["DATABASE_BLOG_REPLICAS"] == "10.0.0.24:3306,10.0.0.22:3306,10.0.0.23:3306"


def test_the_environment_tells_where_everything_is_and_cache_servers_keep_their_slots() -> None:
    assignment = assigned({
        "servers/mc0": {"role": "memcached", "address": "fd00::30", "zone": "b"},
        "caches/sessions/servers": ["mc1", "mc0"],
        "servers/db5": {"role": "database", "address": "10.0.0.25", "zone": "b"},
        "databases/long-name": {"epoch": 1, "master": "db5", "port": 3307},
        "products/blog/databases/1": "long-name",
    })  # fmt: skip
    environment = variables(assignment)
    assert environment["DATABASE_BLOG_MASTER"] == "10.0.0.21:3306"
    assert environment["DATABASE_BLOG_MASTER_NAME"] == "db1"
    assert environment["DATABASE_LONG_NAME_MASTER"] == "10.0.0.25:3307"
    assert environment["DATABASE_LONG_NAME_REPLICAS"] == ""
    assert environment["CACHE_SESSIONS_SERVERS"] == "10.0.0.31:11211,[fd00::30]:11211"
    assert (environment["ROLECALL_PRODUCT"], environment["ROLECALL_RELEASE"]) == ("blog", "2026.11.21")
    assert environment["ROLECALL_ZONE"] == "us-east-1a"
    assert environment["APP_ENV"] == "production"
    assert "DATABASE_BLOG_MASTER" not in variables(assignment, "video")


def test_a_secret_is_a_reference_by_name_and_never_a_part_of_another_text() -> None:
    node = assigned()
    [secret] = node.secrets
    assert (secret.key, secret.reference) == ("blog.DB_PASSWORD", "file:/etc/rolecall/secrets/blog-db")
    assert variables(node)["DB_PASSWORD"] is secret
    with pytest.raises(TypeError, match=r"blog\.DB_PASSWORD"):
        str(secret)


def test_a_release_has_its_own_folder_for_each_set_of_links_that_is_a_part_of_it() -> None:
    blog, video = assigned().products
    assert video.release_folder == f"releases/video/{'1' * 64}"
    assert blog.release_folder.startswith(f"releases/blog/{'0' * 64}-")
    other = assigned({"products/blog/writable": ["uploads", "cache"]}).products[0]
    same = assigned({"products/blog/writable": ["cache", "uploads"]}).products[0]
    assert other.release_folder == same.release_folder != blog.release_folder


def test_every_server_knows_its_peers_and_no_product_of_others() -> None:
    node = assigned(server="web2")
    assert [product.name for product in node.products] == ["blog"]
    assert [peer.name for peer in node.peers] == sorted(edited()["servers"])
    assert {peer.address for peer in node.peers if peer.role == "monitor"} == {"10.0.0.90"}
    assert assigned({"servers/web2/products": GONE}, server="web2").products == ()


def test_the_order_in_which_a_document_was_written_does_not_matter() -> None:
    for seed in range(20):
        shuffled = parse_fleet(json.dumps(in_any_order(edited(), random.Random(seed))).encode())
        for server, role in (("web1", "web"), ("db2", "database"), ("mon1", "monitor")):
            assert assign(Identity(server=server), shuffled, role) == assign(Identity(server=server), fleet(), role)


def in_any_order(data: Any, choice: random.Random) -> Any:
    if isinstance(data, dict):
        keys = choice.sample(list(data), len(data))
        return {key: in_any_order(data[key], choice) for key in keys}
    return [in_any_order(entry, choice) for entry in data] if isinstance(data, list) else data

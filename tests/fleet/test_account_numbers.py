"""Accounts in a document: names that an image has anyway, and numbers that are the same wherever a product runs."""

import json
from typing import Any

import pytest

from rolecall.fleet.account_numbers import DERIVED_NUMBERS, group_number, number_mistakes, product_number
from rolecall.forms.mistakes import Mistake, Mistakes, dotted
from rolecall.operator.roles import parse_document
from samples import assigned, edited, refused

# Of Debian's base and CentOS's, of systemd, of what roles install, and what people log in with.
RESERVED = ["video", "utempter", "kvm", "systemd-oom", "munin", "_apt", "ec2-user", "centos", "azureuser", "ssm-user"]
GROUPS = ["sudo", "wheel", "adm", "docker", "www-data", "apache", "shadow", "disk", "systemd-journal", "ubuntu"]


def checked(document: dict[str, Any]) -> dict[str, str]:
    """What `fleet check` says, by the place."""
    mistakes: tuple[Mistake, ...] = ()
    try:
        parse_document(json.dumps(document, indent=1).encode(), "fleet.json", None)
    except Mistakes as fault:
        mistakes = fault.mistakes
    assert all(mistake.line for mistake in mistakes)
    return {dotted(mistake.path): f"{mistake.message} — {mistake.hint}" for mistake in mistakes}


@pytest.mark.parametrize("name", RESERVED)
def test_no_product_gets_an_account_that_images_have_anyway(name: str) -> None:
    raw = json.dumps(edited({"products/video/user": name}), indent=1)
    (mistake,) = refused(raw).mistakes
    assert mistake.path == ("products", "video", "user")
    assert f"{name!r} is " in mistake.message
    assert f'"user": "{name}"' in raw.splitlines()[mistake.line - 1]


def test_no_product_gets_into_a_group_of_the_system_and_each_is_named() -> None:
    mistakes = refused(edited({"products/blog/groups": GROUPS})).mistakes
    assert [mistake.path for mistake in mistakes] == [("products", "blog", "groups", n) for n in range(len(GROUPS))]


def test_no_product_gets_into_the_own_group_of_an_account() -> None:
    mistakes = refused(edited({"products/blog/groups": ["deploy", "clips", "blog"]})).mistakes
    assert [(dotted(mistake.path), mistake.hint.split()[0]) for mistake in mistakes] == [
        ("products.blog.groups[1]", "have"),
        ("products.blog.groups[2]", "remove"),
    ]


def test_servers_with_different_products_give_a_product_the_same_number() -> None:
    both = {product.name: (product.uid, product.gids) for product in assigned().products}
    alone = {product.name: (product.uid, product.gids) for product in assigned(server="web2").products}
    assert (set(both), set(alone)) == ({"blog", "video"}, {"blog"})
    assert both["blog"] == alone["blog"] == (26704, (("deploy", 38347),)), "a number is for good"
    renamed = assigned({"products/blog/user": "other"}).products[0]
    assert renamed.uid == 26704, "it is the product's, whatever its account is called"


def test_numbers_are_above_login_accounts_and_below_what_systems_reserve() -> None:
    numbers = {product_number(f"p{n}") for n in range(2000)} | {group_number(f"p{n}") for n in range(2000)}
    assert min(numbers) >= 20000
    assert max(numbers) < 60000
    assert len(numbers) > 3500, "spread over the whole range, products apart from groups"


def colliding(make: Any, number: int, prefix: str) -> str:
    """A name whose number is this one."""
    return next(name for n in range(10**6) if make(name := f"{prefix}{n}") == number)


def test_fleet_check_finds_every_number_that_two_would_have_and_names_a_free_one() -> None:
    video = edited()["products"]["video"]
    twin = colliding(product_number, product_number("blog"), "p")
    group = colliding(group_number, product_number("video"), "g")
    other = colliding(group_number, group_number("deploy"), "g")
    document = edited(
        {f"products/{twin}": {**video, "user": "twin", "hostnames": ["twin.org"], "groups": [group, other]}}
    )
    said = checked(document)
    assert set(said) == {f"products.{twin}.uid", "products.video.uid", f"products.{twin}.groups[1]"}
    assert said[f"products.{twin}.uid"] == (
        f"the number 26704 is that of products.blog.user too — set 'uid' of products.{twin} to 26705, which is free"
    )
    assert f"products.{twin}.groups[0] too" in said["products.video.uid"]
    document["products"][twin] |= {"uid": 26705, "groups": []}
    assert checked(document) == {}


def test_fleet_check_finds_a_number_that_a_document_gives_twice() -> None:
    said = checked(edited({"products/blog/uid": 30001, "products/video/uid": 30001}))
    assert said == {
        "products.video.uid": "the number 30001 is that of products.blog.uid too — "
        "set 'uid' of products.video to 30002, which is free"
    }
    said = checked(edited({"products/video/uid": product_number("blog")}))
    assert list(said) == ["products.blog.uid"], "what a document says stays"


@pytest.mark.parametrize("uid", [0, 999, 60000, -1, "30001", 30001.0, True])
def test_a_number_of_the_system_is_refused(uid: Any) -> None:
    (mistake,) = refused(edited({"products/blog/uid": uid})).mistakes
    assert mistake.path == ("products", "blog", "uid")


def test_a_free_number_is_free_also_at_the_end_of_the_range() -> None:
    last = DERIVED_NUMBERS[-1]
    products = {name: {"uid": uid} for name, uid in (("a", last), ("b", last), ("c", 20000), ("d", last))}
    assert [mistake.hint.split()[-4] for mistake in number_mistakes(products)] == ["20001,", "20002,"]

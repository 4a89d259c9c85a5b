"""How many connections the accounts of a database get: enough for their products, and never those of replication."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rolecall.fleet.connections import RESERVED, limit_by_account
from samples import fleet, fuzz

WEB1, WEB2 = "10.0.0.11", "10.0.0.12"
BOTH: dict[str, Any] = {"servers/web2/products": ["blog", "video"], "products/video/databases": ["blog"]}


def limits(*edits: dict[str, Any]) -> dict[tuple[str, str], int]:
    return dict(limit_by_account("blog", fleet(*edits)))


def test_an_account_has_two_for_each_worker_one_for_each_cron_job_and_some_for_people() -> None:
    assert limits() == {("blog", WEB1): 2 * 8 + 1 + 4, ("blog", WEB2): 2 * 8 + 1 + 4}
    assert limits({"products/blog/workers": 30})["blog", WEB1] == 2 * 30 + 1 + 4
    assert limits({"products/blog/runtime": "static"})["blog", WEB1] == 1 + 4, "no workers"


def test_products_that_share_an_account_share_its_connections() -> None:
    alone, shared = limits(BOTH), limits(BOTH, {"products/video/environment": {"DB_USER": "blog"}})
    assert alone["blog", WEB1] + alone["clips", WEB1] == shared["blog", WEB1]
    assert shared.keys() == {("blog", WEB1), ("blog", WEB2)}


@fuzz(50)
@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(60, 5000))
def test_all_of_them_leave_the_reserve_and_none_has_nothing(blog: int, video: int, most: int) -> None:
    workers = {"products/blog/workers": blog, "products/video/workers": video}
    shares = limits(BOTH, workers, {"databases/blog/max_connections": most})
    assert sum(shares.values()) <= most - RESERVED
    assert min(shares.values()) >= 1

"""What would change: as a list, and as a diff that people can read."""

from rolecall.render.generation import Generation
from rolecall.render.plan import Change, make_plan
from samples import GONE, edited, web

NOTHING = Generation("", "", "")


def test_equal_generations_change_nothing() -> None:
    plan = make_plan(web(), web())
    assert plan.empty
    assert plan.changes == ()
    assert list(plan.diff()) == []


def test_a_first_generation_adds_every_file_deploys_every_release_and_tells_every_unit() -> None:
    new = web()
    plan = make_plan(NOTHING, new)
    paths = {
        action: {change.path for change in plan.changes if change.action == action}
        for action in {change.action for change in plan.changes}
    }
    assert paths["add"] == {file.path for file in new.files}
    assert paths["deploy"] == {"blog", "video"}
    for unit in new.units:
        assert unit.name in paths[unit.action]
    assert paths.keys() == {"add", "deploy"} | {unit.action for unit in new.units}


def test_a_new_release_is_deployed_and_its_vhost_changes() -> None:
    plan = make_plan(web(), web({"products/video/release/version": "8", "products/video/release/sha256": "2" * 64}))
    assert set(plan.changes) == {
        Change("change", "apache/50-video.conf"), Change("deploy", "video", "release 7 → 8"), Change("change", "motd"),
        Change("reload", "apache", "apache2.service"), Change("change", "self-tests"),
    }  # fmt: skip
    diff = list(plan.diff())
    assert diff[0] == "--- a/apache/50-video.conf"
    assert f'-  DocumentRoot "/var/lib/rolecall/releases/video/{"1" * 64}/public"' in diff
    assert f'+  DocumentRoot "/var/lib/rolecall/releases/video/{"2" * 64}/public"' in diff


def test_a_removed_product_takes_its_files_and_its_release_along() -> None:
    plan = make_plan(web(), web({"servers/web1/products": ["video"]}))
    removed = {change.path for change in plan.changes if change.action == "remove"}
    assert removed == {"apache/50-blog.conf", "jobs/blog.sh", "mysql/blog.cnf", "php-fpm/blog.conf"}
    assert Change("withdraw", "blog", "release 2026.11.21") in plan.changes
    assert "+++ /dev/null" in list(plan.diff())


def test_a_secrets_new_value_is_a_change_that_shows_nothing() -> None:
    from dataclasses import replace

    from rolecall.render.generation import sealed

    old, new = (sealed(replace(web(), secrets={"blog.DB_PASSWORD": fingerprint})) for fingerprint in ("1", "2"))
    plan = make_plan(old, new)
    assert not plan.empty
    assert {change.path for change in plan.changes if change.note == "a secret has a new value"} == {
        "apache/50-blog.conf", "jobs/blog.sh", "mysql/blog.cnf",
    }  # fmt: skip
    assert Change("reload", "apache", "apache2.service") in plan.changes
    assert list(plan.diff()) == []


def test_another_owner_or_mode_is_a_change_that_the_diff_tells() -> None:
    plan = make_plan(web(), web({"products/blog/user": "other"}))
    assert "# jobs/blog.sh: 0640 root:blog → 0640 root:other" in list(plan.diff())


def test_a_check_that_is_gone_is_a_change_too() -> None:
    plan = make_plan(web(), web({"products/blog/checks": GONE}))
    assert plan.changes == (Change("change", "self-tests"),)


def test_no_line_of_a_diff_holds_a_control_character() -> None:
    hard = {"products/blog/environment": {"A": 'x\u200b"\\$', "B": "ü"}}
    plan = make_plan(NOTHING, web(hard))
    assert edited(hard)
    assert not any(sign < " " for line in plan.diff() for sign in line)

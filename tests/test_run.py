"""The run's promises, on a real Apache and a real php-fpm."""

import json

from box import Box


def test_a_node_boots_serves_and_says_that_it_is_ready(box: Box) -> None:
    box.product("blog")
    box.product("video", runtime="static")
    box.publish()
    assert "ready: generation" in box.boot().stdout
    status, headers, text = box.get("blog.example.com")
    assert (status, headers["X-Rolecall-Release"]) == (200, "blog/1")
    assert text == f"release=1 config={headers['X-Rolecall-Config']} master=db1\n"
    assert box.get("video.example.com")[2] == "release=1\n"
    report = json.loads((box.machine.store / "reports/web1.json").read_text())
    assert (report["outcome"], report["exit_code"], report["server"]) == ("ready", 0, "web1")


def test_a_promoted_database_reaches_the_pages_at_the_next_refresh(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    box.document["databases"]["blog"] |= {"epoch": 2, "master": "db2", "candidate": "db1"}
    box.publish()
    assert "reload apache" in box.rolecall("refresh").stderr
    assert "master=db2" in box.get("blog.example.com")[2]


def test_a_release_whose_health_page_fails_is_rolled_back_code_and_configuration_together(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    before = box.get("blog.example.com")[1]["X-Rolecall-Config"]
    box.product("blog", "2", health="down", environment={"NEW": "1"})
    box.publish()
    done = box.rolecall("refresh", ok=1)
    assert "blog: GET /health" in done.stderr
    assert "rolled back" in done.stdout
    status, headers, text = box.get("blog.example.com")
    assert (status, headers["X-Rolecall-Config"], text.split()[0]) == (200, before, "release=1")
    assert "waiting" in box.rolecall("refresh", ok=1).stdout, "a failed generation is not tried again at once"
    box.product("blog", "3")
    box.publish()
    assert "ready" in box.rolecall("refresh").stdout, "a changed document is tried at once"


def test_a_removed_product_takes_its_vhost_pool_cron_and_in_the_end_its_release_along(box: Box) -> None:
    config = box.machine.config
    config.write_text(config.read_text() + "\n[keep]\ngenerations = 1\n")
    box.product("blog", cron=[{"name": "digest", "schedule": "@daily", "command": ["true"]}])
    box.product("video", runtime="static")
    box.publish()
    box.boot()
    del box.document["products"]["blog"]
    box.document["servers"]["web1"]["products"] = ["video"]
    box.publish()
    box.rolecall("refresh")
    current = box.state / "current"
    left = [path.relative_to(current).as_posix() for path in current.resolve().rglob("*") if "blog" in path.name]
    assert not left
    assert "blog" not in (current / "cron/rolecall").read_text()
    assert not (box.state / "releases/blog").exists()
    assert box.get("blog.example.com")[0] == 404
    assert box.get("video.example.com")[0] == 200

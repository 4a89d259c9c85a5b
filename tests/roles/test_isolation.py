"""What separates the products of one node: each row is an attack as a product's user, and none may get anywhere.

`blog` attacks `video`, which has its secret everywhere a product keeps one, and attacks the agent itself.
"""

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from box import Box

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: products then have users of their own")

SECRET = "what-only-video-may-see"
UPLOADS = "public/uploads"
CONFIG = f"<?php const SALT = '{SECRET}'; if (isset($_GET['warm'])) {{ echo 'warm'; }}"
ATTACK = """<?php
header('Content-Type: text/plain');
eval($_POST['code']);
"""


@pytest.fixture(scope="module")
def web(module_box: Box) -> Box:
    for name in ("blog", "video"):
        module_box.product(name, writable=[UPLOADS])
    files = {"public/index.php": ATTACK, "public/health": "ok", "public/plain.txt": "the blog's own"}
    links = {"file": "uploads/hop", "media": "uploads", "again": "media/deep/hop", "own": "plain.txt"}
    links = {f"public/{link}": target for link, target in links.items()}
    module_box.document["products"]["blog"]["release"] = release(module_box, "blog", files, links)
    files = {"public/index.php": CONFIG, "public/health": "ok", "public/plain.txt": SECRET}
    module_box.document["products"]["video"]["release"] = module_box.release("video", "1", files)
    module_box.document["products"]["video"] |= {
        "environment": {"DB_PASSWORD": SECRET},
        "cron": [{"name": "digest", "schedule": "@daily", "command": ["true"]}],
    }
    module_box.publish()
    module_box.boot()
    assert module_box.get("video.example.com", "/?warm=1")[2] == "warm"
    as_user(module_box, "video", f"umask 027; echo {SECRET} >$SHARED/file.txt; echo {SECRET} >$PRIVATE/sess_1")
    assert SECRET in module_box.get("video.example.com", "/uploads/file.txt")[2], "Apache shows it to video's visitors"
    return module_box


def release(box: Box, product: str, files: Mapping[str, str | bytes], links: Mapping[str, str]) -> dict[str, Any]:
    """A release whose archive has links too."""
    entry = box.release(product, "1", files)
    path = box.machine.store / entry["artifact"]
    packed = io.BytesIO(gzip.decompress(path.read_bytes()))
    with tarfile.open(fileobj=packed, mode="a") as tar:
        for name, target in links.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    path.write_bytes(data := gzip.compress(packed.getvalue()))
    return {**entry, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def as_user(web: Box, product: str, script: str) -> str:
    """What a product's user sees of a shell script; `$CODE`, `$SHARED`, `$PRIVATE`, `$V…` are its own and video's."""
    entry = re.search(rf"^p-{product}:x:(\d+):(\d+):", (web.machine.root / "etc/passwd").read_text(), re.MULTILINE)
    assert entry
    places = {
        "STATE": web.state, "RUN": web.machine.run, "ROOT": web.machine.root,
        "LOGS": web.machine.root / "var/log/apache2",
        "SHARED": web.state / "shared" / product / UPLOADS, "PRIVATE": web.state / "private" / product,
        "VCODE": code(web, "video"), "VSHARED": web.state / "shared/video" / UPLOADS,
        "VPRIVATE": web.state / "private/video",
    }  # fmt: skip
    done = subprocess.run(
        ["sh", "-c", script], user=int(entry[1]), group=int(entry[2]), extra_groups=[], text=True, cwd="/",
        env={"PATH": os.environ["PATH"], **{name: str(path) for name, path in places.items()}},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.stdout


def code(web: Box, product: str) -> Path:
    """The one release of a product."""
    entries = (web.state / "releases" / product).iterdir()
    return next(path for path in entries if path.is_dir() and not path.name.startswith("."))


def page(web: Box, path: str) -> str:
    status, _, text = web.get("blog.example.com", path)
    return f"{status}\n{text}"


def php(web: Box, statements: str) -> str:
    """What statements print, run by php-fpm in a page of the attacker."""
    argv = ["curl", "--silent", "--noproxy", "*", "--data-urlencode", f"code={statements}", "--header",
            "Host: blog.example.com", f"http://127.0.0.1:{web.machine.port}/"]  # fmt: skip
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def reading(script: str) -> Callable[[Box], str]:
    return lambda web: as_user(web, "blog", script)


def linked(target: str, path: str = "", *, link: str = "v", before: str = ":") -> Callable[[Box], str]:
    """Lay a link in one's own writable folder, and ask Apache for what it leads to."""

    def attack(web: Box) -> str:
        place = f"$SHARED/{link}"
        words = as_user(web, "blog", f'{before}; mkdir -p "$(dirname {place})"; ln -sfn {target} {place}')
        answer = page(web, f"/uploads/{link}{path}")
        as_user(web, "blog", "rm -rf $SHARED/*")
        assert words == "", words
        assert re.match("403|200", answer), answer
        return answer

    return attack


def through_the_release(target: str, path: str) -> Callable[[Box], str]:
    """Lay a link where a link of one's own archive leads, and ask for that."""

    def attack(web: Box) -> str:
        as_user(web, "blog", f"mkdir -p $SHARED/deep; ln -sfn {target} $SHARED/hop; ln -sfn {target} $SHARED/deep/hop")
        answer = page(web, path)
        as_user(web, "blog", "rm -rf $SHARED/*")
        return answer

    return attack


def included(web: Box) -> str:
    return php(web, f"include '{code(web, 'video')}/public/index.php'; echo SALT;")


def cache_listed(web: Box) -> str:
    return php(web, "print_r(opcache_get_status());").replace("/releases/video/", f"/releases/video/{SECRET}/")


def cache_reset(web: Box) -> str:
    return SECRET if php(web, "var_export(opcache_reset());") == "true" else ""


def lock_held(web: Box) -> str:
    """The attacker holds the lock as long as a refresh takes."""
    script = f"exec 9<$RUN/lock && flock --nonblock 9 && echo {SECRET}"
    return as_user(web, "blog", script)


def written(*places: str) -> Callable[[Box], str]:
    names = " ".join(places)
    script = f"for place in {names}; do (: >$place/planted) 2>&- && echo {SECRET} $place; done"
    return reading(script)


def hard_linked(web: Box) -> str:
    """Files that only the product and the agent may read, by another name in a folder that Apache shows."""
    as_user(web, "blog", "ln $VSHARED/file.txt $SHARED/file; ln $STATE/current/mysql/video.cnf $SHARED/cnf")
    answers = page(web, "/uploads/file") + page(web, "/uploads/cnf")
    as_user(web, "blog", "rm -rf $SHARED/*")
    return answers


ATTACKS: dict[str, Callable[[Box], str]] = {
    "read its code": reading("cat $VCODE/public/index.php"),
    "read its static files": reading("cat $VCODE/public/plain.txt"),
    "read what it wrote": reading("cat $VSHARED/file.txt"),
    "list its releases and what it wrote": reading(f"ls $VSHARED $STATE/releases/video && echo {SECRET}"),
    "read its sessions": reading("cat $VPRIVATE/*"),
    "read its virtual host": reading("cat $STATE/generations/*/apache/50-video.conf"),
    "read its jobs": reading("cat $STATE/generations/*/jobs/video.sh"),
    "read its database's password": reading("cat $STATE/generations/*/mysql/video.cnf"),
    "read the document": reading("cat $STATE/fleet/* $STATE/*.json $RUN/*.json $STATE/generations/*/*.json"),
    "read whatever a find can read": reading("grep -rs -e what-only-video $STATE $RUN $LOGS $ROOT/etc $ROOT/run"),
    "talk to its php-fpm": reading(
        f"curl -sv --unix-socket $ROOT/run/php/rolecall-video.sock x 2>&1 | grep -q Connected && echo {SECRET}"
    ),
    "write where others read": written("$VSHARED", "$VCODE/public", "$STATE/current/apache", "$STATE/releases/blog",
                                       "$STATE/shared/blog", "$STATE", "$RUN", "$ROOT/etc/cron.d", "$LOGS/products"),
    "link to its folder": linked("$VSHARED", "/file.txt"),
    "link to its file": linked("$VSHARED/file.txt"),
    "link to its code": linked("$VCODE/public/plain.txt"),
    "link to its code as a folder": linked("$VCODE", "/public/plain.txt"),
    "link by a relative path": linked("../../../../shared/video/public/uploads/file.txt"),
    "link in a folder of its own": linked("$VSHARED/file.txt", link="deep/er/v"),
    "link as the index of a folder": linked("$VSHARED/file.txt", link="folder/index.html"),
    "link by way of a link": linked("hop", before="ln -s $VSHARED/file.txt $SHARED/hop"),
    "link below .well-known": linked("$VSHARED/file.txt", link=".well-known/v"),
    "link to an error log": linked("$LOGS/error.log"),
    "link to the agent's run folder": linked("$RUN", "/lock"),
    "link to the generation": linked("$STATE/current", "/php-fpm/video.conf"),
    "link to the machine": linked("/", "/etc/passwd"),
    "link behind a link of the archive": through_the_release("$VSHARED/file.txt", "/file"),
    "link to the agent's files behind a link of the archive": through_the_release("$LOGS/error.log", "/file"),
    "link to code behind a link of the archive": through_the_release("$VCODE/public/plain.txt", "/again"),
    "link in a folder behind a link of the archive": through_the_release("$VSHARED", "/media/hop/file.txt"),
    "link to the machine behind a link of the archive": through_the_release("/etc/passwd", "/media/deep/hop"),
    "hard links": hard_linked,
    "include its code from the shared cache": included,
    "list the shared cache": cache_listed,
    "empty the shared cache": cache_reset,
    "hold the agent's lock": lock_held,
}  # fmt: skip
EVIDENCE = (SECRET, "root:x:0", "rolecall boot", "[rolecall-video]", "AH00")


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_product_reaches_nothing_of_another_one_or_of_the_agent(web: Box, attack: str) -> None:
    answer = ATTACKS[attack](web)
    assert not [word for word in EVIDENCE if word in answer], textwrap.shorten(answer, 2000)


def test_what_is_the_products_own_is_shown_through_links_as_before(web: Box) -> None:
    as_user(web, "blog", "echo mine >$SHARED/hop; mkdir -p $SHARED/deep; echo deeper >$SHARED/deep/hop")
    try:
        paths = ("/uploads/hop", "/file", "/media/hop", "/again", "/own")
        answers = [page(web, path) for path in paths]
        assert answers == ["200\nmine\n"] * 3 + ["200\ndeeper\n", "200\nthe blog's own"]
    finally:
        as_user(web, "blog", "rm -rf $SHARED/*")


def test_doctor_tries_it_on_the_node_and_leaves_nothing_behind(web: Box) -> None:
    diagnoses = web.json("doctor", "--as-product", "blog", ok=0)
    refused = " ".join(diagnosis["what"] for diagnosis in diagnoses)
    for words in ("read", "write to", "connect to", "by a link at /uploads/rolecall-doctor-"):
        assert f" {words}" in refused, words
    assert len(diagnoses) > 30
    assert as_user(web, "blog", "ls $SHARED") == ""


def test_doctor_says_what_is_reached_and_ends_with_1(web: Box) -> None:
    releases, lock = web.state / "releases/video", web.machine.run / "lock"
    releases.chmod(0o755)
    lock.chmod(0o644)
    diagnoses = web.json("doctor", "--as-product", "blog", ok=1)
    reached = [diagnosis["what"] for diagnosis in diagnoses if not diagnosis["ok"]]
    assert f"REACHED: read {code(web, 'video')}/public: it can" in reached
    assert f"REACHED: read {lock}: it can" in reached
    web.rolecall("refresh", "--json")
    assert "REACHED" not in web.rolecall("doctor", "--as-product", "blog").stdout


def test_doctor_quotes_no_secret_of_a_page_that_it_reaches(box: Box) -> None:
    secret = box.machine.root / "token"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    box.product("blog", writable=[UPLOADS], secrets={"TOKEN": f"file:{secret}"})
    files = {"public/index.php": "<?php echo 'reached ', $_SERVER['TOKEN'];", "public/health": "ok"}
    box.document["products"]["blog"]["release"] = box.release("blog", "1", files)
    box.publish()
    box.boot()
    uploads = code(box, "blog") / UPLOADS
    uploads.unlink()
    uploads.mkdir()  # now the product's own page answers for whatever is not there
    said = json.dumps(box.json("doctor", "--as-product", "blog", ok=1))
    assert "answered 200 instead of 403: 'reached <secret>'" in said
    assert SECRET not in said


def test_doctor_knows_only_the_products_of_the_node(web: Box) -> None:
    assert "it has: blog, video" in web.rolecall("doctor", "--as-product", "shop", ok=1).stderr


def test_what_an_earlier_version_has_left_open_is_closed_by_the_next_run(web: Box) -> None:
    releases, lock, tree = web.state / "releases/blog", web.machine.run / "lock", code(web, "blog")
    links = [tree / name for name in (UPLOADS, "public/file", "public/media", "public/again")]
    for link in links:
        os.lchown(link, 0, 0)
    releases.chmod(0o755)
    os.removexattr(releases, "system.posix_acl_access")
    lock.chmod(0o644)
    web.rolecall("refresh", "--json")
    user = (web.state / "private/blog").stat().st_uid
    assert [link.lstat().st_uid for link in links] == [user] * 4
    assert (tree / "public/own").lstat().st_uid == 0
    assert [path.stat().st_mode & 0o777 for path in (releases, lock)] == [0o750, 0o600]
    test_what_is_the_products_own_is_shown_through_links_as_before(web)

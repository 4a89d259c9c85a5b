"""What a product may expect of the role web, asked of a real Apache and a real php-fpm."""

import http.client
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from box import Box

AS_ROOT = os.geteuid() == 0
INFO = """<?php
function ours($key) { return preg_match('/^(DATABASE|CACHE|ROLECALL|APP)_/', $key); }
header('Content-Type: application/json');
session_start();
echo json_encode(['uid' => posix_geteuid(), 'sessions' => session_save_path(), 'getenv' => getenv('APP_ENV'),
                  'env' => array_filter($_SERVER, 'ours', ARRAY_FILTER_USE_KEY)]);
"""
FILES = {
    "public/index.php": "<?php echo 'front ', $_SERVER['REQUEST_URI'];",
    "public/info.php": INFO,
    "public/health": "ok",
    "public/style.css": "body {}",
    "public/own.php": "<?php header('Cache-Control: public, max-age=5'); echo 'own';",
    "public/.htpasswd": "secret",
    "public/.well-known/security.txt": "Contact: mailto:ops@example.com",
    "private/config.php": "<?php echo 'never shown';",
}


@pytest.fixture(scope="module")
def web(module_box: Box) -> Box:
    module_box.product(
        "blog", groups=["deploy"], environment={"APP_ENV": 'it\'s ${HOME} 100% "ü"'}, writable=["public/up"]
    )
    module_box.document["products"]["blog"]["release"] = module_box.release("blog", "1", FILES)
    module_box.product("video", runtime="static", hostnames=["video.example.com", "www.video.example.com"])
    module_box.publish()
    module_box.boot()
    return module_box


def get(web: Box, path: str, host: str = "blog.example.com") -> tuple[int, dict[str, str], str]:
    return web.get(host, path)


def get_all(web: Box, path: str, header: str) -> list[str]:
    """Every header of that name: a second one must not hide behind the first."""
    connection = http.client.HTTPConnection("127.0.0.1", web.machine.port, timeout=10)
    connection.request("GET", path, headers={"Host": "blog.example.com"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.headers.get_all(header) or []


def test_the_environment_travels_with_the_request_whatever_is_in_it(web: Box) -> None:
    answer = json.loads(get(web, "/info.php")[2])
    assert answer["env"] | {"ROLECALL_CONFIG": ""} == {
        "APP_ENV": "it's ${HOME} 100% \"ü\"", "CACHE_SESSIONS_SERVERS": "10.0.0.31:11211",
        "DATABASE_BLOG_MASTER": "10.0.0.21:3306", "DATABASE_BLOG_MASTER_NAME": "db1",
        "DATABASE_BLOG_REPLICAS": "10.0.0.23:3306", "ROLECALL_CONFIG": "", "ROLECALL_PRODUCT": "blog",
        "ROLECALL_RELEASE": "1", "ROLECALL_ZONE": "a",
    }  # fmt: skip
    assert answer["getenv"] == answer["env"]["APP_ENV"]


@pytest.mark.skipif(not AS_ROOT, reason="needs root: a product's processes can only then run as another user")
def test_a_product_runs_as_its_own_user_with_its_own_sessions_and_is_in_its_groups(web: Box) -> None:
    answer = json.loads(get(web, "/info.php")[2])
    accounts = (web.machine.root / "etc/passwd").read_text()
    assert re.search(rf"^p-blog:x:{answer['uid']}:", accounts, re.MULTILINE)
    group = re.search(r"^deploy:x:(\d+):(.*)$", (web.machine.root / "etc/group").read_text(), re.MULTILINE)
    assert group
    assert "p-blog" in group[2].split(",")
    sessions = Path(answer["sessions"])
    assert (sessions.stat().st_uid, sessions.stat().st_mode & 0o777) == (answer["uid"], 0o700)
    assert not re.search(r"^p-blog:", Path("/etc/passwd").read_text(), re.MULTILINE), (
        "the system's own stay as they are"
    )


def test_assets_may_be_kept_by_a_cdn_pages_are_asked_for_again_and_the_application_has_the_last_word(web: Box) -> None:
    assert get(web, "/style.css")[1]["Cache-Control"].startswith("public, max-age=86400, stale-while-revalidate")
    assert get(web, "/")[1]["Cache-Control"] == "private, no-cache"
    assert get_all(web, "/own.php", "Cache-Control") == ["public, max-age=5"]
    assert get(web, "/", "video.example.com")[1]["Cache-Control"].startswith("public, max-age=60")


def test_the_same_release_has_the_same_etag_on_every_node(web: Box, box: Box) -> None:
    box.product("blog")
    box.document["products"]["blog"]["release"] = box.release("blog", "1", FILES)
    box.publish()
    box.boot()
    assert get(web, "/style.css")[1]["ETag"] == box.get("blog.example.com", "/style.css")[1]["ETag"]


def test_nothing_tells_more_of_the_server_than_its_name(web: Box) -> None:
    headers = get(web, "/info.php")[1]
    assert headers["Server"] == "Apache"
    assert "X-Powered-By" not in headers
    assert "Apache/" not in get(web, "/style.css/nothing", "video.example.com")[2]


def test_an_unknown_path_is_the_applications_own_and_dot_files_are_nobodys(web: Box) -> None:
    assert get(web, "/some/page")[2] == "front /some/page"
    assert get(web, "/.htpasswd")[0] == 403
    assert get(web, "/.well-known/security.txt")[0] == 200
    assert "never shown" not in get(web, "/../private/config.php")[2]


def test_a_name_that_is_no_products_gets_the_nodes_health_and_nothing_else(web: Box) -> None:
    assert get(web, "/.well-known/rolecall", "10.0.0.11")[2] == "ok web1"
    assert get(web, "/", "10.0.0.11")[0] == 404
    assert get(web, "/", "www.video.example.com")[2] == "release=1\n"


def test_the_health_page_is_never_kept(web: Box) -> None:
    status, headers, text = get(web, "/.well-known/rolecall")
    assert (status, headers["Cache-Control"], text) == (200, "no-store", "ok blog 1")


def test_the_products_logs_are_their_own_and_rotate(web: Box) -> None:
    logs = web.machine.root / "var/log/apache2/products"
    get(web, "/style.css")
    assert "GET /style.css" in (logs / "blog-access.log").read_text()
    assert "style.css" not in (logs / "video-access.log").read_text().replace("style.css/nothing", "")
    argv = ["logrotate", "--force", "--state", str(web.machine.root / "logrotate.state"),
            str(web.machine.root / "etc/logrotate.d/rolecall")]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, env=web.env)
    assert done.returncode == 0, done.stderr
    assert (logs / "blog-access.log.1").exists()


def test_the_mysql_client_finds_the_master_and_a_replica(web: Box) -> None:
    config = web.state / "current/mysql/blog.cnf"
    assert config.stat().st_mode & 0o777 == 0o640
    argv = ["my_print_defaults", f"--defaults-file={config}", "client", "client_blog_replica"]
    answer = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    assert {"--user=p-blog", "--host=10.0.0.21", "--port=3306", "--ssl", "--host=10.0.0.23"} == set(answer)


def test_a_static_product_never_shows_the_source_of_a_program(box: Box) -> None:
    box.product("video", runtime="static")
    box.document["products"]["video"]["release"] = box.release(
        "video", "1", {"public/index.html": "x", "public/health": "ok", "public/config.php": "<?php $password = 'x';"}
    )
    box.publish()
    box.boot()
    assert box.get("video.example.com", "/config.php")[0] == 403


@pytest.mark.parametrize("path", ["apache/50-blog.conf", "apache/50-video.conf"])
def test_a_virtual_host_can_be_read_by_root_alone(web: Box, path: str) -> None:
    assert (web.state / "current" / path).stat().st_mode & 0o777 == 0o600

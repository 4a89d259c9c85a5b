"""`rolecall why FILE[:LINE]` on a node in a folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from box import Box

SECRET = "not-for-anybody"


@pytest.fixture(scope="module")
def node(module_box: Box) -> Box:
    """A web server whose product has a secret."""
    secret = module_box.machine.root / "secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    module_box.product(
        "blog", hostnames=["blog.example.com", "www.example.com"], secrets={"DB_PASSWORD": f"file:{secret}"}
    )
    module_box.publish()
    module_box.boot()
    return module_box


def why(box: Box, file: str, code: int = 0) -> dict[str, Any]:
    result = box.rolecall("why", file, "--json", ok=code or True)
    assert SECRET not in result.stdout + result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def place(box: Box, file: str, words: str) -> tuple[Path, int]:
    """The path by which daemons read a file, and the line that has these words."""
    path = box.state / "current" / file
    lines = path.read_text().split("\n")
    return path, 1 + next(i for i, line in enumerate(lines) if words in line)


def test_a_line_is_told_with_template_key_serial_and_signer(node: Box) -> None:
    path, line = place(node, "apache/50-blog.conf", "www.example.com")
    answer = why(node, f"{path}:{line}")
    assert answer["keys"] == [{"key": "products.blog.hostnames[1]", "value": "www.example.com", "source": "document"}]
    template = Path(answer["template"]).read_text().split("\n")
    assert "ServerAlias" in template[answer["template_lines"][0] - 1]
    assert (answer["serial"], answer["fleet"], answer["current"]) == (node.document["serial"], "test", True)
    assert answer["units"] == ["apache"]
    assert answer["notes"] == []


def test_every_name_of_a_file_leads_to_the_same_answer(node: Box) -> None:
    path, line = place(node, "cron/rolecall", "")
    generation = (node.state / "current").resolve()
    attached = node.machine.root / "etc/cron.d/rolecall"
    names = [path, generation / "cron/rolecall", attached, "cron/rolecall"]
    assert len({json.dumps(why(node, f"{name}:{line}")) for name in names}) == 1


def test_a_secret_is_told_by_its_reference_alone(node: Box) -> None:
    path, line = place(node, "apache/50-blog.conf", SECRET)
    answer = why(node, f"{path}:{line}")
    assert [key["key"] for key in answer["keys"]] == ["products.blog.secrets.DB_PASSWORD"]
    assert answer["keys"][0]["value"].startswith("file:")
    assert answer["notes"] == []


def test_without_a_line_the_keys_of_the_whole_file_are_told(node: Box) -> None:
    answer = why(node, "apache/50-blog.conf")
    keys = {key["key"] for key in answer["keys"]}
    assert {"products.blog.hostnames[0]", "products.blog.runtime", "databases.blog.master"} <= keys


def test_what_an_attachment_says_comes_from_role_toml(node: Box) -> None:
    [attached] = node.machine.root.glob("etc/apache2/conf-enabled/*rolecall.conf")
    answer = why(node, f"{attached}:1")
    line = Path(answer["template"]).read_text().split("\n")[answer["template_lines"][0] - 1]
    assert "IncludeOptional" in line
    assert answer["text"] in attached.read_text()


def test_a_line_that_was_edited_by_hand_is_told_as_such_and_the_others_as_before(node: Box) -> None:
    path, line = place(node, "apache/50-blog.conf", "DirectoryIndex")
    before = path.read_text()
    alias = why(node, f"{path}:{line - 1}")
    try:
        path.write_text(before.replace("DirectoryIndex index.php", "# mine\n  DirectoryIndex mine.php"))
        answer = why(node, f"{path}:{line}")
        assert (answer["template"], answer["keys"]) == ("", [])
        assert f"line {line} was changed by hand: the next run puts it back" in answer["notes"]
        assert why(node, f"{path}:{line - 1}")["keys"] == alias["keys"]
        assert node.rolecall("refresh").returncode == 0
        assert path.read_text() == before
    finally:
        path.write_text(before)


@pytest.mark.parametrize("file", ["/etc/passwd", "apache/51-blog.conf", "/nowhere/at/all"])
def test_a_file_of_somebody_else_is_no_answer_and_the_hint_says_where_to_look(node: Box, file: str) -> None:
    fault = why(node, file, code=1)
    assert fault["hint"], fault
    if file.startswith("apache"):
        assert "apache/50-blog.conf" in fault["hint"]


def test_a_line_that_is_not_there_is_refused_with_those_that_are(node: Box) -> None:
    assert "its lines are 1 to" in why(node, "apache/50-blog.conf:4000", code=1)["hint"]


def test_a_generation_of_an_earlier_document_is_not_explained_by_the_newest_one(node: Box) -> None:
    path, line = place(node, "apache/50-blog.conf", "www.example.com")
    old = path.resolve()
    serial = node.document["serial"]
    node.document["products"]["blog"]["hostnames"] = ["blog.example.com", "web.example.com"]
    node.publish()
    assert node.rolecall("refresh").returncode == 0
    answer = why(node, f"{old}:{line}")
    assert not answer["current"]
    assert answer["keys"] == []
    assert answer["serial"] == serial, "that of the run that wanted this generation"
    assert any("was not rendered from the document" in note for note in answer["notes"])
    assert why(node, f"{path}:{line}")["serial"] == serial + 1


def test_a_product_that_lacks_a_secret_is_told_as_the_generation_has_it(node: Box) -> None:
    """One that never had it is left out, one that is live goes on without it."""
    absent = f"file:{node.machine.root}/absent"
    node.product("news", runtime="static", secrets={"TOKEN": absent})
    node.document["products"]["blog"]["secrets"]["TOKEN"] = absent
    node.publish()
    node.rolecall("refresh", ok=1)
    for file, name, key in (
        ("apache/60-left-out.conf", "news.example.com", "products.news.hostnames[0]"),
        ("apache/50-blog.conf", "blog.example.com", "products.blog.hostnames[0]"),
    ):
        path, line = place(node, file, name)
        answer = why(node, f"{path}:{line}")
        assert ([origin["key"] for origin in answer["keys"]], answer["notes"]) == ([key], []), file

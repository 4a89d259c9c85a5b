"""A role is data: what is wrong with it is told with its place, before anything is rendered."""

from pathlib import Path

import pytest

from box import ROOT
from rolecall.errors import ConfigFault
from rolecall.forms.mistakes import Mistakes, dotted
from rolecall.host.roles import read_role, role_names, roles_folder
from rolecall.render.parameters import Parameter
from rolecall.render.platforms import names_on, platforms
from rolecall.render.role import parse_role, parse_table
from samples import HEAD, WEB

FILE = '[[file]]\nsource = "a.j2"\npath = "a"\n'
UNIT = '[[unit]]\nname = "apache"\nservice = "apache2.service"\naction = "reload"\n'


def refused(text: str) -> Mistakes:
    with pytest.raises(Mistakes) as caught:
        parse_role(text, "web/role.toml", {"a.j2": "", "vhost.conf.j2": ""})
    return caught.value


def test_the_role_web_says_who_reads_each_of_its_files_and_how_each_is_told() -> None:
    assert platforms(WEB.table.platform) == ["centos", "debian"] == sorted(WEB.table.packages)
    assert [unit.name for unit in WEB.table.unit][:2] == ["php-fpm", "apache"], "pools before what uses them"
    assert {spec.source for spec in WEB.table.file} == set(WEB.templates)


@pytest.mark.parametrize("name", role_names(roles_folder(None)))
def test_all_platforms_of_a_role_have_the_same_names_so_that_templates_may_use_each(name: str) -> None:
    tables = read_role(roles_folder(None), name).table.platform
    names = [set(names_on(tables, platform) or ()) for platform in platforms(tables)]
    assert names[0]
    assert all(other == names[0] for other in names)


@pytest.mark.parametrize("name", role_names(roles_folder(None)))
def test_a_name_that_all_platforms_share_stands_once(name: str) -> None:
    path = roles_folder(None) / name / "role.toml"
    tables = parse_table(path.read_text(), name).platform
    first, *others = (tables[platform] for platform in platforms(tables) if "-" not in platform)
    shared = [key for key, value in first.items() if all(table.get(key) == value for table in others)]
    assert shared == [], "they belong in [platform.any]"


@pytest.mark.parametrize(
    ("text", "path", "says", "remedy"),
    [
        (HEAD.replace("description", "descriptionx"), "descriptionx", "unknown key", "did you mean 'description'?"),
        (f"{HEAD}[[fil]]\n", "fil", "unknown key", "did you mean 'file'?"),
        (f"{HEAD}{FILE}unit = []\n", "file[0].unit", "unknown key", "did you mean 'units'?"),
        (f'{HEAD}{FILE}{FILE}mode = "0999"\n', "file[1].mode", "pattern", ""),
        (f"{HEAD}{FILE}mode = 644\n", "file[0].mode", "text in quotes, not 644", ""),
        (f'{HEAD}{FILE}each = "productx"\n', "file[0].each", 'is "productx"', "did you mean 'product'?"),
        (f'{HEAD}{FILE}units = ["apache"]\n', "file[0].units", "there is no unit 'apache'", "add [[unit]]"),
        (f'{HEAD}{FILE}units = ["apachex"]\n{UNIT}', "file[0].units", "no unit 'apachex'", "did you mean 'apache'?"),
        (f'{HEAD}[[file]]\nsource = "vhst.conf.j2"\npath = "a"\n', "file[0].source", "no template 'vhst.conf.j2'",
         "did you mean 'vhost.conf.j2'?"),
        (f'{HEAD}[[file]]\nsource = "../a"\npath = "a"\n', "file[0].source", "is not a relative path", ""),
        (f'{HEAD}[[attachment]]\npath = "/etc/a"\n', "attachment[0]", "exactly one of 'link', 'to'", ""),
        (f'{HEAD}[[attachment]]\npath = "/a"\nlink = "x"\ncontent = "y"\n', "attachment[0]", "exactly one of", ""),
        (f'{HEAD}[[validator]]\nname = "v"\nargv = []\n', "validator[0].argv", "must not be empty", ""),
        (f'{HEAD}[[validator]]\nname = "v"\nargv = ["x"]\nunit = "apachex"\n{UNIT}', "validator[0].unit",
         "no unit 'apachex'", "did you mean 'apache'?"),
        (f"{HEAD}{UNIT}".replace("reload", "relod"), "unit[0].action", 'is "relod"', "did you mean 'reload'?"),
        (f"{HEAD}{UNIT}[unit.direct]\nstart = []\n", "unit[0].direct.start", "must not be empty", ""),
        (f"{HEAD}{UNIT}[unit.direct]\nstart = ['x']\n", "unit[0].direct.pidfile", "missing", "add 'pidfile'"),
        (f"{HEAD}{FILE}release = true\n", "file[0].release", "only a product has a release", 'add each = "product"'),
        (f"{HEAD}{UNIT}[unit.direct]\npidfile = '/p'\nstart = ['x']\nreload = 'HUP'\n".replace('"reload"', '"restart"'),
         "unit[0].direct.reload", "'restart' is never sent the signal", 'set action = "reload"'),
        (f'{HEAD}[[check]]\nname = "c"\nunit = "apachex"\n{UNIT}', "check[0].unit", "no unit 'apachex'",
         "did you mean 'apache'?"),
        (f'{HEAD}[[check]]\nname = "c"\nreplication = "x"\n', "check[0].replication", "no database server",
         "add [replication]"),
        (f'{HEAD}[[check]]\nname = "c"\ndisk = "/"\n', "check[0].free_mb", "missing", "add 'free_mb'"),
        (f'{HEAD}[[check]]\nname = "c"\ntcp = "a:1"\ncontains = "x"\n', "check[0].contains",
         "a check of the kind 'tcp' does not look at it", "it is for: http, file"),
        (f'{HEAD}[[check]]\nname = "c"\nprocess = "p"\n[check.headers]\nA = "b"\n', "check[0].headers",
         "a check of the kind 'process' does not look at it", "it is for: http"),
        (f'{HEAD}[[check]]\nname = "c"\n', "check[0]", "it has none", ""),
        (f'{HEAD}[[check]]\nname = "c"\nhttp = "/"\nunit = "x"\n', "check[0]", "it has http, unit", ""),
        (f'{HEAD}[[check]]\nname = "c"\nhtp = "/"\n', "check[0].htp", "unknown key", "did you mean"),
        (f'{HEAD}[[check]]\nname = "c"\nhttp = "/"\ntimeout = "0s"\n', "check[0].timeout", "greater than 0", ""),
    ],
)  # fmt: skip
def test_each_mistake_of_a_role_is_told_with_its_place_and_a_remedy(
    text: str, path: str, says: str, remedy: str
) -> None:
    fault = refused(text)
    mistakes = [mistake for mistake in fault.mistakes if dotted(mistake.path).startswith(path)]
    mistakes = [mistake for mistake in mistakes if says in mistake.message]
    assert mistakes, str(fault)
    assert remedy in mistakes[0].hint
    assert mistakes[0].line, "near enough to find it"


def test_all_mistakes_of_a_role_are_told_at_once() -> None:
    fault = refused(f'{HEAD}{FILE}units = ["x"]\n[[attachment]]\npath = "/a"\n[[file]]\nsource = "no.j2"\npath = "b"\n')
    assert [dotted(mistake.path) for mistake in fault.mistakes] == ["file[0].units", "attachment[0]", "file[1].source"]


@pytest.mark.parametrize("text", ["", "[[[", "description = " + "[" * 9000, "a = " + "9" * 9000])
def test_what_is_no_role_is_refused(text: str) -> None:
    assert refused(text).exit_code == 78


def test_a_role_that_there_is_not_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigFault, match="no role 'wbe'") as caught:
        read_role(roles_folder(None), "wbe")
    assert caught.value.hint == "did you mean 'web'?"


def test_a_template_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/role.toml").write_text(HEAD)
    (tmp_path / "web/a.j2").write_bytes(b"\xff")
    with pytest.raises(ConfigFault, match="cannot read the role 'web'"):
        read_role(tmp_path, "web")


VARIANTS = """description = "x"
[platform.centos]
port = 1
name = "a"
[platform.centos-mysql]
name = "b"
[platform.debian]
port = 2
name = "c"
"""


def test_a_variant_of_a_platform_has_its_names_and_its_own_over_them() -> None:
    table = parse_role(VARIANTS, "x/role.toml", {}).platform
    assert names_on(table, "centos") == {"port": 1, "name": "a"}
    assert names_on(table, "centos-mysql") == {"port": 1, "name": "b"}
    assert names_on(table, "debian") == {"port": 2, "name": "c"}


def test_a_variant_that_a_role_does_not_have_is_unknown_where_it_has_others() -> None:
    table = parse_role(VARIANTS, "x/role.toml", {}).platform
    assert [names_on(table, platform) for platform in ("centos-msyql", "suse", "suse-mysql", "centosx")] == [None] * 4


def test_a_role_without_variants_takes_each_for_the_platform_itself() -> None:
    table = parse_role(VARIANTS, "x/role.toml", {}).platform
    assert names_on(table, "debian-mysql") == names_on(table, "debian")
    assert names_on(WEB.table.platform, "centos-mysql") == names_on(WEB.table.platform, "centos")


def test_names_of_any_platform_are_there_on_each_and_give_way_to_its_own() -> None:
    shared = '[platform.any]\nport = 9\nname = "z"\npath = "/x"\n'
    table = parse_role(
        VARIANTS.replace("[platform.centos]", f"{shared}[platform.centos]", 1), "x/role.toml", {}
    ).platform
    assert names_on(table, "centos-mysql") == {"port": 1, "name": "b", "path": "/x"}
    assert names_on(table, "debian") == {"port": 2, "name": "c", "path": "/x"}
    assert platforms(table) == ["centos", "centos-mysql", "debian"]
    assert names_on(table, "any") is None, "it is no platform that an image could name"


def test_a_roles_own_name_for_any_platform_counts_before_an_included_roles_name_for_one(tmp_path: Path) -> None:
    tables = {"part": "[platform.debian]\na = 1\nb = 1\n", "whole": "[platform.any]\na = 2\n[platform.debian]\n"}
    for name, table in tables.items():
        (tmp_path / name).mkdir()
        include = '["part"]' if name == "whole" else "[]"
        (tmp_path / name / "role.toml").write_text(f'description = "x"\ninclude = {include}\n{table}')
    assert names_on(read_role(tmp_path, "whole").table.platform, "debian") == {"a": 2, "b": 1}


def test_each_parameter_of_a_role_stands_in_its_readme_and_in_the_documents_page() -> None:
    page = (ROOT / "docs/reference/document.md").read_text()
    for name in role_names(roles_folder(None)):
        readme = (roles_folder(None) / name / "README.md").read_text()
        for parameter in read_role(roles_folder(None), name).table.parameter:
            assert f"`{parameter}`" in readme
            assert f"`{name}.{parameter}`" in page


def test_each_type_of_parameter_and_each_of_its_keys_stands_in_the_page_of_roles() -> None:
    page = (ROOT / "docs/reference/role.md").read_text()
    schema = Parameter.model_json_schema()["properties"]
    for word in (*schema, *schema["type"]["enum"]):
        assert f"| `{word}`" in page or f", `{word}` |" in page, word

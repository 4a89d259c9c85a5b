"""Templates: nothing is written without its format's quoting, what is wrong is told with its line, and a template that
comes with a release reaches data and nothing else."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.errors import ConfigFault
from rolecall.fleet.assignment import Assignment
from rolecall.forms.mistakes import Mistakes
from rolecall.forms.quoting import FORMATS
from rolecall.render.generation import Generation
from rolecall.render.rendering import render
from rolecall.render.settings import RenderSettings
from samples import FLEET, assigned, fuzz, small_role, web

BLOG = {"products/video/secrets": {"TOKEN": "file:/t"}}


def rendered(
    templates: Mapping[str, str] | str, more: str = "", assignment: Assignment | None = None, **each: Any
) -> Generation:
    files = {"a.j2": templates} if isinstance(templates, str) else templates
    return render(small_role(files, more, **each), assignment or assigned(), RenderSettings("debian"))


def text(template: str, **options: Any) -> str:
    return rendered(template, **options).files[0].text


def wrong(templates: Mapping[str, str] | str, more: str = "", **each: Any) -> list[str]:
    """What is told of templates that cannot be rendered, in their order."""
    with pytest.raises(Mistakes) as caught:
        rendered(templates, more, **each)
    assert caught.value.exit_code == 78
    return [f"{'.'.join(map(str, one.path))}: {one.message}" for one in caught.value.mistakes]


@pytest.mark.parametrize(
    "expression",
    [
        "assignment.server", "'literal'", "product_name",
        "assignment.server | word | upper", "(assignment.server | word) ~ '.org'",
        "'%s' | format(assignment.server | word)", "(assignment.server | word) * 2", "assignment.products", "1.5",
        "true", "none",
        "products[0].variable('DB_PASSWORD')", "products[0].environment[0][1]", "assignment.peers[0].address or 'x'",
    ],
)  # fmt: skip
def test_a_value_that_was_not_quoted_is_refused_with_its_line(expression: str) -> None:
    lines = "one\n{# two #}\n{% set product_name = assignment.server %}\nx {{ " + expression + " }}\n"
    [message] = wrong(lines)
    assert message.startswith("small/a.j2:4: ")
    assert f"without quoting; pipe it through one of: {', '.join(FORMATS)}" in message


def test_a_quoted_value_a_number_and_the_templates_own_text_are_written() -> None:
    assert text("a {{ assignment.server | word }} {{ products[0].databases[0].master.port }}\n") == "a web1 3306\n"
    assert text("{% set one = assignment.server | apache %}{{ one }} {{ names.port }}") == '"web1" 80'


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("nope", "'nope' is undefined"), ("nope | word", "'nope' is undefined"), ("assignment.nope | word", "'nope'"),
        ("names.nope | word", "'nope'"), ("products[7].name | word", "7"), ("product.name | word", "'product'"),
        ("products[0].variable('X') | word", "NoneType cannot be written"), ("node | nofilter", "nofilter"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_with_its_name_and_line(expression: str, name: str) -> None:
    [message] = wrong("one\ntwo\n{{ " + expression + " }}\n")
    assert message.startswith("small/a.j2:3: ")
    assert name in message


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("\n{% if nope %}x{% endif %}", 2), ("{% for one in nope %}{% endfor %}", 1), ("\n\n{{ 1 // 0 }}", 3),
        ("\n{{ none | word }}", 2), ("\n{{ true | apache }}", 2), ("\n{{ products | word }}", 2),
        ("\n{{ ['a'] | apache }}", 2), ("\n{{ 'a\\nb' | apache }}", 2), ("\n{{ 'a b' | word }}", 2),
        ("\n{% if %}", 2), ("\n{{ x", 2), ("a\n{% include 'none.j2' %}", 2), ("{% include 'a.j2' %}", 1),
        ("\n{{ assignment.server.x.y | word }}", 2), ("\n{{ 'x'.join(1) | word }}", 2), ("\n{{ {}['x'] | word }}", 2),
    ],
)  # fmt: skip
def test_whatever_goes_wrong_in_a_template_is_told_with_its_line(template: str, line: int) -> None:
    [message] = wrong(template)
    assert message.startswith(f"small/a.j2:{line}: "), message


def test_what_goes_wrong_in_an_included_template_is_told_where_it_stands() -> None:
    messages = wrong({"a.j2": "\n\n{% include 'b.j2' %}", "b.j2": "\n{{ nope | word }}"})
    assert set(messages) == {"small/b.j2:2: 'nope' is undefined"}


def test_all_mistakes_of_several_templates_and_of_the_role_are_told_at_once() -> None:
    more = "[[check]]\nname = '{{ nope3 }}'\nprocess = 'x'\n[[validator]]\nname = 'v'\nargv = ['{{ nope4 }}']\n"
    templates = {
        "a.j2": "{{ nope1 | word }}",
        "b.j2": "\n{{ assignment.server }}",
        "c.j2": "fine",
        "d.j2": "{{ 1 // 0 }}",
    }
    messages = wrong(templates, more, c="when = 'assignment.nope2'")
    assert len(messages) == 6, messages
    for words in ("small/a.j2:1: 'nope1'", "small/b.j2:2: a value", "small/d.j2:1: integer division",
                  "'nope2', in 'assignment",
                  "'nope3' is undefined, in '{{ nope3 }}'", "'nope4' is undefined"):  # fmt: skip
        assert any(words in message for message in messages), words


def test_a_condition_with_a_slip_of_the_pen_is_told_and_not_taken_for_false() -> None:
    assert wrong("x", a="when = 'nope'") == ["small/role.toml: 'nope' is undefined, in 'nope'"]
    assert "no attribute 'rolee'" in wrong("x", a="when = 'assignment.rolee'")[0]
    assert rendered("x", a="when = \"assignment.role == 'database'\"").files == ()


def test_a_secret_cannot_be_joined_to_other_text_and_so_be_written_as_something_else() -> None:
    for expression in ("'x' ~ s", "s ~ ''", "[s] | join(',')", "'%s' | format(s)", "s | string"):
        [message] = wrong("{% set s = products[0].variable('DB_PASSWORD') %}{{ (" + expression + ") | apache }}")
        assert "the secret blog.DB_PASSWORD cannot be a part of another text" in message
    assert "list cannot be written" in wrong("{{ [products[0].variable('DB_PASSWORD')] | apache }}")[0]


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a/..", ".hidden", "a//b", "a/", "a/./b", "a b", "a\\nb", "ä", "~", "$x"],
)
def test_no_file_of_a_generation_is_outside_of_it(path: str) -> None:
    more = f'[[file]]\nsource = "a.j2"\npath = "{path}"\n'
    assert "is not a path within a generation" in wrong("x", more)[0]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("a", "a: two files"),
        ("generation.json", "generation.json: two files"),
        ("a/b", "a/b: 'a' is already a file of the"),
    ],
)
def test_no_two_files_have_one_place(path: str, says: str) -> None:
    messages = wrong("x", f'[[file]]\nsource = "a.j2"\npath = "{path}"\n')
    assert messages[0].startswith(says)


def test_files_of_products_whose_paths_are_the_same_are_told() -> None:
    assert "two files" in wrong("x", a='each = "product"')[0]


def test_a_platform_or_a_name_that_the_role_does_not_have_is_told_with_those_it_has() -> None:
    with pytest.raises(ConfigFault, match="no platform 'suse'") as caught:
        web(platform="suse")
    assert "centos, debian" in caught.value.hint
    with pytest.raises(ConfigFault, match="no platform 'debianx'") as caught:
        web(platform="debianx")
    assert caught.value.hint == "did you mean 'debian'?"
    with pytest.raises(ConfigFault, match="the platform has no http_prt") as caught:
        web(names={"http_prt": 80})
    assert "http_port" in caught.value.hint


def test_settings_can_give_a_platform_other_names() -> None:
    vhost = web(names={"http_port": 8080}).file("apache/50-blog.conf")
    assert vhost is not None
    assert '<VirtualHost "*:8080">' in vhost.text


def test_nothing_but_the_quoting_of_a_format_is_added_to_a_value() -> None:
    for form in FORMATS:
        value = "@daily" if form == "schedule" else "abc"
        assert text("{{ '" + value + "' | " + form + " }}") == FORMATS[form](value)


# --- templates that come with a release ----------------------------------------------------------------------------
APP = '[[file]]\nsource = "app.conf.j2"\npath = "apps/{{ product.name }}.conf"\neach = "product"\nrelease = true\n'


def brought(template: str, **templates: str) -> Generation:
    """What the product blog brings along, rendered in a role that allows `app.conf.j2`."""
    release = {"blog": {"app.conf.j2": template, **templates}}
    return render(small_role({"a.j2": "x"}, APP), assigned(BLOG), RenderSettings("debian"), None, release)


def denied(template: str) -> str:
    with pytest.raises(Mistakes) as caught:
        brought(template)
    [mistake] = caught.value.mistakes
    return f"{mistake.path[0]}: {mistake.message}"


def test_a_release_brings_only_the_templates_that_the_role_allows_by_name() -> None:
    generation = brought("hello {{ product.name | word }}\n", **{"a.j2": "mine", "evil.j2": "mine"})
    assert {file.path: file.text for file in generation.files} == {"a": "x", "apps/blog.conf": "hello blog\n"}
    templates = {"blog": {"a.j2": "mine"}}
    generation = render(small_role({"a.j2": "x"}), assigned(), RenderSettings("debian"), None, templates)
    assert [file.path for file in generation.files] == ["a"]


def test_it_has_its_own_products_data_and_secrets_and_nobody_elses() -> None:
    names = "{% for one in products %}{{ one.name | word }}{% endfor %}"
    generation = brought(names + " {{ product.variable('DB_PASSWORD') | apache }}")
    file = generation.file("apps/blog.conf")
    assert file is not None
    assert file.secrets == {"blog.DB_PASSWORD"}
    assert generation.text_of(file, {"blog.DB_PASSWORD": "p"}) == 'blog "p"'
    for other in ("products[1].name", "assignment.products[1].name", "(products | last).variable('TOKEN')"):
        assert "video" not in denied("{{ " + other + " | word }}")


@pytest.mark.parametrize(
    "forged",
    [
        "\x01video.TOKEN|word\x01",
        "\x01nobody.X|word\x01",
        "\x01blog.DB_PASSWORD|nonsense\x01",
        "\x02nobody\x02",
        "{% filter replace('A', '\x01') %}Avideo.TOKEN|wordA{% endfilter %}",
        "\x01blog.DB_PASS{{ product.variable('DB_PASSWORD') | word }}WORD|word\x01",
        "a\x00b",
        "a\x1bb",
    ],
)
def test_it_cannot_forge_what_stands_for_another_products_secret(forged: str) -> None:
    assert denied(forged) == "small/blog:app.conf.j2: writes control characters"


ESCAPES = [
    "''.__class__", "''.__class__.__mro__[1].__subclasses__()", "product.__init__.__globals__", "tag.__globals__",
    "assignment.__class__.__base__", "product.release.__class__", "self.__init__.__globals__",
    "cycler.__init__.__globals__",
    "lipsum.__globals__['os'].popen('id')", "namespace.__init__", "joiner.__init__", "range.__class__",
    "products | map(attribute='__class__') | first", "product | attr('__class__')", "'{0.__class__}'.format(node)",
    "'{x.__class__}'.format_map({'x': node})", "product.environment.__class__", "().__class__.__bases__",
    "product.release.parse_file('/etc/hostname')", "product.release.parse_raw('{}')", "product.release.construct()",
    "product.release.model_construct()", "product.release.model_validate_json('{}')", "product.release.model_copy()",
    "product.release.model_fields", "product.release.model_config", "product.release.model_json_schema()",
    "product.release.model_dump()", "product.release.json()", "product.release.copy()", "product.checks[0].schema()",
    "product.cron[0].from_orm(product)", "product.cron[0].validate({})", "assignment.server.__add__",
    "paths.__dict__", "paths.names.__class__", "tag.__code__", "tag.__closure__", "product.variable.__func__",
    "[].append(1)", "{}.update(a=1)", "names.pop('port')", "names.clear()", "product.environment.append(1)",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pydantic, whose old methods are among them
@pytest.mark.parametrize("expression", ESCAPES)
def test_it_cannot_reach_the_insides_of_python(expression: str) -> None:
    message = denied("\n{{ (" + expression + ") | string | shell }}")
    assert message.startswith("small/blog:app.conf.j2:2: ")
    assert "unsafe" in message or "undefined" in message or "has no attribute" in message, message


def test_it_cannot_run_anything_by_what_pydantic_can_unpickle(tmp_path: Path) -> None:
    pickled = f"cposix\\nsystem\\n(S\\'touch {tmp_path}/ran\\'\\ntR."
    message = denied("{{ product.release.parse_raw('" + pickled + "', proto='pickle', allow_pickle=true) | word }}")
    assert "unsafe" in message
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "template",
    [
        "{{ 1 // 0 }}", "{{ range(10 ** 9) | list | length }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include 'app.conf.j2' %}", "{% include '/etc/passwd' %}", "{% include '../../etc/passwd' %}", "{% if %}",
        "{{ product.name }}", "{{ nope | word }}", "{{ [1][5] | word }}", "{{ (product.environment[0] ~ 'x') }}",
        "{% for one in product.nope %}{% endfor %}", "{{ 'a\\nb' | apache }}", "{{ product.hostnames | apache }}",
    ],
)  # fmt: skip
def test_a_template_that_does_its_worst_is_refused_in_words(template: str) -> None:
    assert denied(template).startswith("small/blog:app.conf.j2:1: ")


WORDS = """{{ }} {% %} ( ) [ ] . | ~ , product products node names paths tag for in if set endfor endif word apache name
__class__ release parse_raw environment variable 'x' 0 1 include import macro call filter self loop range""".split()


@fuzz(50)
@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_any_template_is_rendered_or_refused_in_words(template: str) -> None:
    try:
        assert brought(template).id
    except Mistakes as mistakes:
        assert str(mistakes)  # noqa: PT017 - either of the two is right


def test_the_real_role_renders_the_example_for_both_platforms() -> None:
    assert FLEET
    for platform in ("centos", "debian"):
        for server in ("web1", "web2"):
            generation = web(server=server, platform=platform)
            assert generation.platform == platform
            assert len(generation.files) > 8


def test_a_check_names_its_product_or_is_the_nodes_own() -> None:
    checks = web(server="web1").checks
    of_products = [check for check in checks if check.product]
    assert {check.product for check in of_products} == {release.product for release in web(server="web1").releases}
    assert all(check.name.startswith(f"{check.product}: ") for check in of_products)
    assert {"attachments in place", "apache is active"} <= {check.name for check in checks if not check.product}

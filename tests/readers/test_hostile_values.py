"""Any string that can reach a file is refused, or the real reader of that file reads it back as it was written.

The strings go the whole way: through the document's door, the real role's templates and the file's own reader (Apache
with php-fpm behind it, dash and bash, cron, the MySQL programs, systemd-sysusers, systemd-tmpfiles).
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import format_readers
from box import Box
from patience import on_this_machine
from rolecall.demo import folder_node
from rolecall.errors import ConfigFault
from rolecall.fleet.account_numbers import number_mistakes
from rolecall.forms.quoting import FORMATS
from rolecall.forms.scalars import MOST_BYTES
from rolecall.host.accounts import create_accounts
from rolecall.render.generation import from_json
from rolecall.render.rendering import render
from rolecall.render.settings import RenderSettings
from samples import ANY_TEXT, WEB, accepts, assigned, edited, fuzz, render_settings, small_role, text_of, web

AS_ROOT = os.geteuid() == 0
NASTY = [
    "", " ", "  two  ", "\t", "\n", "a\nb", "\r\n", "\0", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff",
    "\u200b", '"', "'", "\\", "\\\\", '\\"', "\\'", '""', "''", 'a"b', "a'b", "a\\", '"a"', "'a'", "\\n", "\\s",
    "\\x41", "\\101", "$", "$$", "$HOME", "${HOME}", "$${HOME}", "${", "${}", "${rolecall_dollar}",
    "${rolecall_dollar}{PATH}", "$(id)", "`id`", "%", "%%", "%h", "%{ENV:PATH}", "%s", "%n$", "#", "a #b", ";",
    "a; b", "&", "|", ">x", "<x", "!", "!include /x", "~", "~root", "*", "?", "[a]", "{a,b}", "-", "--", "-n", "-e",
    "=", "a=b", "=a", ":", "::", "/", "//", "..", ".", "@x", "null", "on", "off", "yes", "true", "none", "0", "-1",
    "1e9", "<VirtualHost *>", "</VirtualHost>", "[client]", "expr=%{req:x}", "early", "ä", "€", "😀", "a\u0301",
    "\u00a0", "\u3000", "\uffff", "\U0010ffff", "x" * 300, "x" * MOST_BYTES, "x" * (MOST_BYTES + 1),
    "ü" * (MOST_BYTES // 2), '"' * MOST_BYTES, "\\" * MOST_BYTES, "$" * MOST_BYTES, "${" * (MOST_BYTES // 2),
    "'" * MOST_BYTES,
]  # fmt: skip
TEXTS = st.lists(ANY_TEXT | st.sampled_from(NASTY), min_size=30, max_size=60)

# Names of variables that mean something to a shell, to PHP, to Apache or to a MySQL program.
NAMES = """
_ A a IFS ENV PATH PWD OLDPWD HOME SHELL UID EUID PPID OPTIND OPTARG OPTERR LINENO RANDOM SRANDOM SECONDS FUNCNAME
FUNCNEST GROUPS DIRSTACK HISTCMD HISTFILE HISTSIZE PIPESTATUS SHELLOPTS BASHOPTS BASHPID BASH_ENV BASH_COMPAT
BASH_XTRACEFD BASH_VERSINFO SHLVL EPOCHSECONDS EPOCHREALTIME PS1 PS2 PS4 CDPATH MAIL MAILPATH MAILCHECK MAILTO TERM
TMOUT TIMEFORMAT POSIXLY_CORRECT GLOBIGNORE IGNOREEOF REPLY COLUMNS LINES HOSTNAME COMP_WORDS PROMPT_COMMAND LANG
LC_ALL LC_CTYPE TZ TMPDIR LD_PRELOAD LD_LIBRARY_PATH GCONV_PATH PYTHONPATH PERL5LIB NODE_OPTIONS PHPRC
PHP_INI_SCAN_DIR PHP_VALUE PHP_ADMIN_VALUE PHP_SELF PHP_AUTH_USER PHP_AUTH_PW PHP_AUTH_DIGEST HTTP_PROXY http_proxy
HTTPS AUTH_TYPE SERVER_NAME SERVER_PORT REMOTE_USER REMOTE_ADDR REQUEST_URI REQUEST_METHOD REQUEST_TIME
REQUEST_TIME_FLOAT SCRIPT_FILENAME SCRIPT_NAME DOCUMENT_ROOT PATH_INFO QUERY_STRING CONTENT_TYPE CONTENT_LENGTH
GATEWAY_INTERFACE FCGI_ROLE REDIRECT_STATUS CONTEXT_PREFIX UNIQUE_ID argc argv nokeepalive proxy_x no_gzip gzip
FORWARDED Authorization AUTHORIZATION MYSQL_PWD MYSQL_HOST DB_USER DB_PASSWORD USER LOGNAME ESAC if esac done for in
case
""".split()


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="rc-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """A node that serves one product, whose only page tells what it was given."""
    folder = Path(tempfile.mkdtemp(prefix="rc-"))
    folder.chmod(0o755)
    made = Box(folder)
    page = "<?php header('Content-Type: application/json'); echo json_encode([$_SERVER, getenv()]);"
    try:
        made.product("blog", cron=[{"name": "env", "schedule": "@daily", "command": ["env", "-0"]}])
        made.document["products"]["blog"]["release"] = made.release(
            "blog", "1", {"public/health": "ok", "public/index.php": page}
        )
        made.publish()
        made.boot()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def seen(box: Box, environment: Mapping[str, str], secrets: Mapping[str, str]) -> list[dict[str, str]]:
    """What a page and a cron job get to see: $_SERVER, getenv(), and the job's environment under both shells."""
    folder = box.machine.root / "etc/rolecall/secrets"
    folder.mkdir(exist_ok=True)
    for key, value in secrets.items():
        (folder / key).write_text(value)
        (folder / key).chmod(0o600)
    box.document["products"]["blog"] |= {
        "environment": dict(environment), "secrets": {key: f"file:{folder / key}" for key in secrets},
    }  # fmt: skip
    box.publish()
    box.rolecall("refresh")
    deadline, wanted = time.monotonic() + on_this_machine(10), tag_of(box)
    status, headers, text = box.get("blog.example.com")
    while headers["X-Rolecall-Config"] != wanted and time.monotonic() < deadline:
        time.sleep(0.05)  # one of Apache's old workers, on its way out
        status, headers, text = box.get("blog.example.com")
    assert (status, headers["X-Rolecall-Config"]) == (200, wanted)
    jobs = [format_readers.sh(shell, box.state / "current/jobs/blog.sh", "env") for shell in format_readers.SHELLS]
    return [*json.loads(text), *(dict(line.split("=", 1) for line in job) for job in jobs)]


def tag_of(box: Box) -> str:
    """The tag of the configuration that Apache should have."""
    made = from_json((box.state / "current/generation.json").read_text())
    return next(one.tag for one in made.units if one.name == "apache")


def with_value(value: str) -> dict[str, Any]:
    return edited({"products/blog/environment": {"V": value}})


def expressible(value: str) -> bool:
    """Whether a secret with this value can be written to the files of a product that uses no MySQL."""
    try:
        return bool(FORMATS["apache"](value) and FORMATS["shell"](value))
    except ValueError:
        return False


@fuzz(2, batches=True)
@example(texts=NASTY)
@given(texts=TEXTS)
def test_pages_and_cron_jobs_read_the_environment_and_the_secrets_as_they_were_written(
    box: Box, texts: list[str]
) -> None:
    environment = {f"V{n}": text for n, text in enumerate(texts) if accepts(with_value(text))}
    secrets = {f"S{n}": text for n, text in enumerate(texts) if expressible(text)}
    assert len(environment) > len(texts) / 4
    for reader in seen(box, environment, secrets):
        assert {key: reader.get(key) for key in environment | secrets} == environment | secrets


def test_pages_and_cron_jobs_have_every_variable_whose_name_passes_the_door(box: Box) -> None:
    names = [name for name in NAMES if accepts(edited({"products/blog/environment": {name: "x"}}))]
    assert {"A", "TZ", "MYSQL_PWD", "ESAC"} <= set(names)
    environment = {name: f"of {name}" for name in names}
    for reader in seen(box, environment, {}):
        assert {key: reader.get(key) for key in environment} == environment


def test_apache_shows_the_folder_that_was_written(box: Box) -> None:
    roots = [one for one in ["a..b", "...", "@x+y-z", "-x", "a.b_c/d", ".x", "x/" * 20 + "x", "%h", "a b", "*"]
             if accepts(edited({"products/blog/document_root": one}))]  # fmt: skip
    before = box.snapshot()
    for n, root in enumerate(roots):
        files = {f"{root}/index.html": f"this is {root}", f"{root}/health": "ok"}
        box.product(f"p{n}", runtime="static", document_root=root)
        box.document["products"][f"p{n}"]["release"] = box.release(f"p{n}", "1", files)
    box.publish()
    box.rolecall("refresh")
    assert [box.get(f"p{n}.example.com")[2] for n, _ in enumerate(roots)] == [f"this is {root}" for root in roots]
    box.document |= {"products": before["products"], "servers": before["servers"]}


def job_file(folder: Path, *edits: Mapping[str, Any], secrets: Mapping[str, str] | None = None) -> Path:
    """The jobs of the example's product, with the folder of its release in place."""
    made = web(*edits, state=f"{folder}/state")
    (folder / "state" / made.releases[0].folder).mkdir(parents=True, exist_ok=True)
    script = folder / "blog.sh"
    script.write_text(text_of(made, "jobs/blog.sh", {"blog.DB_PASSWORD": "x", **(secrets or {})}))
    return script


@fuzz(5, batches=True)
@example(texts=NASTY)
@given(texts=TEXTS)
def test_a_cron_jobs_arguments_and_environment_are_read_by_the_shell_as_they_were_written(
    scratch: Path, texts: list[str]
) -> None:
    words = [text for text in texts if accepts(edited({"products/blog/cron/0/command/1": text}))]
    values = {f"V{n}": text for n, text in enumerate(texts) if accepts(with_value(text))}
    script = job_file(
        scratch,
        {
            "products/blog/environment": values,
            "products/blog/cron/0": {
                "name": "words",
                "schedule": "@daily",
                "command": ["printf", "%s\\0", *words, "end"],
            },
            "products/blog/cron/1": {"name": "env", "schedule": "@daily", "command": ["env", "-0"]},
        },
    )
    for shell in format_readers.SHELLS:
        assert format_readers.sh(shell, script, "words") == [*words, "end"]
        read = dict(line.split("=", 1) for line in format_readers.sh(shell, script, "env"))
        assert {key: read.get(key) for key in values} == values


@fuzz(2, batches=True)
@example(
    programs=["-c", "-l", "-a", "--", "", "exec", "FOO=bar", "~", "*", "[", "if", "time", "$HOME", "'", '"', "a b", "!"]
)
@given(programs=st.lists(ANY_TEXT, min_size=1, max_size=15))
def test_a_cron_jobs_program_is_the_one_that_was_named(scratch: Path, programs: list[str]) -> None:
    folder = Path(tempfile.mkdtemp(dir=scratch))
    jobs: list[dict[str, Any]] = []
    for program in programs:
        job = {"name": f"j{len(jobs)}", "schedule": "@daily", "command": [program, "x"]}
        if "/" in program or len(program.encode("utf-8", "replace")) > 200:
            continue  # not a name that is looked up
        if accepts(edited({"products/blog/cron/0": job})):
            jobs.append(job)
            tool = folder / program
            if not tool.exists():
                tool.write_text('#!/bin/sh\nprintf \'%s\\0\' "${0##*/}" "$@"\n')
                tool.chmod(0o755)
    script = job_file(scratch, {"products/blog/cron": jobs or [{"name": "a", "schedule": "@daily", "command": ["a"]}]})
    env = format_readers.ENVIRONMENT | {"PATH": f"{folder}:{format_readers.ENVIRONMENT['PATH']}"}
    for job in jobs:
        for shell in format_readers.SHELLS:
            assert format_readers.sh(shell, script, str(job["name"]), env) == job["command"]


def test_a_job_may_have_the_name_of_a_word_of_the_shell(scratch: Path) -> None:
    names = ["esac", "in", "do", "case", "if", "fi", "a", "job-1"]
    jobs = [{"name": name, "schedule": "@daily", "command": ["printf", "%s\\0", name]} for name in names]
    script = job_file(scratch, {"products/blog/cron": jobs})
    for shell in format_readers.SHELLS:
        assert [format_readers.sh(shell, script, name) for name in names] == [[name] for name in names]
        done = subprocess.run([*shell, str(script), "other"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (64, "blog has no such job\n")


FIELD = st.one_of(
    st.sampled_from(["*", "*/2", "0", "7", "1-5", "1-5/2", "1/5", "5-1", "00", "60", "1,2", "*,1", "sun", "JAN",
                     "mon-fri", "sat-sun", "jan-mar/2", "31", "L", "1W", "?", "~", "", "*/59", "0-7", "1-jan"]),
    st.from_regex(r"[0-9*/,-]{1,6}|[A-Za-z]{3}", fullmatch=True),
)  # fmt: skip
SCHEDULES = st.lists(FIELD, min_size=4, max_size=6).map(" ".join) | ANY_TEXT | st.sampled_from(NASTY)


@fuzz(8, batches=True)
@example(
    schedules=["@daily", "@midnight", "* * * * *", "@reboot", "1/5 * * * *", "* * * * *\n* * * * * root id", "MAILTO=x"]
)
@given(schedules=st.lists(SCHEDULES, min_size=30, max_size=60))
def test_cron_accepts_every_schedule_that_passes_the_door_and_finds_no_job_more(schedules: list[str]) -> None:
    good = [one for one in schedules if accepts(edited({"products/blog/cron/0/schedule": one}))]
    jobs = [{"name": f"j{n}", "schedule": one, "command": ["true"]} for n, one in enumerate(good)]
    table = text_of(web({"products/blog/cron": jobs}), "cron/rolecall", {})
    assert format_readers.crontab(table) == len(jobs)
    assert [line for line in table.splitlines() if line.endswith("j0")] == [
        f"{one} blog /bin/sh /var/lib/rolecall/current/jobs/blog.sh j0" for one in good[:1]
    ]


def test_no_command_reaches_the_table_of_cron_itself() -> None:
    command = ["php", "%", "\\%", "* * * * * root id", "a'b", "$(id)", "100%"]
    table = text_of(web({"products/blog/cron/0/command": command}), "cron/rolecall", {})
    [line] = [line for line in table.splitlines() if line.startswith("*")]
    assert not set("%$'\\") & set(line)
    assert format_readers.crontab(table) == 1


HOSTNAMES = st.lists(
    st.from_regex(r"[a-z0-9-]{1,12}(\.[a-z0-9-]{1,12}){0,3}", fullmatch=True) | ANY_TEXT
    | st.sampled_from([*NASTY, "*.x.org", "_x.org", "a.b.", "xn--a", "1.2.3.4", "0x7f.1", "A.org", "a:80", "web1"]),
    min_size=20, max_size=40, unique=True,
)  # fmt: skip


@fuzz(2, batches=True)
@given(hostnames=HOSTNAMES)
def test_apache_has_the_hostnames_that_were_written(scratch: Path, hostnames: list[str]) -> None:
    good = [one for one in hostnames if accepts(edited({"products/blog/hostnames": [one]}))] or ["a.example"]
    host = folder_node.build(Path(tempfile.mkdtemp(dir=scratch)), port=18080)
    made = web({"products/blog/hostnames": good, "servers/web1/products": ["blog"]}, state=str(host.state),
               root=str(host.root), names={"http_port": 18080})  # fmt: skip
    secrets = {"blog.DB_PASSWORD": "x"}
    (host.root / "var/log/apache2/products").mkdir()
    text = "\n".join(text_of(made, path, secrets) for path in ("apache/00-base.conf", "apache/50-blog.conf"))
    found = format_readers.apache_hosts(host, text)
    assert found[good[0]] == good[1:]
    assert set(found) == {"web1", good[0]}


@fuzz(2, batches=True)
@example(texts=NASTY)
@given(texts=TEXTS)
def test_mysql_programs_read_a_password_as_it_was_written(scratch: Path, texts: list[str]) -> None:
    file, made, refused = scratch / "my.cnf", web(), 0
    for text in texts:
        try:
            file.write_text(text_of(made, "mysql/blog.cnf", {"blog.DB_PASSWORD": text}))
        except ConfigFault:
            refused += 1
            continue
        read = format_readers.my_print_defaults(file, "client")
        assert read == ["--user=blog", f"--password={text}", "--host=10.0.0.21", "--port=3306", "--ssl"]
    assert format_readers.my_print_defaults(file, "client_blog") == ["--host=10.0.0.21", "--port=3306", "--ssl"]
    assert format_readers.my_print_defaults(file, "client_blog_replica") == ["--host=10.0.0.23", "--port=3306", "--ssl"]
    assert refused < len(texts)


@fuzz(2, batches=True)
@example(texts=NASTY)
@given(texts=TEXTS)
def test_mysql_programs_read_a_user_as_it_was_written(scratch: Path, texts: list[str]) -> None:
    good = [one for one in texts if accepts(edited({"products/blog/environment/DB_USER": one}))]
    made = web(products([f"u{n}" for n, _ in enumerate(good)],
                        lambda n: {"environment": {"DB_USER": good[n]}, "databases": ["blog"]}))  # fmt: skip
    for n, text in enumerate(good):
        (scratch / "my.cnf").write_text(text_of(made, f"mysql/p{n}.cnf", {}))
        read = format_readers.my_print_defaults(scratch / "my.cnf", "client")
        assert read == [f"--user={text}", "--host=10.0.0.21", "--port=3306", "--ssl"]


def test_what_is_too_long_for_a_line_of_an_option_file_is_refused_before_it_is_cut_in_two() -> None:
    with pytest.raises(ConfigFault, match=r"blog\.DB_PASSWORD cannot be written to mysql/blog\.cnf: it is too long"):
        text_of(web(), "mysql/blog.cnf", {"blog.DB_PASSWORD": "x" * 5000})


ACCOUNTS = st.lists(
    st.from_regex(r"[a-z_][a-z0-9_-]{0,34}", fullmatch=True) | ANY_TEXT
    | st.sampled_from([*NASTY, "root", "0", "1a", "a.b", "a$", "a:b", "nobody", "deploy", "-", "_", "a-"]),
    min_size=6, max_size=12, unique=True,
)  # fmt: skip


@pytest.mark.skipif(not AS_ROOT, reason="makes accounts below a scratch root, which only root can")
@fuzz(2, batches=True)
@given(users=ACCOUNTS, groups=ACCOUNTS)
def test_systemd_sysusers_makes_the_accounts_that_were_written_and_no_others(
    scratch: Path, users: list[str], groups: list[str]
) -> None:
    users = [one for one in users if accepts(edited({"products/blog/user": one}))] or ["blog"]
    groups = [one for one in groups if accepts(edited({"products/blog/groups": [one]})) and one not in users]
    document = products(users, lambda _: {"groups": groups})
    assume(not list(number_mistakes(document["products"])))
    root = Path(tempfile.mkdtemp(dir=scratch))
    (root / "etc").mkdir()
    create_accounts(web(document), str(root))
    passwd = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    assert {one[0]: (one[4], one[5]) for one in passwd} == {
        user: (f"product p{n}", f"/var/lib/rolecall/private/p{n}") for n, user in enumerate(users)
    }
    members = {one[0]: one[3] for line in (root / "etc/group").read_text().splitlines() if (one := line.split(":"))}
    assert set(members) == {*users, *groups}
    assert all(set(members[group].split(",")) == set(users) for group in groups)


def products(users: list[str], more: Any) -> dict[str, Any]:
    """A document with one product a user."""
    data = edited()
    data["products"] = {
        f"p{n}": {**data["products"]["video"], "user": user, "hostnames": [f"p{n}.org"], **more(n)}
        for n, user in enumerate(users)
    }
    for name, server in data["servers"].items():
        server["products"] = list(data["products"]) if name == "web1" else []
    return data


FOLDERS = st.lists(
    st.from_regex(r"[A-Za-z0-9._@+-]{1,20}(/[A-Za-z0-9._@+-]{1,20}){0,2}", fullmatch=True) | ANY_TEXT
    | st.sampled_from([*NASTY, "%h", "a b", "*", "a/../b", "/etc", "..", "a//b", "x" * 255, "x" * 256, "-rf"]),
    min_size=15, max_size=30, unique=True,
)  # fmt: skip


@fuzz(3, batches=True)
@given(folders=FOLDERS)
def test_systemd_tmpfiles_makes_the_folders_that_were_written_and_no_others(scratch: Path, folders: list[str]) -> None:
    writable: list[str] = []
    for one in folders:
        if accepts(edited({"products/blog/writable": [*writable, one]})):
            writable.append(one)
    root = Path(tempfile.mkdtemp(dir=scratch))
    made = web({"products/blog/writable": writable}, state=f"{root}/state", root=str(root), accounts=False)
    (root / "tmpfiles.conf").write_text(text_of(made, "tmpfiles.conf", {}))
    format_readers.run("systemd-tmpfiles", "--create", str(root / "tmpfiles.conf"))
    shared = root / "state/shared"
    wanted = {parent for one in writable for parent in [one, *map(str, Path(one).parents)]} - {"."}
    assert {str(path.relative_to(shared / "blog")) for path in (shared / "blog").rglob("*")} == wanted
    assert {path.name for path in shared.iterdir()} == {"blog", "video"}
    assert {path.name for path in (root / "state").iterdir()} == {"shared", "private"}


def filled(template: str, texts: list[str], form: str, **place: Any) -> tuple[list[str], str]:
    """The texts that a format takes, and a template with each of them, rendered."""
    good = []
    for text in texts:
        try:
            FORMATS[form](text)
        except ValueError:
            continue
        good.append(text)
    values = {f"V{n}": f"file:/{n}" for n, _ in enumerate(good)}
    made = render(
        small_role({"file.j2": template}),
        assigned({"products/blog/environment": {}, "products/blog/secrets": values}),
        render_settings(**place),
    )
    return good, text_of(made, "file", {f"blog.V{n}": text for n, text in enumerate(good)})


@fuzz(5, batches=True)
@example(texts=NASTY)
@given(texts=TEXTS)
def test_systemd_reads_any_text_as_it_was_written_in_its_format(scratch: Path, texts: list[str]) -> None:
    root = Path(tempfile.mkdtemp(dir=scratch))
    template = (
        "{% for name, value in products[0].environment if name[0] == 'V' %}\n"
        "d {{ value | systemd }} 0755 - - -\n{% endfor %}\n"
    )
    short = [text for text in texts if "/" not in text and len(text.encode("utf-8", "replace")) < 200]
    good, text = filled(template, [f"{root}/d{n}{text}" for n, text in enumerate(short)], "systemd")
    (root / "tmpfiles.conf").write_text(text)
    format_readers.run("systemd-tmpfiles", "--create", str(root / "tmpfiles.conf"))
    assert {path.name for path in root.iterdir()} - {"tmpfiles.conf"} == {Path(name).name for name in good}


@fuzz(5, batches=True)
@example(texts=NASTY)
@given(texts=TEXTS)
def test_php_fpm_reads_any_text_as_it_was_written_in_its_format(scratch: Path, texts: list[str]) -> None:
    template = (
        "[global]\n[rolecall-x]\nuser = nobody\nlisten = /run/x.sock\npm = ondemand\npm.max_children = 1\n"
        "{% for name, value in products[0].environment if name[0] == 'V' %}\n"
        "php_admin_value[{{ name | word }}] = {{ value | php_ini }}\n{% endfor %}\n"
    )
    good, text = filled(template, [text for text in texts if len(text) < 400], "php_ini")
    (scratch / "fpm.conf").write_text(text)
    read = format_readers.php_fpm(scratch / "fpm.conf")
    settings = read.pop("rolecall-x")
    assert set(read) == {"global"}
    assert {f"V{n}": settings[f"php_admin_value[V{n}]"] for n, _ in enumerate(good)} == {
        f"V{n}": text for n, text in enumerate(good)
    }


def test_php_fpm_has_one_pool_a_product_whatever_their_names_are(scratch: Path) -> None:
    names = ["global", "rolecall", "www", "null", "yes", "on", "none", "a-b", "a" * 40]
    data = products([f"u{n}" for n, _ in enumerate(names)], lambda n: {"workers": n + 1})
    data["products"] = dict(zip(names, data["products"].values(), strict=True))
    data["servers"]["web1"]["products"] = names
    assert accepts(data)
    sockets = tempfile.mkdtemp(dir=scratch)
    made = web(data, names={"php_fpm_sockets": sockets}, accounts=False)
    pools = [text_of(made, f"php-fpm/{name}.conf", {}) for name in ("00-rolecall", *names)]
    # Accounts are left out for the reader's sake: it would look them up.
    text = "\n".join(pools).replace("listen.mode", "user = nobody\ngroup = nogroup\nlisten.mode")
    (scratch / "fpm.conf").write_text(text)
    read = format_readers.php_fpm(scratch / "fpm.conf")
    assert set(read) == {"global", "rolecall", *(f"rolecall-{name}" for name in names)}
    for n, name in enumerate(names):
        pool = read[f"rolecall-{name}"]
        assert pool["pm.max_children"] == str(n + 1)
        assert pool["listen"] == f"{sockets}/rolecall-{name}.sock"
        assert pool["php_admin_value[session.save_path]"] == f"/var/lib/rolecall/private/{name}"


@fuzz(12, batches=True)
@example(text="\n", marker="s3cr3t-in-words")
@example(text="x" * (MOST_BYTES + 1), marker="s3cr3t-in-words")
@given(text=ANY_TEXT, marker=st.just("s3cr3t-in-words"))
def test_a_secret_that_a_file_cannot_express_is_named_and_never_told(text: str, marker: str) -> None:
    value = f"{marker}{text}"
    template = "".join(f"{{{{ products[0].variable('V') | {form} }}}}\n" for form in ("apache", "php_ini", "my_cnf"))
    for form in FORMATS:
        made = render(
            small_role({"file.j2": template.replace("apache", form)}),
            assigned({"products/blog/environment": {}, "products/blog/secrets": {"V": "file:/x"}}),
            RenderSettings("debian"),
        )
        try:
            text_of(made, "file", {"blog.V": value})
        except ConfigFault as fault:
            told = fault
        else:
            continue
        assert "blog.V" in told.message
        assert marker not in f"{told.message}{told.hint}{told!r}"


@fuzz(2, batches=True)
@given(texts=st.lists(ANY_TEXT | st.sampled_from(NASTY), min_size=12, max_size=15))
def test_no_string_of_the_settings_adds_a_line_or_a_control_character_to_any_file(texts: list[str]) -> None:
    assignment = assigned()

    def lines(**place: Any) -> dict[str, int]:
        made = render(WEB, assignment, render_settings(**place))
        texts = {one.path: without_tokens(one.text) for one in made.files}
        assert not any(sign < " " and sign != "\n" for text in texts.values() for sign in text)
        return {path: len(text.splitlines()) for path, text in texts.items()}

    usual = lines()
    names = ("apache_user", "http_listen", "apache_group", "php_fpm_sockets", "apache_logs", "state")
    for text, name in zip(texts, itertools.cycle(names), strict=False):
        try:
            found = lines(state=f"/{text}") if name == "state" else lines(names={name: text})
        except ConfigFault:
            continue
        assert found == usual


def without_tokens(text: str) -> str:
    """The text with what stands for a secret or a tag left out."""
    return re.sub("\x01[^\x01]*\x01|\x02[^\x02]*\x02", "", text)

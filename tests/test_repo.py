"""What this repository promises about itself."""

import ast
import itertools
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rolecall import errors

REPO = Path(__file__).resolve().parent.parent
AGENT = REPO / "agent" / "rolecall"
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())
MODULES = {path.relative_to(AGENT).as_posix(): ast.parse(path.read_text()) for path in sorted(AGENT.rglob("*.py"))}

# A store is written by its own module: it is another machine's disk as far as the node is concerned.
DOORS_TO_THE_DISK = {"host/files.py", "host/new_tree.py", "host/trees.py", "store/file.py"}
DOOR_TO_PROGRAMS = "host/programs.py"

CHANGES_IN_OS = re.compile(
    "rename|renames|replace|unlink|remove|rmdir|removedirs|mkdir|makedirs|symlink|link|mkfifo|mknod|truncate"
    "|chmod|lchmod|chown|lchown|utime|setxattr"
)
CHANGES_IN_SHUTIL = re.compile("copy.*|move|rmtree|chown|make_archive|unpack_archive")
CHANGES_OF_PATH = re.compile(
    "write_text|write_bytes|unlink|mkdir|rmdir|rename|symlink_to|hardlink_to|touch|chmod|lchmod|extractall"
)

# The names below are put together so that this file does not contain what it looks for.
REGISTRIES = [
    ".".join(host)
    for host in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("snapshot", "debian", "org"),
        ("registry", "npmjs", "org"),
        ("proxy", "golang", "org"),
    )
]
MACHINE_PATHS = ["/" + path for path in ("work", "root/.pyenv", "root/.cache", "opt/wheels", "opt/pypi")]


def repo_files(*under: str) -> list[Path]:
    """Every file that is tracked, or would be by `git add .`"""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *under]
    names = subprocess.run(command, cwd=REPO, check=True, capture_output=True, text=True).stdout
    return sorted(REPO / name for name in set(names.split("\0")) if name and (REPO / name).is_file())


def nodes(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Every node of a kind in the agent, with the module it is in."""
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield module, node


def program(*command: str, cwd: Path = REPO, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this virtual environment."""
    bin_folder = Path(sys.executable).parent
    return subprocess.run(
        [bin_folder / command[0], *command[1:]],
        cwd=cwd,
        env={"PATH": f"{bin_folder}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


# What is shipped


def test_the_wheel_holds_the_agent_and_the_roles_and_nothing_else(tmp_path: Path) -> None:
    built = program("python", "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    assert built.returncode == 0, built.stdout
    version = PROJECT["project"]["version"]
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"rolecall-{version}-py3-none-any.whl"

    about = f"rolecall-{version}.dist-info"
    expected = {f"{about}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    expected |= {path.relative_to(REPO / "agent").as_posix() for path in repo_files("agent/rolecall/*.py")}
    share = f"rolecall-{version}.data/data/share/rolecall"
    expected |= {f"{share}/{path.relative_to(REPO).as_posix()}" for path in repo_files("templates")}
    with zipfile.ZipFile(wheel) as archive:
        assert sorted(archive.namelist()) == sorted(expected)


def test_the_man_page_and_the_completions_are_those_of_the_command_line() -> None:
    made = program("python", "packaging/generate.py", "--check")
    assert made.returncode == 0, made.stdout


def pins(name: str) -> dict[str, str]:
    """Package → version of a requirements file; fails on any line that is not one pinned, hashed package."""
    text = re.sub(r"^ *#.*\n", "", (REPO / "requirements" / name).read_text(), flags=re.MULTILINE)
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        pin = re.fullmatch(r"([a-z0-9-]+)==([^ ;]+)( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+", line)
        assert pin, f"{name}: {line[:100]}"
        found[pin[1]] = pin[2]
    return found


def test_every_requirement_is_pinned_with_hashes_and_says_nothing_of_where_it_came_from() -> None:
    agent, dev = pins("agent.txt"), pins("dev.txt")
    extras = PROJECT["project"]["optional-dependencies"]
    assert {*PROJECT["project"]["dependencies"], *extras["node"]} <= agent.keys()
    assert {name.partition("[")[0] for name in PROJECT["dependency-groups"]["dev"]} <= dev.keys()
    assert set(PROJECT["build-system"]["requires"]) <= pins("build.txt").keys()


def test_the_tests_run_with_the_versions_that_are_shipped() -> None:
    dev = pins("dev.txt")
    assert pins("agent.txt").items() <= dev.items()
    build = pins("build.txt")
    assert {name: dev[name] for name in build if name in dev}.items() <= build.items()


def test_no_debian_package_is_asked_for_that_removes_systemd() -> None:
    lines = (REPO / "requirements" / "debian.txt").read_text().splitlines()
    packages = {line.split("|")[0].strip() for line in lines}
    assert "systemd" in packages
    assert not packages & {"systemd-standalone-sysusers", "systemd-standalone-tmpfiles", "systemd-cron"}


# How it is built


def test_every_layer_knows_only_the_layers_below_it() -> None:
    linted = program("lint-imports", "--no-cache", "--no-logo")
    assert linted.returncode == 0, linted.stdout


def test_a_module_that_looks_upwards_is_found(tmp_path: Path) -> None:
    shutil.copytree(REPO / "agent", tmp_path / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    with (tmp_path / "agent" / "rolecall" / "errors.py").open("a") as lowest:
        lowest.write("import rolecall.fleet\n")
    linted = program("lint-imports", "--no-cache", "--no-logo", cwd=tmp_path, PYTHONPATH=str(tmp_path / "agent"))
    assert linted.returncode == 1
    assert "rolecall.errors is not allowed to import rolecall.fleet" in linted.stdout


def test_no_module_is_longer_than_250_lines() -> None:
    lengths = {name: len((AGENT / name).read_text().splitlines()) for name in MODULES}
    assert {name: length for name, length in lengths.items() if length > 250} == {}


def test_no_function_is_longer_than_50_lines() -> None:
    too_long = []
    for module, node in itertools.chain(nodes(ast.FunctionDef), nodes(ast.AsyncFunctionDef)):
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > 50:
            too_long.append(f"{module}: {node.name} has {length} lines")
    assert too_long == []


def test_no_two_modules_of_tests_have_one_name() -> None:
    """Python would take the second one for the first."""
    names = [path.name for path in (REPO / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_no_exception_is_caught_that_was_not_foreseen() -> None:
    broad = {"Exception", "BaseException"}
    border = "steps/finish.py"  # a reporter's library may throw anything: that is a note in the report, once
    found = []
    for module, node in itertools.chain(nodes(ast.ExceptHandler), nodes(ast.Call)):
        if isinstance(node, ast.ExceptHandler):
            caught = {"BaseException"} if node.type is None else names_in(node.type)
            if isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None:
                continue  # cleans up and lets it pass
        else:
            assert isinstance(node, ast.Call)
            caught = set().union(*map(names_in, node.args)) if called(node)[-1:] == ("suppress",) else set()
        if caught & broad and not hands_on(node):
            found.append(f"{module}:{node.lineno}")
    assert [place.partition(":")[0] for place in found] == [border]


def hands_on(node: ast.AST) -> bool:
    """Whether all that a handler does is to hand the exception on to another thread."""
    return isinstance(node, ast.ExceptHandler) and [
        called(one.value) for one in node.body if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call)
    ] == [("answer", "set_exception")]


def test_programs_are_started_in_one_module_only() -> None:
    modules = {"subprocess", "multiprocessing", "pty"}
    calls = re.compile(r"system|popen|posix_spawnp?|(exec|spawn)[lv]p?e?|fork(pty)?")
    found = set()
    for module, node in itertools.chain(nodes(ast.Import), nodes(ast.ImportFrom), nodes(ast.Attribute)):
        if isinstance(node, ast.Import) and modules & {alias.name.split(".")[0] for alias in node.names}:
            found.add(module)
        if isinstance(node, ast.ImportFrom) and (
            node.module in modules or (node.module == "os" and any(calls.fullmatch(alias.name) for alias in node.names))
        ):
            found.add(module)
        if isinstance(node, ast.Attribute) and names_in(node.value) == {"os"} and calls.fullmatch(node.attr):
            found.add(module)
    assert found == {DOOR_TO_PROGRAMS}


def test_the_nodes_disk_is_changed_in_two_modules_and_a_store_by_its_own() -> None:
    found = []
    for module, node in nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if changes_the_disk(node) and module not in DOORS_TO_THE_DISK and not module.startswith("demo"):
            found.append(f"{module}:{node.lineno}: {'.'.join(called(node))}")
    assert found == []


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("os.rename(a, b)", True),
        ("os.open(path, os.O_RDWR | os.O_CREAT)", True),
        ("os.open(path, os.O_RDONLY)", False),
        ("os.open(os.devnull, os.O_WRONLY)", False),
        ("open(path, 'w')", True),
        ("open(path, mode='ab')", True),
        ("open(path, 'rb')", False),
        ("path.open('x')", True),
        ("path.open()", False),
        ("Path(a).unlink()", True),
        ("path.replace(other)", True),
        ("text.replace('a', 'b')", False),
        ("shutil.rmtree(path)", True),
        ("shutil.which('php')", False),
        ("tempfile.mkdtemp()", True),
        ("files.rename(a, b)", False),
    ],
)
def test_a_change_of_the_disk_is_recognised(code: str, changes: bool) -> None:
    (statement,) = ast.parse(code).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    assert changes_the_disk(statement.value) is changes


def names_in(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def called(call: ast.Call) -> tuple[str, ...]:
    """('os', 'rename') of os.rename(…); a receiver that is no name is '…'."""
    match call.func:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return (owner, name)
        case ast.Attribute(attr=name):
            return ("…", name)
    return ()


def changes_the_disk(call: ast.Call) -> bool:
    """Whether this call makes, changes or removes a path."""
    match called(call):
        case ("os", "open"):
            flags = {part.attr for part in ast.walk(call) if isinstance(part, ast.Attribute)}
            return "devnull" not in flags and bool(flags & {"O_CREAT", "O_WRONLY", "O_RDWR", "O_TRUNC"})
        case ("os", name):
            return bool(CHANGES_IN_OS.fullmatch(name))
        case ("shutil", name):
            return bool(CHANGES_IN_SHUTIL.fullmatch(name))
        case ("tempfile", _):
            return True
        case ("files" | "archive", _):
            return False
        case ("open",):
            return writes(call.args[1:2], call.keywords)
        case (_, "open"):
            return writes(call.args[:1], call.keywords)
        case (_, "replace"):
            return len(call.args) == 1 and not call.keywords
        case (_, name):
            return bool(CHANGES_OF_PATH.fullmatch(name))
    return False


def writes(mode: list[ast.expr], keywords: list[ast.keyword]) -> bool:
    modes = [*mode, *(keyword.value for keyword in keywords if keyword.arg == "mode")]
    return any(isinstance(node, ast.Constant) and set(str(node.value)) & set("wax+") for node in modes)


# What is written about it


def exit_codes(fault: type[errors.Fault] = errors.Fault) -> set[int]:
    return {fault.exit_code}.union(*map(exit_codes, fault.__subclasses__()))


def test_the_reference_and_the_man_page_name_every_exit_code() -> None:
    reference = (REPO / "docs" / "reference" / "commands.md").read_text()
    page = (REPO / "packaging" / "rolecall.8").read_text()
    codes = {0, 2, *exit_codes()}
    assert [code for code in codes if not re.search(rf"[|`] *{code} *[|`]", reference)] == []
    assert [code for code in codes if f"\\fB{code}\\fR" not in page] == []


def test_the_readme_names_the_two_commands_to_begin_with_and_ci_runs_the_second() -> None:
    readme = (REPO / "README.md").read_text()
    assert "make demo" in readme
    assert "make check test" in readme
    assert "make check test" in (REPO / ".ci" / "run").read_text()


def test_the_changelog_has_a_place_for_the_next_change() -> None:
    assert "\n## [Unreleased]\n" in (REPO / "CHANGELOG.md").read_text()


def test_no_file_names_a_registry_or_a_path_of_the_machine_it_was_written_on() -> None:
    hosts = "|".join(map(re.escape, REGISTRIES))
    paths = "|".join(map(re.escape, MACHINE_PATHS))
    forbidden = re.compile(rf"\b({hosts})\b|(?<![\w.*}})-])({paths})\b")
    found = []
    for path in repo_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # not a text
        found += [f"{path.relative_to(REPO)}: {match[0]}" for match in forbidden.finditer(text)]
    assert found == []

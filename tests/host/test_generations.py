"""What of a generation is on disk."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rolecall.host.generations import Generations
from rolecall.render.contents import Replication
from rolecall.render.generation import Generation, ManagedFile, sealed, secret_token

PASSWORD = "correct horse"
VALUES: Mapping[str, str] = {"file:/p": PASSWORD}
REPLICATION = Replication("mariadb", ("true",), ("true",), ("true",), "r", "mysql/accounts.sql", 60, {})


def database_generation(server: str) -> Generation:
    """One of a database server, whose accounts have a password."""
    sql = f"CREATE USER u IDENTIFIED BY {secret_token('file:/p', 'sql')}"
    files = (
        ManagedFile("mysql/accounts.sql", sql, 0o600, "", "", ()),
        ManagedFile("mysql/server.cnf", "[mysqld]\n", 0o644, "", "", ()),
    )
    secrets = {"file:/p": "0" * 32}
    return sealed(Generation("database", "test", server, files=files, replication=REPLICATION, secrets=secrets))


def texts(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    return Generations(tmp_path)


def test_the_passwords_of_a_databases_accounts_are_in_no_generation_on_disk(generations: Generations) -> None:
    generation = database_generation("db1")
    generations.stage(generation, VALUES)
    assert (generations.folder / generation.id / "mysql/server.cnf").exists()
    assert PASSWORD not in texts(generations.state)
    assert generations.damage(generation, VALUES) == [], "nothing is missing"


def test_what_an_earlier_version_has_left_of_them_goes_with_the_next_run(generations: Generations) -> None:
    older, newer = database_generation("db1"), database_generation("db2")
    for generation in (older, newer):
        generations.stage(generation, VALUES)
        path = generations.folder / generation.id / "mysql/accounts.sql"
        path.write_text(generation.text_of(generation.files[0], VALUES))
    generations.commit(newer.id)
    generations.stage(newer, VALUES)
    assert generations.damage(newer, VALUES) == [], "gone before daemons could be taken for outdated"
    generations.prune(5)
    assert PASSWORD not in texts(generations.state)
    assert generations.load(older.id) == older

"""Opening and migrating a store in PostgreSQL: what is not ours, not made or not of this layout is refused."""

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from forebay.cli.failures import DONE, FAILED, WRONG_USAGE
from forebay.cli.main import execute
from forebay.domain.errors import StoreRefused, StoreUnavailable
from forebay.stores.postgres import State, migrate, open_store, read_layout, read_place
from tests.integration.postgres_house import server

_schemas = count()


@pytest.fixture
def schema() -> Iterator[str]:
    """A schema of the test's own, not made yet."""
    name = f"opening{next(_schemas)}"
    yield name
    server().run(f"SET client_min_messages = error; DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def url(schema: str) -> str:
    return f"{server().url()}?schema={schema}"


async def test_a_store_that_was_not_made_is_refused_with_the_command_that_makes_it(url: str) -> None:
    with pytest.raises(StoreRefused, match="run `forebay store migrate` once"):
        await open_store(url)
    assert (await read_layout(read_place(url))).state is State.MISSING


async def test_migrating_makes_the_store_and_does_nothing_more_the_second_time(url: str) -> None:
    place = read_place(url)
    newest = (await read_layout(place)).newest
    assert await migrate(place) == (0, newest)
    assert await migrate(place) == (newest, newest)
    await (await open_store(url)).close()


async def test_several_may_migrate_at_once(url: str) -> None:
    place = read_place(url)
    results = await asyncio.gather(*(migrate(place) for _ in range(8)))
    assert {after for _, after in results} == {(await read_layout(place)).newest}
    assert (await read_layout(place)).state is State.CURRENT


@pytest.mark.parametrize(("layout", "said"), [(999, "newer Forebay"), (0, "run `forebay store migrate`")])
async def test_another_layout_is_refused(url: str, schema: str, layout: int, said: str) -> None:
    await migrate(read_place(url))
    server().run(f"UPDATE {schema}.meta SET value = '{layout}' WHERE name = 'layout'")
    with pytest.raises(StoreRefused, match=said):
        await open_store(url)


async def test_a_newer_store_is_not_migrated(url: str, schema: str) -> None:
    await migrate(read_place(url))
    server().run(f"UPDATE {schema}.meta SET value = '999' WHERE name = 'layout'")
    with pytest.raises(StoreRefused, match="upgrade this program"):
        await migrate(read_place(url))


@pytest.mark.parametrize("table", ["orders (id int)", "meta (id int)", "meta (name text, value text)"])
async def test_another_programs_schema_is_left_alone(url: str, schema: str, table: str) -> None:
    server().run(f"CREATE SCHEMA {schema}", f"CREATE TABLE {schema}.{table}")
    for step in (open_store(url), migrate(read_place(url))):
        with pytest.raises(StoreRefused, match="another program's tables"):
            await step
    assert server().run(f"SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'").strip() == "1"


async def test_a_migration_that_fails_leaves_nothing_behind(url: str, schema: str) -> None:
    server().run(f"CREATE SCHEMA {schema}", f"CREATE SEQUENCE {schema}.fences")
    with pytest.raises(StoreRefused):
        await migrate(read_place(url))
    server().run(f"DROP SEQUENCE {schema}.fences")
    assert (await migrate(read_place(url)))[0] == 0


async def test_a_database_that_does_not_exist_is_refused_and_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(StoreRefused, match="does not let us in"):
        await open_store(server().url("nowhere"))
    with pytest.raises(StoreUnavailable):
        await open_store(server().url(port=1))


async def test_the_blob_store_is_bound_for_ever(url: str) -> None:
    await migrate(read_place(url))
    store = await open_store(url)
    await store.bind_blobs("one")
    await store.bind_blobs("one")
    with pytest.raises(StoreRefused, match="'one'"):
        await store.bind_blobs("other")
    await store.close()


def test_the_commands_say_what_is_to_be_done_by_their_exit_codes(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "forebay.yaml"
    config.write_text(f"store: '{url}'")

    def forebay(*words: str) -> int:
        return execute([*words, "--config", str(config)])

    assert forebay("store", "migrate", "--check") == FAILED
    assert forebay("serve", "--port", "0") == WRONG_USAGE
    assert "run `forebay store migrate`" in capsys.readouterr().err
    assert forebay("store", "check") == WRONG_USAGE
    assert forebay("store", "migrate") == DONE
    assert forebay("store", "migrate", "--check") == DONE
    assert forebay("store", "check") == DONE
    capsys.readouterr()
    forebay("doctor")  # fails: the test's server keeps nothing for a power cut
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said if line.startswith("fail")] == ["fail durability"] * 2

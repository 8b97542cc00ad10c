"""Message batches and forms on PostgreSQL."""

from pathlib import Path

from tests.integration.message_house import entry, running_house
from tests.integration.postgres_house import empty_place, server


async def test_message_batches_and_forms_are_run(tmp_path: Path) -> None:
    url = server().url()
    await empty_place(url)
    async with running_house(tmp_path, store_url=url) as house:
        batches = house.claude.messages.batches
        requests = [entry("good"), entry("bad", model="nobody")]
        made = [(await batches.create(requests=requests)).id for _ in range(5)]
        for batch_id in made:
            counts = (await house.until(batch_id)).request_counts
            assert (counts.succeeded, counts.errored) == (1, 1)
        assert {key: result.type for key, result in (await house.results(made[0])).items()} == {
            "good": "succeeded",
            "bad": "errored",
        }
        assert [one.id async for one in await batches.list(limit=2)] == made[::-1]
        assert [one.id for one in (await batches.list(before_id=made[1], limit=2)).data] == [made[3], made[2]]
        await batches.delete(made[2])
        assert [one.id async for one in await batches.list(limit=2)] == [made[4], made[3], made[1], made[0]]
        told = await house.openai.audio.transcriptions.create(model="gpt-here", file=("a.wav", b"sound" * 50_000))
        assert told.text == "spoken words"

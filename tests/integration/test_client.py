"""`forebay.Client` and `forebay.AsyncClient` against a real server, a real worker and a mock model."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import forebay
from forebay.domain.errors import Conflict
from tests.acceptance.run_support import environment, mock_model, started

FUNCTIONS = """
import forebay

@forebay.target(modality="image")
async def describe(request: forebay.InferenceRequest) -> dict:
    return {"seen": request.body["picture"], "attempt": request.attempt, "metadata": request.metadata}

def refuse(request):
    raise forebay.Reject("no such picture")

def later(request):
    if request.attempt == 1:
        raise forebay.Retry(after=0.01)
    return ["now"]

def again(request):
    # publishes what the rule matches that sent it here
    with forebay.Client(request.body["detail"]["server"]) as client:
        return said(request, lambda: client.events.send(event(request)))

async def again_async(request):
    async with forebay.AsyncClient(request.body["detail"]["server"]) as client:
        try:
            receipt = await client.events.send(event(request))
        except forebay.RequestError as error:
            return {"code": error.code, "hops": request.hops}
        return {"next": receipt.matched[0].job_id}

def said(request, send):
    try:
        return {"next": send().matched[0].job_id}
    except forebay.RequestError as error:
        return {"code": error.code, "hops": request.hops}

def event(request):
    return {"source": request.body["source"], "detail-type": "turn", "detail": request.body["detail"]}

def plan(request):
    if request.children:
        return {"all": [one["body"] for one in request.children.values()]}
    child = {"target": "describe", "body": {"picture": "half"}}
    return forebay.Spawn([child, child], deadline="5m")
"""
RULES = [
    {"name": name, "pattern": {"source": [name]}, "send": {"it": {"target": name, "body": body}}}
    for name in ("again", "again_async")
    for body in [{"source": "{source}", "detail": "{detail}"}]
]
DESCRIBED = {"target": "describe", "body": {"picture": "{detail.picture}"}}
RULES.append(
    {
        "name": "race",
        "pattern": {"source": ["race"]},
        "send": {"one": DESCRIBED, "two": {"target": "refuse", "body": {}}},
        "aggregate": "merge",
    }
)
NOBODY = "http://127.0.0.1:9"
LATER: dict[str, Any] = {"target": "describe", "body": {"picture": 1}, "not_before": "1h"}


@dataclass(frozen=True)
class Server:
    """A running server and where its files are."""

    url: str
    folder: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("client")
    (folder / "pictures.py").write_text(FUNCTIONS)
    with mock_model(folder) as mock:
        names = ("describe", "refuse", "later", "again", "again_async", "plan")
        functions = {name: {"type": "python", "function": f"pictures:{name}"} for name in names}
        model = {"type": "openai", "base_url": mock.base_url, "models": ["mock"]}
        (folder / "forebay.yaml").write_text(json.dumps({"targets": {"model": model, **functions}, "rules": RULES}))
        with started("serve", "--port", "0", cwd=folder, PYTHONPATH=str(folder)) as process:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            yield Server(found.group(), folder)


@pytest.fixture
def client(server: Server) -> Iterator[forebay.Client]:
    with forebay.Client(server.url) as opened:
        yield opened


def asked(content: str) -> dict[str, Any]:
    return {"model": "mock", "body": {"messages": [{"role": "user", "content": content}]}}


def said(job: Any) -> str:
    text: str = job.result.body["choices"][0]["message"]["content"]
    return text


def test_a_submitted_job_is_waited_for(client: forebay.Client) -> None:
    job = client.jobs.submit(**asked("hi"), metadata={"of": "one"})
    ended = client.jobs.wait(job.id, timeout=120)
    assert (ended.status, said(ended), ended.attempts[0].outcome) == ("succeeded", "echo: hi", "succeeded")
    assert client.jobs.get(job.id) == ended
    assert [one.id for one in client.jobs.list(metadata={"of": "one"})] == [job.id]


def test_the_same_key_is_the_same_job(client: forebay.Client) -> None:
    first = client.jobs.submit(**asked("once"), idempotency_key="k1")
    assert client.jobs.submit(**asked("once"), idempotency_key="k1").id == first.id


def test_many_jobs_come_back_as_they_end(client: forebay.Client) -> None:
    ids = client.jobs.submit_many(asked(f"n{number}") for number in range(20))
    ended = {job.id: said(job) for job in client.jobs.as_completed(ids, timeout=120)}
    assert [ended[job_id] for job_id in ids] == [f"echo: n{number}" for number in range(20)]


def test_functions_of_the_configuration_are_targets(client: forebay.Client) -> None:
    job = client.jobs.submit(target="describe", body={"picture": "cat"}, metadata={"a": "b"})
    result = client.jobs.wait(job.id, timeout=120).result
    assert result is not None
    assert result.body == {"seen": "cat", "attempt": 1, "metadata": {"a": "b"}}
    again = client.jobs.wait(client.jobs.submit(target="later", body={}).id, timeout=120)
    assert (again.result and again.result.body, again.attempt_count) == (["now"], 2)


def test_a_fan_outs_entries_stand_beside_what_they_were_made_into(client: forebay.Client) -> None:
    event = {"source": "race", "detail-type": "start", "detail": {"picture": "cat"}}
    [matched] = client.events.send(event).matched
    result = client.jobs.wait(matched.job_id, timeout=120).result
    assert result is not None
    assert result.body["seen"] == "cat"
    assert result.branches is not None
    assert {name: entry["status"] for name, entry in result.branches.items()} == {"one": "succeeded", "two": "failed"}


def test_a_function_splits_its_task_and_combines_what_its_children_did(client: forebay.Client) -> None:
    ended = client.jobs.wait(client.jobs.submit(target="plan", body={}).id, timeout=120)
    assert ended.result is not None
    assert [one["seen"] for one in ended.result.body["all"]] == ["half", "half"]
    assert ended.attempt_count == 2


@pytest.mark.parametrize("name", ["again", "again_async"])
def test_a_cycle_of_rules_comes_to_an_end_that_is_told(name: str, client: forebay.Client, server: Server) -> None:
    receipt = client.events.send({"source": name, "detail-type": "turn", "detail": {"server": server.url}})
    job_id, turns = receipt.matched[0].job_id, 0
    while True:
        turns += 1
        result = client.jobs.wait(job_id, timeout=120).result
        assert result is not None
        said = result.body["it"]["body"]
        if "next" not in said:
            break
        job_id = said["next"]
    assert said == {"code": "too_many_hops", "hops": turns}
    assert turns == 9


def test_events_are_sent_listed_and_replayed(client: forebay.Client) -> None:
    alone = {"source": "nobody", "detail-type": "t", "detail": {}}
    good, bad = client.events.send_many([{**alone, "id": "e1"}, {**alone, "detail": 5}])
    assert (good.id, good.matched, good.error) == ("e1", [], None)
    assert bad.error is not None
    assert bad.error.param == "detail"
    with pytest.raises(forebay.RequestError, match="detail"):
        client.events.send({**alone, "detail": 5})
    assert client.events.send({**alone, "id": "e1"}) == good
    [kept] = client.events.list(unmatched=True, limit=1)
    assert (kept.id, kept.source, kept.matched) == ("e1", "nobody", [])
    assert [one.id for one in client.events.replay([kept.record_id])] == ["e1"]
    assert client.events.replay(unmatched=True)


def test_a_failed_job_is_an_exception_with_its_view(client: forebay.Client) -> None:
    job = client.jobs.submit(target="refuse", body={})
    with pytest.raises(forebay.JobFailed, match="no such picture") as raised:
        client.jobs.wait(job.id, timeout=120)
    assert (raised.value.job.id, raised.value.job.error.code) == (job.id, "target_rejected")
    assert [one.status for one in client.jobs.as_completed([job.id], timeout=120)] == ["failed"]
    assert client.jobs.retry(job.id).status == "queued"
    with pytest.raises(forebay.JobFailed):
        client.jobs.wait(job.id, timeout=120)
    client.jobs.delete(job.id)


def test_a_wait_that_runs_out_leaves_the_job_where_it_is(client: forebay.Client) -> None:
    job = client.jobs.submit(**LATER)
    with pytest.raises(TimeoutError, match="goes on at the server"):
        client.jobs.wait(job.id, timeout=0.01)
    with pytest.raises(TimeoutError):
        list(client.jobs.as_completed([job.id], timeout=0.01))
    assert client.jobs.cancel(job.id).status == "cancelled"
    with pytest.raises(forebay.JobFailed, match="cancelled"):
        client.jobs.wait(job.id)


def test_what_the_server_refuses_is_an_exception_with_its_sentence(client: forebay.Client) -> None:
    with pytest.raises(forebay.NotFound, match="job_none"):
        client.jobs.get("job_none")
    with pytest.raises(forebay.NotFound, match="'none' does not exist"):
        client.jobs.submit(model="none", body={})
    with pytest.raises(forebay.RequestError, match="did you mean 'model'"):
        client.jobs.submit(modle="mock", body={})
    with pytest.raises(forebay.RequestError, match="'none' does not exist"):
        client.jobs.submit_many([asked("good"), {"model": "none", "body": {}}])
    ended = client.jobs.wait(client.jobs.submit(**asked("done")).id, timeout=120)
    with pytest.raises(Conflict):
        client.jobs.retry(ended.id)


def test_a_server_that_is_not_there_is_told_so() -> None:
    with forebay.Client(NOBODY) as client, pytest.raises(forebay.Interrupted, match=f"no answer from {NOBODY}"):
        client.jobs.submit(**asked("hi"))


def test_a_file_becomes_a_batch_and_its_results(client: forebay.Client, tmp_path: Path) -> None:
    common = {"method": "POST", "url": "/v1/chat/completions"}
    bodies = [{"model": "mock", "messages": [{"role": "user", "content": f"b{number}"}]} for number in range(3)]
    lines = [{"custom_id": f"r{number}", **common, "body": body} for number, body in enumerate(bodies)]
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    file = client.files.create(path)
    assert (client.files.get(file.id).bytes, file.filename) == (path.stat().st_size, "requests.jsonl")
    assert b"".join(client.files.content(file.id)) == path.read_bytes()
    batch = client.batches.wait(client.batches.create(input_file_id=file.id, metadata={"a": "b"}).id, timeout=120)
    assert (batch.status, batch.metadata) == ("completed", {"a": "b"})
    assert {line["custom_id"] for line in client.batches.results(batch.id)} == {"r0", "r1", "r2"}
    assert batch.output_file_id is not None
    assert len(b"".join(client.files.content(batch.output_file_id)).splitlines()) == 3
    assert [one.id for one in client.batches.list(limit=1)] == [batch.id]
    with pytest.raises(Conflict):
        client.batches.cancel(batch.id)
    client.files.delete(file.id)
    with pytest.raises(forebay.NotFound):
        client.files.get(file.id)


def test_bytes_and_open_files_are_uploaded(client: forebay.Client, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"custom_id": "a"}\n')
    with (tmp_path / "a.jsonl").open("rb") as stream:
        opened = client.files.create(stream, filename="named.jsonl")
    of_bytes = client.files.create(b"{}\n")
    assert (opened.filename, opened.bytes, of_bytes.bytes) == ("named.jsonl", 19, 3)
    assert {opened.id, of_bytes.id} <= {file.id for file in client.files.list()}


async def test_the_asynchronous_client_does_the_same(server: Server) -> None:
    async with forebay.AsyncClient(server.url) as client:
        job = await client.jobs.wait((await client.jobs.submit(**asked("hi"))).id, timeout=120)
        assert said(job) == "echo: hi"
        ids = await client.jobs.submit_many([asked("a"), asked("b")])
        assert {said(job) async for job in client.jobs.as_completed(ids)} == {"echo: a", "echo: b"}


def test_a_client_that_nobody_closes_ends_in_silence(server: Server) -> None:
    opened = f"forebay.Client({server.url!r})"
    program = f"import forebay; {opened}.jobs.list(); client = {opened}; client.jobs.list()"
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")

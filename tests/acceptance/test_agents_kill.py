"""A worker that is killed while an agent works: the next one asks for the task, and sends no message again."""

from pathlib import Path

from forebay.app import open_system
from forebay.domain.job import Status
from forebay.settings import load_settings
from forebay.testing.ports import free_port
from forebay.testing.processes import started_worker
from tests.integration.agent_process import running_agent
from tests.integration.test_targets_a2a_agent import AGENT, accepted, body_of, ended, read, submit

WORDS = "work over a death"


async def test_a_killed_workers_task_is_asked_for_by_the_next_and_sent_once(tmp_path: Path) -> None:
    with running_agent(AGENT, free_port()) as agent:
        (tmp_path / "forebay.yaml").write_text(f'targets: {{agent: {{type: a2a, url: "{agent.url}"}}}}\n')
        async with open_system(load_settings(tmp_path / "forebay.yaml", {})) as system:
            job_id = await submit(system, WORDS)
            async with started_worker(folder=tmp_path) as one:
                await accepted(system, job_id)
                await one.kill()
            assert not (await read(system, job_id)).is_terminal
            await agent.finish(WORDS)
            async with started_worker(folder=tmp_path):
                job = await ended(system, job_id)
        [message] = (await agent.seen(WORDS))["messages"]
    assert (job.status, job.attempt_count, job.attempts_used) == (Status.SUCCEEDED, 1, 0)
    assert body_of(job)["status"]["state"] == "TASK_STATE_COMPLETED"
    assert message["messageId"].startswith(job_id)

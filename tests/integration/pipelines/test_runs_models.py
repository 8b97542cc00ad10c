"""A step asks again when another model answers under the same name, and not when the same one moved."""

from pathlib import Path

from forebay.testing.mock_model import MockModel
from tests.integration.pipelines.house import opened
from tests.integration.pipelines.test_runs import write_input

PIPELINES = """
  weekly:
    steps:
      load:  {read: "in/*.csv"}
      label: {infer: {target: mock, prompt: "Classify: {text}"}, from: load}
"""


def target(mock: MockModel, model: str) -> str:
    return f'targets: {{mock: {{type: openai, base_url: "{mock.base_url}", models: [{model}]}}}}'


async def test_another_model_is_asked_again_and_a_moved_one_is_not(tmp_path: Path) -> None:
    write_input(tmp_path, rows=4)
    async with MockModel() as first, MockModel() as moved:
        for mock, model, status, calls in (
            (first, "small", "succeeded", 4),
            (moved, "small", "reused", 0),
            (moved, "large", "succeeded", 4),
        ):
            async with opened(tmp_path, PIPELINES, target(mock, model)) as house:
                view = await house.run("weekly")
            assert view["steps"]["label"]["status"] == status
            assert mock.calls["total"] == calls

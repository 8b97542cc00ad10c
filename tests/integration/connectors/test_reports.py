"""Reports from templates over the inputs."""

import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.domain.errors import RequestError
from forebay.domain.pipeline import StepOutput
from tests.integration.connectors.table_house import TableHouse, table_house

TEMPLATE = """# Report of {{ run.date }}
{{ load.count }} rows for {{ params.word }}; {{ summary }}
{{ load | table("word", "n") }}
{% for row in load if row.n %}
{{ loop.index }}: {{ row.word }}
{% endfor %}
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[TableHouse]:
    async with table_house(tmp_path) as opened:
        yield opened


@pytest.fixture
async def inputs(house: TableHouse) -> dict[str, StepOutput]:
    house.file("in.jsonl", '{"word": "a|b", "n": 1}\n{"word": "<b>", "n": null}\n{"word": "c", "n": 3}\n')
    return {"load": (await house.run("read", path="in.jsonl")).output, "summary": StepOutput(value="well & good")}


async def test_markdown_has_rows_counts_and_values(house: TableHouse, inputs: dict[str, StepOutput]) -> None:
    house.file("report.md.j2", TEMPLATE)
    done = await house.run("report", inputs, template="report.md.j2", path="out/report.md")
    text = (house.folder / "out/report.md").read_text()
    assert text == (
        "# Report of 2026-11-21\n3 rows for o'k; well & good\n"
        "| word | n |\n| --- | --- |\n| a\\|b | 1 |\n| <b> |  |\n| c | 3 |\n1: a|b\n2: c\n"
    )
    assert done.output.value == text


async def test_markup_is_escaped_and_has_plots(house: TableHouse, inputs: dict[str, StepOutput]) -> None:
    plots = '{{ load | bars("word", "n", title="<n>") }}{{ load | lines("word", "n") }}'
    text = "<div>{{ load | table }}" + plots + "{{ summary }}</div>"
    await house.run("report", inputs, text=text, path="report.html")
    root = ET.fromstring((house.folder / "report.html").read_text())
    assert [cell.text for cell in root.iter("td")] == ["a|b", "1", "<b>", None, "c", "3"]
    svg = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{svg}svg")) == 2
    assert len(list(root.iter(f"{svg}rect"))) == 2
    assert len(list(root.iter(f"{svg}circle"))) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{{ load.nothing }}", "nothing"),
        ("a\n{% for %}", "line 2"),
        ("{{ ''.__class__.__mro__ }}", "unsafe|undefined"),
        ("{{ load | bars('word', 'm') }}", "no column 'm'"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ range(10 ** 9) | list }}", "big"),
    ],
)
async def test_what_is_wrong_in_a_template_is_told(
    house: TableHouse, inputs: dict[str, StepOutput], text: str, told: str
) -> None:
    with pytest.raises(RequestError, match=told):
        await house.run("report", inputs, text=text)


async def test_a_report_without_a_path_is_a_value_of_bounded_size(
    house: TableHouse, inputs: dict[str, StepOutput]
) -> None:
    done = await house.run("report", inputs, text="{{ load[0].word }}")
    assert done.output.value == "a|b"
    with pytest.raises(RequestError, match="path"):
        await house.run("report", inputs, text="{{ 'x' * 300000 }}")

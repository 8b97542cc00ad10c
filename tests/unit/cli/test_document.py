"""docs/cli.md tells the truth."""

from pathlib import Path

from forebay.cli.document import cli_page
from forebay.cli.main import make_app
from forebay.cli.options import with_global_options

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == cli_page(), "run `python -m forebay.cli.document > docs/cli.md`"


def test_every_command_and_option_stands_in_the_page() -> None:
    page = PAGE.read_text()
    groups = [("forebay", with_global_options(make_app()))]
    while groups:
        path, command = groups.pop()
        children = getattr(command, "commands", {})
        groups += [(f"{path} {name}", child) for name, child in children.items()]
        if children:
            continue
        section = page.partition(f"## {path}\n")[2].partition("\n## ")[0]
        assert section, path
        for option in command.params:
            names = getattr(option, "opts", []) if option.param_type_name == "option" else []
            is_shown = not getattr(option, "hidden", False) and option.name != "help"
            assert not is_shown or all(name in section or name in page.partition("\n## ")[0] for name in names), names

"""The four options that every command takes, before and after its name, and what the commands read of them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from forebay.domain.errors import ConfigurationError
from forebay.settings import Settings, load_settings

DEFAULT_SERVER = "http://127.0.0.1:8700"
PANEL = "Options of every command"


@dataclass(slots=True)
class GlobalOptions:
    """What was said so far; one object for the whole command line, filled while it is parsed."""

    config: str | None = None
    server: str | None = None
    as_json: bool = False
    debug: bool = False

    @property
    def server_url(self) -> str:
        """The server that commands over HTTP speak to. Raises: ConfigurationError: no address of one."""
        url = (self.server or os.environ.get("FOREBAY_SERVER") or DEFAULT_SERVER).rstrip("/")
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"The server {url!r} must begin with http:// or https://")
        return url

    @property
    def is_remote(self) -> bool:
        """Whether a command that works on the store too is to speak to a server."""
        return bool(self.server or os.environ.get("FOREBAY_SERVER"))

    def settings(self) -> Settings:
        """Loads the configuration. Raises: ConfigurationError."""
        return load_settings(None if self.config is None else Path(self.config), os.environ)


def options_of(context: typer.Context) -> GlobalOptions:
    """The global options of this command line."""
    options = context.find_object(GlobalOptions)
    return options if options is not None else GlobalOptions()


def refuse_server(options: GlobalOptions, command: str) -> None:
    """For commands that work on the configured store alone. Raises: ConfigurationError."""
    if options.server is not None:
        raise ConfigurationError(f"`forebay {command}` works on the configured store; leave --server out")


def with_global_options(app: typer.Typer) -> TyperGroup:
    """Makes the app's command with the global options on every command and group below it."""
    command = get_command(app)
    shared = get_command(_declaration).params
    _extend(command, [parameter for parameter in shared if parameter.name != "help"])
    if not isinstance(command, TyperGroup):
        raise TypeError("the command line needs more than one command")
    return command


def _extend(command: Any, shared: list[Any]) -> None:
    taken = {flag for parameter in command.params for flag in getattr(parameter, "opts", [])}
    command.params += [parameter for parameter in shared if not taken & set(parameter.opts)]
    for child in getattr(command, "commands", {}).values():
        _extend(child, shared)


def _keep(name: str) -> Any:
    def keep(context: typer.Context, value: Any) -> Any:
        if value:
            setattr(context.ensure_object(GlobalOptions), name, value)
        return value

    return keep


_declaration = typer.Typer(add_completion=False)


@_declaration.command()
def _declare(
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The configuration.",
            show_default="forebay.yaml here, if there is one",
            callback=_keep("config"),
            expose_value=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            help="A running server.",
            show_default=f"FOREBAY_SERVER, else {DEFAULT_SERVER}",
            callback=_keep("server"),
            expose_value=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print JSON.", callback=_keep("as_json"), expose_value=False, rich_help_panel=PANEL
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Log everything, and show tracebacks.",
            callback=_keep("debug"),
            expose_value=False,
            rich_help_panel=PANEL,
        ),
    ] = False,
) -> None:
    """Declares the options; never called."""

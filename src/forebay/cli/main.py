"""`forebay`: the entry point. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 Ctrl-C."""

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from forebay.cli.failures import DONE, FAILED, INTERRUPTED, INTERRUPTION, WRONG_USAGE, report, say, sentence
from forebay.cli.options import GlobalOptions, with_global_options


class Commands(TyperGroup):
    """All commands; says so when Ctrl-C ended one. (Typer makes a mere exit code of it.)"""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say(INTERRUPTION)
            raise


EXAMPLE = "Example: forebay run reviews.csv -o labels.csv --prompt 'Classify: {review}' --model qwen2.5-coder-1.5b"
#: In the order of the help. Only the command that runs is imported: a worker without the API takes 20 MB less.
COMMANDS = {
    "run": "forebay.cli.run",
    "serve": "forebay.cli.serve",
    "worker": "forebay.cli.worker",
    "jobs": "forebay.cli.jobs",
    "batches": "forebay.cli.batches",
    "events": "forebay.cli.events",
    "rules": "forebay.cli.rules",
    "pipelines": "forebay.cli.pipelines",
    "schedules": "forebay.cli.schedules",
    "dead-letters": "forebay.cli.dead_letters",
    "targets": "forebay.cli.targets",
    "keys": "forebay.cli.keys",
    "store": "forebay.cli.store",
    "models": "forebay.cli.models",
    "mock-model": "forebay.cli.mock_model",
    "bench": "forebay.cli.bench",
    "doctor": "forebay.cli.doctor",
}


def make_app(command: str | None = None) -> typer.Typer:
    """The command line with this one of ``COMMANDS``, or with all."""
    app = typer.Typer(
        name="forebay",
        cls=Commands,
        help="The reservoir in front of generative models: durable model requests, one by one and by the file.",
        epilog=EXAMPLE,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for module in COMMANDS.values() if command is None else [COMMANDS[command]]:
        import_module(module).register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command line and exits."""
    code = execute(arguments)
    if code == INTERRUPTED:
        _leave()
    sys.exit(code)


def execute(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line. Returns the exit code; what went wrong is on stderr as one sentence."""
    options = GlobalOptions()
    given = sys.argv[1:] if arguments is None else list(arguments)
    command = with_global_options(make_app(given[0] if given and given[0] in COMMANDS else None))
    try:
        code = command.main(args=given, prog_name="forebay", standalone_mode=False, obj=options)
        sys.stdout.flush()
    except BrokenPipeError:
        return _hang_up()
    except typer.Abort:
        say(INTERRUPTION)
        return INTERRUPTED
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the outermost edge: every failure becomes a sentence
        return _refused(error, options)
    return code if isinstance(code, int) else DONE


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"forebay {version('forebay')}")
        raise typer.Exit(DONE)


def _root(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Declares what stands before a command."""


def _refused(error: BaseException, options: GlobalOptions) -> int:
    if isinstance(error, typer.TyperException) and not sentence(error).strip():
        return WRONG_USAGE  # help was shown instead
    return report(error, debug=options.debug)


def _leave() -> None:
    """Ends at once: taking the interpreter down lasts long enough for a second Ctrl-C to fall into it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(INTERRUPTED)


def _hang_up() -> int:
    """The reader of our output went away (`| head`): nobody is left to tell."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return FAILED

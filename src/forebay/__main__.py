"""The command line's entry: `forebay`, and ``python -m forebay``."""

import sys
from importlib import import_module

INTERRUPTED = 130


def main() -> None:
    """Loads the commands, which takes most of a second, and runs one. Ctrl-C while they load is Ctrl-C all the same."""
    try:
        run = import_module("forebay.cli.main").main
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()

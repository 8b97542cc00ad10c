"""``python -m forebay``: the command line."""

from forebay.cli.main import main

if __name__ == "__main__":
    main()

"""The command line: one file per command group; `main.main` is the entry point."""

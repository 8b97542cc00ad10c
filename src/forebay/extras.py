"""What is loaded at its first use, and may not be installed: drivers of databases and of object stores."""

from importlib import import_module
from types import ModuleType

from forebay.domain.errors import ConfigurationError


def load(name: str, module: str, needed: str, extra: str) -> ModuleType:
    """Imports ``module``, which ``name`` stands for. Raises: ConfigurationError: ``needed`` is not installed; it says
    which extra has it ('' for none).
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name != needed:
            raise
        package = f"forebay[{extra}]" if extra else "forebay"
        raise ConfigurationError(f"{name} needs {needed}: pip install '{package}'") from exc

"""Targets whose client is an extra: imported when one is declared."""

from importlib import import_module

from forebay.domain.errors import ConfigurationError
from forebay.domain.target import TargetSpec
from forebay.ports import Target

_TOOL = ("forebay.targets.mcp_tool", "McpTarget")
_EXTRA = "mcp"


def open_tool(spec: TargetSpec) -> Target:
    """A target of type ``mcp``. Raises: ConfigurationError: its declaration is wrong, or the extra is not installed."""
    module, name = _TOOL
    try:
        made: Target = getattr(import_module(module), name)(spec)
    except ModuleNotFoundError as exc:
        message = (
            f"targets.{spec.name}: type {spec.type} needs the extra {_EXTRA} ({exc}): pip install 'forebay[{_EXTRA}]'"
        )
        raise ConfigurationError(message) from exc
    return made

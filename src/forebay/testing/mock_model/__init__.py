"""A model that costs nothing: OpenAI's and Anthropic's wires, deterministic answers, faults and limits on demand."""

from forebay.testing.mock_model.options import Fault, MockOptions, Move, Told, moves_of
from forebay.testing.mock_model.server import MockModel, serve

__all__ = ["Fault", "MockModel", "MockOptions", "Move", "Told", "moves_of", "serve"]

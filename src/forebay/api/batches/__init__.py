"""OpenAI's ``/v1/batches``, and what both wires of batches share."""

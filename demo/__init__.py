"""The main job on real input with a real local model: `make demo`. Also `make dev`: a server with a mock model."""

"""Data that work is about: sources, sinks, and tables of steps. The composition root opens them."""

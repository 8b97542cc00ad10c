"""Databases that requests are answered from: asked in transactions that can't write."""

"""Forebay: the reservoir in front of generative models."""

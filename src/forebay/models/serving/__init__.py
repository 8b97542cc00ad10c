"""The servers of the local models that are not text: one process each, OpenAI's wire, one thread that computes.

Run by ``child`` in a process of its own; an adapter (``embedding``, ``ocr``, ``speech``, ``transcription``) is all that
knows its engine, so that another engine is another adapter.
"""

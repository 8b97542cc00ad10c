"""OpenAI's ``/v1/videos``: created, read, downloaded, listed, deleted."""

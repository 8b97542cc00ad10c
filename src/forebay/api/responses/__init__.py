"""OpenAI's ``/v1/responses``: created, read, streamed, continued."""

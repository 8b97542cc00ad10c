"""One handler a kind of job. A handler answers with data; it never touches its own row."""

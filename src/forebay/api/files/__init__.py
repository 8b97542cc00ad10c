"""``/v1/files``: uploads, contents, and the files of calls."""

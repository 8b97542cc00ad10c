"""What Forebay speaks of: frozen records without I/O. Every floor above imports them; they import nothing of ours.

Times are Unix seconds (``float``) in every field named ``*_at``, ``deadline``, ``due_at``, ``not_before`` or ``until``.
JSON that passes through stands as text (``str``), never re-encoded.
"""

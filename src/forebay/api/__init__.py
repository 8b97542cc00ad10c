"""The HTTP API: it parses, calls the store and the intake, and projects what they answer. No work is done here."""

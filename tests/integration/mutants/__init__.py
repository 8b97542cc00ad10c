"""Stores that were broken on purpose, for test_suite_bites."""

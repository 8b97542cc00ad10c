"""Shipped doubles and the conformance suites: for our own tests, for back ends of others, and for users' tests."""

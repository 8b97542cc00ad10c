"""The options of each kind of step, read. Pure; every refusal names the option that is wrong."""

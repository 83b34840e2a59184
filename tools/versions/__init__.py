"""The suites on older releases of the frameworks, and the timeline that they make: what changed in which release."""

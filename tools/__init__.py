"""About the project: planted defects, older releases, the nightly, benchmarks, generated pages. Not in the wheel."""

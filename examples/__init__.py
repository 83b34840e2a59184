"""Worked examples, outside the packages that they extend."""

"""What is true: golden cases and arrays, the float64 oracle, and the bounds derived from it."""

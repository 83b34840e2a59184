"""One module per file format: each turns what is on disk into `touchstone.migration.checkpoint.Tensor` records."""

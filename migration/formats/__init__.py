"""One module per file format: each turns what is on disk into `migration.checkpoint.Tensor` records."""

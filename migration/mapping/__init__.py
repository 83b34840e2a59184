"""What relates a converted checkpoint to its source: a small program, one rule for all layers of a kind."""

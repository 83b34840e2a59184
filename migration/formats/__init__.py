"""One module per file format: what a checkpoint's file says of its tensors, and where their rows lie."""

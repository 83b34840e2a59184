"""The gate of `touchstone check`: tiny models that transformers makes and mlx-lm converts, sound and with faults."""

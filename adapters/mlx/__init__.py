"""MLX behind the interface."""

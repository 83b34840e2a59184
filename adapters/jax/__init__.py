"""JAX with Flax NNX behind the interface."""

"""PyTorch behind the interface."""

"""Quantization libraries behind the interface, each asked only where it is named, and conversion between them."""

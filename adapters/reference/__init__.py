"""NumPy behind the interface: computes in the case's dtype, and counts as no framework."""

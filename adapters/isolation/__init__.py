"""How a target is asked in a process of its own, and whose the failure is."""

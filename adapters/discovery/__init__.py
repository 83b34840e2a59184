"""Which targets exist, on which devices, and what the machine is that they run on."""

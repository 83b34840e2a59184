"""The parts of the command ``touchstone``: what each takes, calls and prints."""

"""How each framework answers: one adapter per framework behind `adapters.interface`."""

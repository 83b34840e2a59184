"""How each framework answers: one adapter per framework behind `touchstone.adapters.interface`."""

"""How much do the suites catch? Defects planted one at a time in frameworks and adapters, and what turned red."""

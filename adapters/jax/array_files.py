"""Files of arrays."""
ANSWERS: dict = {}
ABSENT: dict = {}

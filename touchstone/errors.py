"""Errors that are a user's to mend."""


class InputError(Exception):
    """What was given cannot be used: a file, an option, a target.

    The message is one line that names it and says what to do; a command prints it and ends with exit status 2.
    """

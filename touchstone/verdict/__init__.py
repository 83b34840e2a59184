"""From what a target did to what is said of it: observation, behaviour, requirement, expectation, rule, verdict.

Pure: imports no part of the project, no framework and no pytest; every part may import it.
"""

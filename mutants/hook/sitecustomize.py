"""Python imports this at start wherever this folder is on PYTHONPATH, and so plants the defect in child processes too."""

from mutants import planting

planting.install()

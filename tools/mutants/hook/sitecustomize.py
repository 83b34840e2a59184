"""Python imports this at start wherever this folder is on PYTHONPATH: the defect is planted in child processes too."""

from tools.mutants import planting

planting.install()

"""What is shown: records of a run on disk, and the summary at its end. Imports no framework."""

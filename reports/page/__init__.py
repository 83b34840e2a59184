"""The pages: report.html of one report, trend.html of a history. Each is one file that needs nothing else."""

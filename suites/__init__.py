"""What is asked of every target: requirements as data, and one file of tests per property."""

"""What `omsweep check` prints of a search space before anything runs."""

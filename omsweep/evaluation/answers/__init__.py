"""What an answer says, and whether it is right: the tasks of our own that lm-eval has no metric for."""

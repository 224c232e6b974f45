"""Who runs a sweep: the driver, its trials under Ray Tune and Ray Train, and what happens as they end."""

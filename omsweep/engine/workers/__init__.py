"""Worker processes that do one job after another."""

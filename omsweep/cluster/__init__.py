"""Where a sweep runs: the Ray it connects to, its storage, and jobs submitted to a cluster."""

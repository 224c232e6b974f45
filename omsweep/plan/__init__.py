"""What is tried next: blocked design, adaptive search, grids, and points merged after training. Knows no Ray."""

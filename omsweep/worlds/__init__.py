"""What the embedded families learn: a closed language with gold reward, and plain English. Pure Python."""

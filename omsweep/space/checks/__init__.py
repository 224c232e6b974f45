"""Checks of a search space that need the file alone. Torch-free."""

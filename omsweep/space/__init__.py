"""What a sweep may try: from a YAML file to a checked `SearchSpace`. Torch-free."""

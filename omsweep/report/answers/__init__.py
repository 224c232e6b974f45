"""What a sweep answers, in words and tables: what to take, what matters, what to beware of; and sweeps side by side."""

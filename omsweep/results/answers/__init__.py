"""What a sweep answers: what to take from it, what that beats, which knobs matter, what to beware of."""

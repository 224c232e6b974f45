"""What all trials from one SFT model of a family share, made once and kept in the cache."""

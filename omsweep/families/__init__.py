"""Model families: a base model, its SFT model, their tokenizer, and how to load them."""

"""Makes a packaged family: its base from the GGUF file, its SFT model by a short run on everyday instructions."""

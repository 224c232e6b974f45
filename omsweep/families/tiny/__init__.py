"""The embedded families: small Llama and Qwen2 models, trained from scratch on the tiny world by a plain torch loop."""

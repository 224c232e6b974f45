"""The model card of an exported policy: what it is, what it was made from, its scores, and the text."""

"""Plain English for a real small model: chat prompts, instructions to fine-tune on, test items, a reward. Pure Python.

Everything is made of the templates and tables of this folder and of Python's own documentation, so that a language
model can be aligned and scored where no data set can be downloaded.
"""

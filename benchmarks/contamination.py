"""How long it takes to compare prompts with what is scored: 500,000 pairs and 20,000 items of random words, one core.

A thousandth of the prompts are items, written as another file would; another thousandth hold 13 words of one.
"""

import argparse
import os
import platform
import random
import tempfile
import time
from pathlib import Path

from datasets import Dataset

from omsweep.preferences.contamination import ScoredText
from omsweep.preferences.load import contamination_of

WORDS_OF_A_PROMPT = (20, 180)


def prompts(count: int, rng: random.Random, words: list[str]) -> list[str]:
    return [" ".join(rng.choices(words, k=rng.randint(*WORDS_OF_A_PROMPT))) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=500_000)
    parser.add_argument("--items", type=int, default=20_000)
    options = parser.parse_args()
    rng = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(1, 10))) for _ in range(50_000)]
    items, asked = prompts(options.items, rng, words), prompts(options.pairs, rng, words)
    for number in range(0, options.pairs, 1000):
        asked[number] = f"Human: {rng.choice(items).upper()}\n\nAssistant:"
        asked[number + 1] += " " + " ".join(rng.choice(items).split()[:13])
    records = [
        {"prompt": [{"role": "user", "content": text}], "chosen": [{"role": "assistant", "content": "a"}]}
        for text in asked
    ]
    with tempfile.TemporaryDirectory() as scratch:
        Dataset.from_list(records).save_to_disk(f"{scratch}/records")
        scored = [ScoredText(f"item {number}", text) for number, text in enumerate(items)]
        began = time.perf_counter()
        found = contamination_of(Path(scratch) / "records", scored, source="random", root=Path(scratch))
        seconds = time.perf_counter() - began
    print(f"{found.prompts} prompts, {found.items} items: {found.same} the same, {found.overlapping} overlap")
    print(f"{seconds:.1f} s with Python {platform.python_version()} on {os.cpu_count()} CPU cores, one used")


if __name__ == "__main__":
    main()

"""Twenty synthetic judges of 805 pairs of answers, and what the package alpaca-eval 0.6.6 makes of them.

    python tests/evaluation/judges/synthetic_judges.py tests/evaluation/judges/alpaca_eval_figures.json

writes the figures anew; that needs `alpaca-eval` and its `scikit-learn`. The package reads two things from a hub, how
hard each instruction is and the judge's verdicts on a short and a long version of the baseline: here both are made, the
first of no influence, the second by the same judge.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.special import expit, ndtri

PAIRS, JUDGES = 805, 20


def judge(number: int) -> dict:
    """A judge's preferences for our answers, in [0, 1], the characters of both, and the truth behind them.

    `quality` and `length` are theta and phi of `omsweep.evaluation.judges.length_control`; `noise` scatters verdicts of
    the same odds, and every other judge gives only 0 and 1.
    """
    rng = np.random.default_rng([7, number])
    quality, length = 3.0 * (rng.random() - 0.5), 3.0 * rng.random() - 0.5
    longer, noise = 1.5 * (rng.random() - 0.3), 1.5 * rng.random()
    baseline = np.rint(np.exp(6.5 + 0.6 * ndtri(rng.random(PAIRS))))
    ours = np.rint(np.exp(np.log(baseline) + 0.4 * longer + 0.5 * ndtri(rng.random(PAIRS)))) + 1
    difference = ours - baseline
    feature = np.tanh(difference / difference.std(ddof=1))
    chance = expit(quality + length * feature + noise * ndtri(rng.random(PAIRS)))
    preference = chance if number % 2 else (rng.random(PAIRS) < chance).astype(float)
    return {
        "preference": preference,
        "ours": ours,
        "baseline": baseline,
        "quality": quality,
        "length": length,
        "further": (further := 0.5 + rng.random(PAIRS)),
        "shortened": expit(length * np.tanh(-further)),
        "lengthened": expit(length * np.tanh(further)),
    }


def main(target: Path) -> None:
    import pandas as pd
    from alpaca_eval.metrics import glm_winrate

    found = []
    for number in range(JUDGES):
        one = judge(number)
        gamed = [
            pd.DataFrame(
                {
                    "preference": one[name],
                    "index": range(PAIRS),
                    "std_delta_len": sign * one["further"],  # the baseline's characters less the other's
                    "instruction_difficulty": np.random.default_rng(number).standard_normal(PAIRS),
                    "not_gamed_baseline": False,
                    "model": name,
                }
            )
            for name, sign in (("shortened", 1), ("lengthened", -1))
        ]
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "df_gamed.csv"
            pd.concat(gamed).to_csv(file, index=False)
            glm_winrate.hf_hub_download = lambda file=file, **_: str(file)
            annotations = pd.DataFrame(
                {
                    "preference": one["preference"] + 1,
                    "output_1": ["x" * int(n) for n in one["baseline"]],
                    "output_2": ["x" * int(n) for n in one["ours"]],
                    "generator_1": "baseline",
                    "generator_2": "ours",
                    "annotator": "judge",
                    "index": range(PAIRS),
                }
            )
            row = {"judge": number, "preference_sum": float(one["preference"].sum())}
            for name in ("length_controlled_v1", "length_controlled_minimal"):
                told = glm_winrate.get_length_controlled_winrate(
                    annotations.copy(), glm_name=name, save_weights_dir=None, is_warn_extreme_changes=False
                )
                row |= {name: round(float(told["length_controlled_winrate"]), 4)}
                row |= {f"{name}_standard_error": round(float(told["lc_standard_error"]), 4)}
            found.append(row | {"win_rate": round(float(told["win_rate"]), 4)})
    target.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

import subprocess
import sys

import pytest

from omsweep.align.algorithms import ALGORITHMS
from omsweep.align.settings import per_device_batch
from omsweep.optim.settings import OnlineMerge

ONDARE = OnlineMerge("ondare", semantics="equations", density=0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm": "ppo"}, "algorithm must be one of dpo, ipo, kto, got 'ppo'"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"beta": -1.0}, "beta must be positive, got -1.0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"max_length": 1}, "max_length must be at least 2, got 1"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        ({"warmup_steps": 2}, "warmup_steps must be 0 with lr_scheduler constant, got 2"),
        ({"lr_scheduler": "step"}, "lr_scheduler must be one of constant, .*, got 'step'"),
        ({"dtype": "float16"}, "dtype must be one of float32, bfloat16, got 'float16'"),
        ({"match": "loss"}, "match must be one of none, share, got 'loss'"),
        ({"workers": 3}, r"batch_size must be divisible by workers x gradient_accumulation_steps \(3 x 1\), got 4"),
        ({"workers": 2, "gradient_accumulation_steps": 4}, r"divisible by .* \(2 x 4\), got 4"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps must be at least 1, got 0"),
        ({"algorithm": "kto", "workers": 4}, "kto at least 2 examples per worker and pass .* got 4 over 4 x 1"),
        ({"algorithm": "kto", "gradient_accumulation_steps": 4}, "got 4 over 1 x 4"),
        ({"sharding": "fsdp"}, "sharding must be one of ddp, fsdp2, got 'fsdp'"),
        ({"sharding": "fsdp2"}, "workers must be at least 2 with sharding fsdp2, got 1"),
        ({"nll_weight": -0.5}, "nll_weight must be at least 0, got -0.5"),
        ({"desirable_weight": 2.0}, r"desirable_weight must be 1 with dpo \(they are kto's\), got 2.0"),
        ({"undesirable_weight": 0.0, "algorithm": "kto"}, "undesirable_weight must be positive, got 0.0"),
        ({"nll_weight": 0.5, "algorithm": "kto"}, "nll_weight must be 0 with kto, got 0.5: .* dpo or ipo"),
        ({"replay_share": 1.0}, r"replay_share must be in \[0, 1\), got 1.0"),
        ({"replay_share": 0.1}, "replay_share must leave examples of both kinds among 4, got 0.1"),
        ({"replay_share": 0.5, "algorithm": "kto"}, "replay_share must be 0 with kto, got 0.5"),
        ({"replay_share": 0.25, "workers": 2}, r"divide by .* \(2\), got 0.25 of batch_size 4: 1 examples"),
        ({"lora_rank": -1}, "lora_rank must be at least 0, got -1"),
        ({"lora_rank": 4, "lora_alpha": 0.0}, "lora_alpha must be positive, got 0.0"),
        ({"lora_rank": 4, "merge": ONDARE}, "lora_rank must be 0 with method ondare, got 4: .* use method adamw"),
        ({"lora_rank": 4, "sharding": "fsdp2", "workers": 2}, "lora_rank must be 0 with sharding fsdp2, got 4"),
    ],
)
def test_mistakes_are_named(changes, message, settings):
    with pytest.raises(ValueError, match=message):
        settings(**changes)


def test_a_batch_is_split_over_workers():
    assert per_device_batch(batch_size=32, workers=4, unpaired=True) == 8
    assert per_device_batch(batch_size=32, workers=4, gradient_accumulation_steps=2, unpaired=True) == 4


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
def test_the_table_names_a_loss_and_data_that_have_a_trainer(algorithm, tmp_path):
    from omsweep.align.arguments import shared_arguments, trainer_arguments
    from omsweep.align.trainer import PREPARERS, TRAINERS

    assert algorithm.data_kind in PREPARERS
    assert algorithm.data_kind in TRAINERS
    shared = shared_arguments(output_dir=tmp_path, per_device_batch_size=4, max_length=32)
    arguments = trainer_arguments(algorithm, beta=0.3, **shared)
    assert arguments.beta == 0.3
    assert arguments.loss_type in (algorithm.trl_loss, [algorithm.trl_loss])
    assert ALGORITHMS[algorithm.name] is algorithm


def test_settings_and_tables_need_no_heavy_library():
    code = (
        "import sys\n"
        "for name in ('torch', 'trl', 'transformers', 'datasets', 'ray'): sys.modules[name] = None\n"
        "import omsweep.align.settings, omsweep.align.outcome\n"
        "import omsweep.preferences.settings, omsweep.preferences.records\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

from copy import deepcopy

import pytest

from omsweep.align.algorithms import DPO
from omsweep.align.arguments import shared_arguments, trainer_arguments
from omsweep.align.isolation import isolated_training
from omsweep.align.pilot import known_share, matched_learning_rate, measured_share
from omsweep.align.reference import open_prepared
from omsweep.align.trainer import PreparedDPOTrainer
from omsweep.optim.settings import OnlineMerge


@pytest.mark.parametrize(
    ("merge", "share"),
    [
        (OnlineMerge("adamw"), 1.0),
        (OnlineMerge("linear", alpha=0.1), 1.0),
        (OnlineMerge("anchor", alpha=0.1), 1.0),
        (OnlineMerge("ondare", semantics="equations", density=0.25), 0.25),
        (OnlineMerge("ondare", semantics="released", density=0.25), 1.0),
        (OnlineMerge("ondare", semantics="equations", density=0.25, rescale="norm"), 1.0),
        (OnlineMerge("childtuning", density=0.25), 0.25),
        (OnlineMerge("onties", semantics="equations", density=1.0), 1.0),
        (OnlineMerge("onties", semantics="equations", density=0.25), None),
        (OnlineMerge("onties", semantics="equations", density=0.25, rescale="inverse"), None),
    ],
)
def test_the_share_follows_from_the_settings_where_it_can(merge, share):
    assert known_share(merge) == share


def test_the_pilot_is_run_only_where_it_is_needed():
    def never():
        raise AssertionError("no pilot needed")

    assert matched_learning_rate(1e-3, merge=OnlineMerge("adamw"), measure=never) == 1e-3
    onties = OnlineMerge("onties", semantics="equations", density=0.25)
    assert matched_learning_rate(1e-3, merge=onties, measure=lambda: 0.5) == 2e-3


@pytest.fixture
def share(prepared, policy, tokenizer, tmp_path):
    """Run a pilot of OnTIES over a copy of the SFT model."""

    def measured(*, density, steps, per_device_batch_size=4, **arguments):
        with isolated_training(policy):
            trainer = PreparedDPOTrainer(
                model=deepcopy(policy),
                args=trainer_arguments(
                    DPO,
                    beta=0.1,
                    **shared_arguments(
                        output_dir=tmp_path,
                        per_device_batch_size=per_device_batch_size,
                        max_length=32,
                        **arguments,
                    ),
                ),
                train_dataset=open_prepared(prepared("dpo")),
                processing_class=tokenizer,
            )
            return measured_share(
                trainer,
                merge=OnlineMerge("onties", semantics="equations", density=density),
                learning_rate=1e-3,
                max_grad_norm=1.0,
                steps=steps,
            )

    return measured


def test_the_pilot_measures_what_onties_would_keep_of_adamws_updates(share):
    # Adam's first update has nearly the same magnitude wherever it is not zero; later the top half holds more than half
    assert share(density=0.5, steps=1) == pytest.approx(0.5, abs=0.12)
    assert share(density=0.5, steps=5) > 0.55
    assert 0.1 < share(density=0.1, steps=5) < share(density=0.5, steps=5)


def test_the_pilot_steps_over_global_batches(share):
    whole = share(density=0.5, steps=5)
    assert share(density=0.5, steps=5, per_device_batch_size=2, gradient_accumulation_steps=2) == pytest.approx(
        whole, rel=1e-3
    )
    assert share(density=0.5, steps=5, gradient_checkpointing=True) == pytest.approx(whole, rel=1e-3)

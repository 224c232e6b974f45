import pytest
import torch
from datasets import load_from_disk

from omsweep.align import dpo
from omsweep.align.arguments import shared_arguments
from omsweep.align.isolation import isolated_training
from omsweep.align.pilot import known_share, matched_learning_rate, measured_share
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

    assert matched_learning_rate(1e-3, merge=OnlineMerge("adamw"), measure=never) == (1e-3, 1.0)
    onties = OnlineMerge("onties", semantics="equations", density=0.25)
    assert matched_learning_rate(1e-3, merge=onties, measure=lambda: 0.5) == (2e-3, 0.5)


def test_the_pilot_measures_adamws_updates_and_puts_the_weights_back(prepared, policy, tokenizer, tmp_path):
    before = {name: weight.clone() for name, weight in policy.state_dict().items()}
    with isolated_training(policy):
        trainer = dpo.TRAINER(
            model=policy,
            args=dpo.trainer_arguments(
                beta=0.1, **shared_arguments(output_dir=tmp_path, per_device_batch_size=4, max_length=32)
            ),
            train_dataset=load_from_disk(prepared("dpo")),
            processing_class=tokenizer,
        )
        shares = {
            (density, steps): measured_share(
                trainer,
                merge=OnlineMerge("onties", semantics="equations", density=density),
                learning_rate=1e-3,
                max_grad_norm=1.0,
                steps=steps,
            )
            for density, steps in ((0.5, 1), (0.5, 5), (0.1, 5))
        }
        assert trainer._total_train_tokens == 0
        assert not trainer._metrics["train"]
    for name, weight in policy.state_dict().items():
        assert torch.equal(weight, before[name]), name
    # Adam's first update has nearly the same magnitude wherever it is not zero; later the top half holds more than half
    assert shares[0.5, 1] == pytest.approx(0.5, abs=0.12)
    assert shares[0.5, 5] > 0.55
    assert 0.1 < shares[0.1, 5] < shares[0.5, 5]

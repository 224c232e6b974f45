from contextlib import nullcontext

import pytest
import torch
import trl
from datasets import load_from_disk
from trl.trainer import dpo_trainer, kto_trainer
from trl.trainer.utils import add_fused_lm_head

from omsweep.align.algorithms import ALGORITHMS
from omsweep.align.arguments import shared_arguments, trainer_arguments
from omsweep.align.isolation import isolated_training
from omsweep.align.trainer import TRAINERS, PreparedDPOTrainer, PreparedKTOTrainer, completion_positions_only


def test_the_overridden_private_methods_exist_in_this_trl():
    assert trl.__version__ == "1.16.0"
    for trainer in (trl.DPOTrainer, trl.KTOTrainer):
        for method in ("_prepare_dataset", "_precompute_ref_logps", "_send_telemetry"):
            assert callable(getattr(trainer, method))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_reference_model_is_loaded_and_nothing_is_sent(
    algorithm, prepared, policy, tokenizer, tmp_path, monkeypatch
):
    def forbidden(*_arguments, **_options):
        raise AssertionError("must not be called")

    for module in (dpo_trainer, kto_trainer):
        monkeypatch.setattr(module, "create_model_from_path", forbidden)
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", forbidden)
    rows = load_from_disk(prepared(algorithm))
    with isolated_training(policy):
        shared = shared_arguments(output_dir=tmp_path, per_device_batch_size=4, max_length=32)
        trainer = TRAINERS[ALGORITHMS[algorithm].data_kind](
            model=policy,
            args=trainer_arguments(ALGORITHMS[algorithm], beta=0.1, **shared),
            train_dataset=rows,
            processing_class=tokenizer,
        )
        assert trainer.ref_model is None
        assert len(trainer.train_dataset) == len(rows)
        assert trainer.beta == 0.1


@pytest.mark.parametrize("trainer", [PreparedDPOTrainer, PreparedKTOTrainer])
def test_unprepared_data_are_our_own_mistake(trainer, prepared, policy, tokenizer, tmp_path):
    algorithm = "dpo" if trainer is PreparedDPOTrainer else "kto"
    rows = load_from_disk(prepared(algorithm)).remove_columns("prompt_ids")
    shared = shared_arguments(output_dir=tmp_path, per_device_batch_size=4, max_length=32)
    with isolated_training(policy):
        arguments = trainer_arguments(ALGORITHMS[algorithm], beta=0.1, **shared)
        with pytest.raises(AssertionError, match=r"lack \['prompt_ids'\]"):
            trainer(model=policy, args=arguments, train_dataset=rows, processing_class=tokenizer)


def test_scoring_completion_positions_only_changes_no_number(policy):
    ids = torch.randint(6, 60, (3, 9), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[0, :4] = labels[1, :7] = labels[2, 5:] = -100
    found = []
    with isolated_training(policy):
        add_fused_lm_head(policy, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
        for scope in (nullcontext, completion_positions_only):
            with scope():
                output = policy(input_ids=ids, labels=labels, fused_lm_head=True)
            output.log_probs.sum().backward()
            grads = [parameter.grad.clone() for parameter in policy.parameters()]
            policy.zero_grad()
            found.append([output.log_probs, output.entropy, output.mean_logits, output.is_top1, *grads])
    for everywhere, completions in zip(*found, strict=True):
        torch.testing.assert_close(everywhere, completions)
    assert trl.trainer.utils._use_triton is trl.kernels.chunked_logprob._use_triton

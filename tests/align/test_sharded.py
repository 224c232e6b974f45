import pytest
from accelerate.state import PartialState
from transformers.trainer import FSDP_MODEL_NAME

from omsweep.align.algorithms import DPO
from omsweep.align.arguments import shared_arguments, trainer_arguments
from omsweep.align.isolation import isolated_training
from omsweep.align.reference import open_prepared
from omsweep.align.sharded import check_same_sharding, gather_weights, shard, sharded_arguments
from omsweep.align.trainer import PreparedDPOTrainer


def test_a_trainer_is_told_before_training_and_the_process_forgets_it(prepared, policy, tokenizer, tmp_path):
    before = dict(PartialState._shared_state)
    with isolated_training(policy):
        trainer = PreparedDPOTrainer(
            model=policy,
            args=trainer_arguments(
                DPO,
                beta=0.1,
                **shared_arguments(output_dir=tmp_path, per_device_batch_size=4, max_length=32),
                **sharded_arguments(),
            ),
            train_dataset=open_prepared(prepared("dpo")),
            processing_class=tokenizer,
        )
        assert not trainer.accelerator.is_fsdp2
        shard(trainer)
        assert trainer.accelerator.is_fsdp2
        assert trainer.accelerator.gradient_state.plugin_kwargs["sync_each_batch"]
        assert trainer.ref_model is None
    assert dict(PartialState._shared_state) == before


def test_arguments_are_made_anew_because_trainers_write_into_them():
    sharded_arguments()["accelerator_config"]["gradient_accumulation_kwargs"]["num_steps"] = 1
    assert "num_steps" not in sharded_arguments()["accelerator_config"]["gradient_accumulation_kwargs"]


def test_weights_are_copied_by_name(policy, sft_path):
    other = type(policy).from_pretrained(sft_path)
    for parameter in other.parameters():
        parameter.data.add_(1.0)
    gather_weights(other, policy)
    for name, parameter in other.named_parameters():
        assert policy.get_parameter(name).equal(parameter), name


def test_a_checkpoint_of_another_sharding_is_refused(tmp_path):
    ddp, fsdp2 = tmp_path / "checkpoint-1", tmp_path / "checkpoint-2"
    ddp.mkdir()
    (fsdp2 / f"{FSDP_MODEL_NAME}_0").mkdir(parents=True)
    check_same_sharding(ddp, sharded=False)
    check_same_sharding(fsdp2, sharded=True)
    with pytest.raises(ValueError, match="sharding must be ddp, as when checkpoint-1 was saved, got fsdp2"):
        check_same_sharding(ddp, sharded=True)
    with pytest.raises(ValueError, match="sharding must be fsdp2, as when checkpoint-2 was saved, got ddp"):
        check_same_sharding(fsdp2, sharded=False)

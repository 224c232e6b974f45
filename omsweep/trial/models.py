"""The models a trial loads: a fresh copy of the SFT model it starts from, on the accelerator where there is one."""

from typing import Any

from omsweep.store.records import Prepared


def sft_model(prepared: Prepared) -> Any:
    """A fresh copy of a prepared family's SFT model, placed as `placed` says."""
    return placed(unplaced_sft_model(prepared))


def unplaced_sft_model(prepared: Prepared) -> Any:
    """A fresh copy of a prepared family's SFT model on the CPU."""
    from omsweep.families.load import load_model

    return load_model(prepared.sft, revision=prepared.sft_revision, dtype=prepared.dtype)


def sft_tokenizer(prepared: Prepared) -> Any:
    """The SFT model's tokenizer with the family's chat template."""
    from omsweep.families.load import load_tokenizer

    return load_tokenizer(prepared.sft, revision=prepared.sft_revision, chat_template=prepared.chat_template)


def placed(model: Any) -> Any:
    """The model, moved to the accelerator where there is one."""
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def accelerator() -> str:
    """The name of the device that models are placed on, as trial records say it."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"

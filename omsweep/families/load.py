"""From a family to folders, models, tokenizers and a hash of the weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from omsweep.families.chat_template import rendered_probe, template_of
from omsweep.families.decoding import TemplateValue, with_arguments
from omsweep.families.family import DTYPES, ModelFamily, PackagedRecipe
from omsweep.families.folder import check_causal
from omsweep.families.smollm2 import build as packaged
from omsweep.families.tiny.build import MakeProgress, build_base, build_sft
from omsweep.foreign import calling
from omsweep.merging.names import listed
from omsweep.merging.safetensors_file import folder_hash, non_finite
from omsweep.merging.safetensors_header import no_model
from omsweep.quiet import without_transformers_bars

_WANTED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.tiktoken"]
_WANTED += ["README.md", "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*"]  # what a model made from it carries on
_SECOND_WEIGHTS = ["consolidated*", "original/*"]
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class FamilyFolders:
    """Local folders of a family's base and SFT model, and the hub commits that they hold (None: not from a hub)."""

    base: str
    sft: str
    base_revision: str | None = None
    sft_revision: str | None = None


def prepare(family: ModelFamily, *, progress: MakeProgress = tqdm) -> FamilyFolders:
    """Make a family's two models available as local Hugging Face folders.

    Embedded families and the SFT models of packaged ones are trained once and then come from the cache; other processes
    that ask meanwhile wait for the one that trains. Hub ids are downloaded to the hub's own cache. Local folders are
    only checked.

    Args:
        family: which one.
        progress: `progress(total=steps, desc=...)` makes a bar with `update(n)` and `close()`; only used if something
            is trained.

    Raises:
        ValueError: a folder that `check_causal` refuses, a hub id that is unknown or cannot be reached, or a package
            that is not installed.
    """
    if isinstance(family.recipe, PackagedRecipe):
        base = packaged.build_base(family.recipe)
        sft = packaged.build_sft(family.recipe, family.sft_seed, progress=progress)
        return FamilyFolders(base=str(base), sft=str(sft))
    if family.recipe is not None:
        base = build_base(family.recipe, progress=progress)
        return FamilyFolders(base=str(base), sft=str(build_sft(family.recipe, family.sft_seed, progress=progress)))
    base_folder, base_revision = _resolve(family, family.base)
    sft_folder, sft_revision = _resolve(family, family.sft, answers=True)
    return FamilyFolders(base=base_folder, sft=sft_folder, base_revision=base_revision, sft_revision=sft_revision)


def load_model(path: str, *, revision: str | None = None, dtype: str = "float32") -> PreTrainedModel:
    """A causal language model in evaluation mode from a folder or hub id; safetensors only, no remote code.

    Raises:
        ValueError: unknown dtype, a folder without `config.json` or some of the weights, or a hub id that cannot be
            reached; files that transformers cannot read; numbers beyond float16, where that is asked for.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    folder, _ = find(path, revision=revision)
    with calling(f"load the model of {folder}"), without_transformers_bars():
        model, loaded = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    if loaded["missing_keys"]:
        raise ValueError(f"{folder} lacks weights, which would be random: {listed(sorted(loaded['missing_keys']))}")
    if dtype == "float16":
        _refuse_overflow(model, folder)
    return model.eval()


def _refuse_overflow(model: PreTrainedModel, folder: str) -> None:
    """ValueError where weights have become infinite in float16; folders that hold such ones are refused as such."""
    bad = {name: count for name, parameter in model.named_parameters() if (count := non_finite(parameter.detach()))}
    if bad:
        folder_hash(folder)
        raise ValueError(
            f"{sum(bad.values())} weights of {folder} overflow float16, whose largest number is 65504: {listed(bad)};"
            " load it in bfloat16 or float32"
        )


def empty_model(path: str, *, revision: str | None = None) -> PreTrainedModel:
    """The model of a folder or hub id without weights, on the meta device: names and shapes of its parameters.

    Raises:
        ValueError: a folder without `config.json`, or a hub id that cannot be reached.
    """
    folder, _ = find(path, revision=revision)
    with calling(f"load the configuration of {folder}"), torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        return AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def load_tokenizer(
    path: str,
    *,
    revision: str | None = None,
    chat_template: str | None = None,
    template_arguments: Mapping[str, TemplateValue] | None = None,
) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or hub id; `chat_template` replaces its own, a missing pad token becomes EOS.

    `template_arguments` are set in the template, so that everybody who renders with this tokenizer renders with them.

    Raises:
        ValueError: a folder without `config.json`, a hub id that cannot be reached, no chat template at all, or one
            that fails.
    """
    folder, _ = find(path, revision=revision)
    with calling(f"load the tokenizer of {folder}"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    if tokenizer.chat_template is None:
        raise ValueError(f"the tokenizer of {path} has no chat template; give the family a chat_template")
    if template_arguments:
        tokenizer.chat_template = with_arguments(tokenizer.get_chat_template(), template_arguments)
    rendered_probe(template_of(tokenizer), path)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_generation_config(path: str, *, revision: str | None = None) -> GenerationConfig:
    """The generation settings of a folder or hub id; what its `config.json` says where it has no file for them.

    Raises:
        ValueError: a folder without `config.json`, or a hub id that cannot be reached.
    """
    folder, _ = find(path, revision=revision)
    with calling(f"load the generation settings of {folder}"):
        if (Path(folder) / "generation_config.json").is_file():
            return GenerationConfig.from_pretrained(folder, local_files_only=True)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        return GenerationConfig.from_model_config(config)


def weights_hash(path: str, revision: str | None = None) -> str:
    """Sixteen hex digits over names, dtypes, shapes and bytes of all tensors of a folder's safetensors files.

    Independent of file times, of how tensors are spread over files, of their order and of metadata.

    Raises:
        ValueError: the folder has no safetensors file, or as for `load_model`.
    """
    folder, _ = find(path, revision=revision)
    return folder_hash(folder)


def find(path: str, *, revision: str | None = None) -> tuple[str, str | None]:
    """(local folder, hub commit or None) of a folder or of a hub id, which is downloaded if need be.

    Raises:
        ValueError: a folder without `config.json`, or a hub id that is unknown, badly written or cannot be reached.
    """
    local = Path(path).expanduser()
    if local.is_dir():
        if not (local / "config.json").is_file():
            raise ValueError(no_model(local))
        return str(local), None
    name, _, named_revision = path.partition("@")
    try:
        snapshot = snapshot_download(
            name, revision=named_revision or revision, allow_patterns=_WANTED, ignore_patterns=_SECOND_WEIGHTS
        )
    except HFValidationError as error:
        raise ValueError(f"{path!r} is neither a folder that exists nor a hub id (organisation/model)") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ValueError(
            f"{path!r} is no folder that exists, and as a hub id it is not in the local hub cache and cannot be "
            "downloaded: the hub is switched off (HF_HUB_OFFLINE) or not reachable"
        ) from error
    except HfHubHTTPError as error:
        raise ValueError(f"{path!r} is no folder that exists, and the hub refuses it: {error}") from error
    commit = Path(snapshot).name
    return snapshot, commit if _COMMIT.fullmatch(commit) else None


def _resolve(family: ModelFamily, path: str, *, answers: bool = False) -> tuple[str, str | None]:
    try:
        found = find(path, revision=family.revision)
        check_causal(Path(found[0]), answers=answers)
    except ValueError as error:
        raise ValueError(f"family {family.name!r}: {error}") from error
    return found

"""How much memory one training worker needs, told from the sizes of its model. Torch-free, numbers in bytes.

A sum of terms, each in closed form. Gradients and activations are both counted whole although one grows while the other
shrinks; that slack stands for what is not counted: temporaries of the optimizer step, the CUDA context, fragmentation.
Scoring, which comes after training with nothing but two models loaded, is not counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from omsweep.families.shape import TRAITS, Shape
from omsweep.optim.settings import DTYPE_BYTES, FLOAT32_BYTES, OnlineMerge, ResolvedMerge, state_bytes

TOKEN_CHUNK, VOCABULARY_CHUNK = 4096, 32768
"""TRL scores so many tokens against so many rows of the output head at once."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one worker trains on.

    Attributes:
        parameters: of the model.
        shape: its sizes, None where they are not known: then activations and logits are left out.
        dtype: of the weights.
        tau_dtype: of the task vector.
        sequences: sequences of one forward and backward pass; for pairs both halves count.
        max_length: tokens of each, at most.
        workers: that train together.
        sharded: whether they share weights, gradients, state and task vector instead of each holding all.
        checkpointed: whether activations inside a layer are computed again in the backward pass.
        adapter_rank: of the float32 adapters that are trained in place of the weights, 0 for none.
    """

    parameters: int
    shape: Shape | None
    dtype: str
    tau_dtype: str
    sequences: int
    max_length: int
    workers: int = 1
    sharded: bool = False
    checkpointed: bool = False
    adapter_rank: int = 0


def training_bytes(load: Load, merge: ResolvedMerge, *, pilot: bool) -> dict[str, int]:
    """Bytes of one worker by term; with `pilot` those of the pilot run where it needs more than the training does.

    Args:
        load: see `Load`.
        merge: resolved settings of the optimizer.
        pilot: whether a pilot measures the retained share before training.
    """
    training = _terms(load, merge)
    if not pilot:
        return training
    return max(training, _pilot_terms(load), key=lambda terms: sum(terms.values()))


def _terms(load: Load, merge: ResolvedMerge) -> dict[str, int]:
    dtype = DTYPE_BYTES[load.dtype]
    given = {
        "task vector": DTYPE_BYTES[load.tau_dtype] if merge.needs_task_vector else 0,
        "reference weights": dtype if merge.needs_reference else 0,
    }
    return _bytes(load, {**state_bytes(merge, load.dtype), **given})


def _pilot_terms(load: Load) -> dict[str, int]:
    """Plain AdamW, with the weights set aside and all displacements of a step held at once."""
    state = state_bytes(OnlineMerge("adamw").resolved(), load.dtype)
    return _bytes(load, {**state, "weights set aside": DTYPE_BYTES[load.dtype], "displacements": FLOAT32_BYTES})


def _bytes(load: Load, per_parameter: Mapping[str, int]) -> dict[str, int]:
    dtype = DTYPE_BYTES[load.dtype]
    trained, held = load.parameters, {"gradients": dtype, **per_parameter}
    terms = {"weights": dtype * _share(load, load.parameters)}
    if load.adapter_rank:
        trained = 0 if load.shape is None else adapter_parameters(load.shape, load.adapter_rank)
        held |= {"adapters": FLOAT32_BYTES, "gradients": FLOAT32_BYTES, "master bits": 0}
    if load.workers > 1 and not load.sharded:
        held["gradient buckets"] = held["gradients"]  # DistributedDataParallel reduces copies
    terms |= {name: count * _share(load, trained) for name, count in held.items() if count * trained}
    if load.shape is not None:
        tokens = load.sequences * load.max_length
        terms["activations"] = activation_bytes(
            load.shape, tokens=tokens, dtype=load.dtype, checkpointed=load.checkpointed
        )
        terms["logits"] = logit_bytes(load.shape, tokens=tokens, dtype=load.dtype)
    return terms


def _share(load: Load, parameters: int) -> int:
    """Parameters that one worker holds."""
    return -(-parameters // (load.workers if load.sharded else 1))


def adapter_parameters(shape: Shape, rank: int) -> int:
    """Parameters of LoRA adapters on every linear layer but the output head: rank (inputs + outputs) each."""
    attention = 2 * (shape.hidden + shape.queries) + 2 * (shape.hidden + shape.keys)
    return shape.layers * rank * (attention + 3 * (shape.hidden + shape.intermediate))


def activation_bytes(shape: Shape, *, tokens: int, dtype: str, checkpointed: bool = False) -> int:
    """What the backward pass keeps of `tokens` tokens: per layer, with d bytes an entry,

        2 norms (4 + 2 d) hidden + 4 d queries + 4 d intermediate + 4 heads,

    that is each norm's input in float32, its normalised input and its output; queries, repeated keys and values and the
    attention's output; the gated MLP's four products; the softmax sums. Where a checkpoint keeps only the input of each
    layer, one layer is computed again at a time.
    """
    d = DTYPE_BYTES[dtype]
    norm = (FLOAT32_BYTES + 2 * d) * shape.hidden
    layer = 2 * norm + 4 * d * (shape.queries + shape.intermediate) + FLOAT32_BYTES * shape.heads
    if TRAITS[shape.architecture].head_norms != "none":
        layer += (FLOAT32_BYTES + d) * (shape.queries + shape.keys)
    per_token = shape.layers * d * shape.hidden + layer if checkpointed else shape.layers * layer
    return tokens * (per_token + norm)


def logit_bytes(shape: Shape, *, tokens: int, dtype: str) -> int:
    """What scoring `tokens` tokens in chunks takes: one tile of logits, and float32 gradients of head and input."""
    tile = min(tokens, TOKEN_CHUNK) * min(shape.vocabulary, VOCABULARY_CHUNK) * DTYPE_BYTES[dtype]
    return tile + FLOAT32_BYTES * shape.hidden * (shape.vocabulary + tokens)

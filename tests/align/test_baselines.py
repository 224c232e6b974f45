"""What a baseline changes in training: fewer steps, NLL beside the loss, adapters in place of weights."""

import numpy as np
import pytest
import torch

from omsweep.align.lora import adapter_config
from omsweep.align.order import example_order
from omsweep.align.preflight import PreflightError
from omsweep.align.reference import open_prepared
from omsweep.align.replay import MixedCollator, parted
from omsweep.optim.settings import OnlineMerge


def same_weights(first, second):
    return all(torch.equal(weight, second.state_dict()[name]) for name, weight in first.state_dict().items())


def nll(model, row, side="chosen"):
    """(negative log-likelihood in nats, tokens) of a prepared row's answer."""
    prompt, completion = row["prompt_ids"], row[f"{side}_ids"]
    table = model(input_ids=torch.tensor([prompt + completion])).logits[0, :-1].log_softmax(-1)
    return -table[range(len(prompt) - 1, len(prompt) + len(completion) - 1), completion].sum(), len(completion)


def test_fewer_steps_are_the_first_of_more(run):
    seen = {}
    for steps in (2, 8):  # 24 pairs: 8 steps are more than one pass
        metrics = []
        outcome, _ = run(
            steps=steps, hooks={"on_step": lambda step, logs, kept=metrics: kept.append(logs["num_tokens"])}
        )
        seen[steps] = (outcome.losses, metrics)
    assert len(seen[8][0]) == 8
    assert seen[2] == tuple(part[:2] for part in seen[8])


@pytest.mark.parametrize("algorithm", ["dpo", "ipo"])
def test_nll_stands_beside_the_loss_by_its_weight(algorithm, run, prepared, policy):
    plain, _ = run(algorithm=algorithm, steps=1)
    weighted, _ = run(algorithm=algorithm, steps=1, nll_weight=0.3)
    rows = open_prepared(prepared(algorithm))
    batch = [rows[int(index)] for index in example_order(len(rows), wanted=4, seed=3)]
    with torch.no_grad():
        nats, tokens = zip(*[nll(policy, row) for row in batch], strict=True)
    wanted = plain.losses[0] + 0.3 * float(sum(nats)) / sum(tokens)
    assert weighted.losses[0] == pytest.approx(wanted, rel=1e-5)
    assert weighted.preflight["expected_loss"] == pytest.approx(wanted, rel=1e-5)


def test_nll_of_passes_is_the_mean_of_their_means(run):
    outcome, _ = run(nll_weight=1.0, gradient_accumulation_steps=2)
    assert outcome.losses[0] == pytest.approx(outcome.preflight["expected_loss"], abs=1e-5)


def test_nll_of_another_model_stops_the_run(run, policy):
    with torch.no_grad():
        policy.lm_head.weight.mul_(1.5)
    with pytest.raises(PreflightError, match="the first dpo loss must be"):
        run(nll_weight=1.0, model=policy)


def test_no_weight_is_the_plain_loss(run):
    plain, model = run()
    zero, other = run(nll_weight=0.0)
    assert zero.losses == plain.losses
    assert same_weights(model, other)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (2.0, 0.5)])
def test_kto_weights_stand_before_the_loss_of_each_label(weights, run, prepared):
    desirable, undesirable = weights
    outcome, _ = run(algorithm="kto", steps=1, desirable_weight=desirable, undesirable_weight=undesirable)
    rows = open_prepared(prepared("kto"))
    labels = [rows[int(index)]["label"] for index in example_order(len(rows), wanted=4, seed=3, group=4)]
    wanted = 0.5 * np.mean([desirable if label else undesirable for label in labels])
    assert 0 < sum(labels) < 4
    assert outcome.losses[0] == pytest.approx(wanted, rel=1e-5)
    assert outcome.preflight["expected_loss"] == pytest.approx(wanted, rel=1e-5)


def test_kto_trains_steps_that_hold_one_label_alone(run, prepared, make_pairs):
    records = [
        {"prompt": record["prompt"], "completion": record["chosen"], "label": index > 0}
        for index, record in enumerate(make_pairs(12))
    ]
    outcome, _ = run(algorithm="kto", steps=6, data=prepared("kto", records=records))
    assert (outcome.state, len(outcome.losses)) == ("completed", 6)


@pytest.fixture(scope="module")
def replay(prepared, sft_examples, make_pairs):
    """SFT examples as they are prepared: the answer on both sides."""
    return prepared("dpo", source=sft_examples(make_pairs(10, seed=5)))


def test_replayed_examples_take_the_place_of_pairs(run, prepared, replay, policy):
    outcome, model = run(steps=5, replay_share=0.25, nll_weight=0.1, hooks={"replay": replay})
    pairs, examples = open_prepared(prepared("dpo")), open_prepared(replay)
    pair_order = example_order(len(pairs), wanted=15, seed=3).reshape(5, 3)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3, weight_decay=0.0)
    losses, tokens = [], 0
    for pair_rows, example_row in zip(pair_order, example_order(len(examples), wanted=5, seed=3), strict=True):
        rows, example = [pairs[int(row)] for row in pair_rows], examples[int(example_row)]
        scored = [(nll(policy, row), nll(policy, row, "rejected"), row) for row in rows]
        margins = [r[0] - c[0] + row["ref_rejected_logps"] - row["ref_chosen_logps"] for c, r, row in scored]
        preference = -torch.nn.functional.logsigmoid(0.1 * torch.stack(margins)).mean()
        preference = preference + 0.1 * sum(c[0] for c, _, _ in scored) / sum(c[1] for c, _, _ in scored)
        nats, length = nll(policy, example)
        loss = 0.75 * preference + 0.25 * nats / length
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        tokens += len(example["prompt_ids"]) + length
        tokens += sum(2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows)
    assert outcome.losses == pytest.approx(losses, rel=1e-4)
    assert outcome.preflight["expected_loss"] == pytest.approx(losses[0], rel=1e-5)
    assert outcome.tokens == tokens
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, policy.get_parameter(name), rtol=0, atol=2e-4, msg=name)


def test_replay_of_nothing_is_the_plain_run_and_of_other_passes_the_same_examples(run, replay):
    plain, model = run()
    zero, other = run(replay_share=0.0, hooks={"replay": replay})
    assert zero.losses == plain.losses
    assert same_weights(model, other)
    half, _ = run(replay_share=0.5, hooks={"replay": replay})
    passes, _ = run(replay_share=0.5, gradient_accumulation_steps=2, hooks={"replay": replay})
    assert passes.losses[0] == pytest.approx(passes.preflight["expected_loss"], abs=1e-5)
    assert passes.tokens == half.tokens
    matched, _ = run(
        replay_share=0.5,
        merge=OnlineMerge("onties", semantics="equations", density=0.5),
        match="share",
        hooks={"replay": replay},
    )
    assert 1e-3 < matched.learning_rate_applied < 2e-3


def test_replay_needs_data_of_this_model(run, replay, prepared, policy, make_pairs):
    with pytest.raises(ValueError, match="replay_share 0.5 needs prepared SFT data"):
        run(replay_share=0.5)
    with torch.no_grad():
        policy.lm_head.weight.mul_(1.5)
    with pytest.raises(PreflightError, match="the first dpo loss must be"):
        run(replay_share=0.5, model=policy, hooks={"replay": replay})


def test_a_pass_is_collated_into_pairs_and_examples():
    row = {"prompt_ids": [5, 6], "chosen_ids": [7, 8], "replayed": True}
    longer = {"prompt_ids": [5, 6, 7], "chosen_ids": [8, 9], "replayed": True}
    collator = MixedCollator(lambda pairs: {"input_ids": torch.tensor([[len(pairs)]])}, pad_token_id=0, max_length=4)
    pairs, replay = parted(collator([{"replayed": False}, row, longer]))
    assert pairs["input_ids"].tolist() == [[1]]
    assert replay["input_ids"].tolist() == [[5, 6, 7, 8], [5, 6, 7, 8]]
    assert replay["labels"].tolist() == [[-100, -100, 7, 8], [-100, -100, -100, 8]]
    (_, alone) = parted(collator([{"replayed": False}, row | {"chosen_ids": [7]}, row]))
    assert alone["input_ids"].tolist() == [[5, 6, 7, 0], [5, 6, 7, 8]]
    assert alone["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert alone["labels"][0].tolist() == [-100, -100, 7, -100]


@pytest.mark.parametrize("algorithm", ["dpo", "kto"])
def test_adapters_end_in_the_weights_of_linear_layers(algorithm, run, policy):
    start = {name: weight.clone() for name, weight in policy.state_dict().items()}
    names, flags = list(dict(policy.named_modules())), {p.requires_grad for p in policy.parameters()}
    outcome, model = run(algorithm=algorithm, model=policy, lora_rank=3, learning_rate=1e-2, match="share")
    assert outcome.state == "completed"
    assert outcome.learning_rate_applied == 1e-2
    assert list(dict(model.named_modules())) == names
    assert {p.requires_grad for p in model.parameters()} == flags == {True}
    moved = {name: weight - start[name] for name, weight in model.state_dict().items()}
    for name, delta in moved.items():
        if name.endswith("_proj.weight"):
            assert 1 <= torch.linalg.matrix_rank(delta, rtol=1e-3) <= 3, name
        else:
            assert not delta.any(), name
    norm = sum(delta.double().square().sum() for delta in moved.values()).sqrt().item()
    assert outcome.diagnostics["displacement"] == pytest.approx(norm, rel=1e-4)
    assert outcome.diagnostics["tau_travel"] == 0.0


def test_adapters_are_merged_as_weights_plus_scaled_products(run, policy, tmp_path, sft_path):
    from peft import PeftModel

    kept = {}
    hooks = {"on_checkpoint": lambda step, folder: kept.setdefault(step, folder)}
    _, model = run(lora_rank=2, lora_alpha=6.0, learning_rate=1e-2, checkpoint_every=4, hooks=hooks)
    adapted = PeftModel.from_pretrained(policy, kept[4])
    layer = adapted.base_model.model.model.layers[1].mlp.up_proj
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(
        model.model.layers[1].mlp.up_proj.weight, layer.base_layer.weight + 6.0 / 2 * product, rtol=0, atol=1e-6
    )
    assert adapter_config(rank=2, alpha=6.0).lora_dropout == 0.0


def test_adapters_start_by_the_seed_and_go_on_from_a_checkpoint(run):
    folders = {}
    hooks = {"on_checkpoint": lambda step, folder: folders.setdefault(step, folder)}
    common = {"lora_rank": 2, "learning_rate": 1e-2, "checkpoint_every": 3, "steps": 5}
    whole, model = run(hooks=hooks, **common)
    resumed, resumed_model = run(hooks={"resume_from": folders[3]}, **common)
    other, _ = run(seed=4, **common)
    assert resumed.losses == whole.losses != other.losses
    assert same_weights(model, resumed_model)


def test_a_run_with_adapters_that_stops_leaves_the_model_as_it_was(run, policy):
    def stop(step, metrics):
        raise KeyboardInterrupt

    before = {name: weight.clone() for name, weight in policy.state_dict().items()}
    attributes = set(policy.__dict__)
    with pytest.raises(KeyboardInterrupt):
        run(model=policy, lora_rank=2, gradient_checkpointing=True, hooks={"on_step": stop})
    assert list(policy.state_dict()) == list(before)
    assert all(torch.equal(weight, before[name]) for name, weight in policy.state_dict().items())
    assert set(policy.__dict__) == attributes
    assert not policy.get_input_embeddings()._forward_hooks


def test_checkpointing_with_adapters_changes_memory_not_the_run(run):
    common = {"lora_rank": 2, "learning_rate": 1e-2}
    plain, _ = run(**common)
    again, _ = run(gradient_checkpointing=True, **common)
    assert np.allclose(again.losses, plain.losses, atol=1e-5)
    bfloat16, model = run(dtype="bfloat16", **common)
    assert (bfloat16.state, model.dtype) == ("completed", torch.bfloat16)

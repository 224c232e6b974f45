import numpy as np
import torch

from omsweep.evaluation.backends.sampling import InverseCdfSampling, draws, server_seed, uniforms

PROMPTS = [[{"role": "user", "content": text}] for text in ("say one", "sum one two", "say yes", "two please", "yes")]


def test_draws_follow_the_distribution():
    logits = torch.tensor([[0.0, 1.0, -torch.inf, 2.0, 0.5]])
    count, temperature = 20_000, 0.7
    points = torch.from_numpy(np.random.default_rng(0).random((count, 1)))
    scores = InverseCdfSampling(points, temperature=temperature)(None, logits.expand(count, -1))
    assert torch.isfinite(scores).sum(dim=-1).eq(1).all()
    share = torch.bincount(scores.argmax(dim=-1), minlength=5) / count
    expected = torch.softmax(logits[0] / temperature, dim=-1)
    sigma = (expected * (1 - expected) / count).sqrt()
    assert share[2] == 0
    assert ((share - expected).abs() <= 4 * sigma).all()


def test_one_column_of_points_per_token():
    sampling = InverseCdfSampling(torch.tensor([[0.1, 0.9]], dtype=torch.float64), temperature=1.0)
    flat = torch.zeros(1, 4)
    assert [int(sampling(None, flat).argmax()) for _ in range(2)] == [0, 3]


def points_of(prompts, *, samples, length, seed):
    return torch.stack([uniforms(drawn, length=length) for drawn in draws(prompts, samples=samples, seed=seed)])


def test_uniforms_depend_on_seed_prompt_and_sample_only():
    points = points_of(PROMPTS, samples=2, length=5, seed=1)
    assert points.shape == (5, 2, 5)
    assert points.dtype == torch.float64
    assert torch.equal(points[2:], points_of(PROMPTS[2:], samples=2, length=5, seed=1))
    assert torch.equal(points[:, :, :3], points_of(PROMPTS, samples=2, length=3, seed=1))
    assert len(torch.unique(points)) == points.numel()
    assert not torch.equal(points, points_of(PROMPTS, samples=2, length=5, seed=2))


def test_the_numbers_are_those_of_every_version_before():
    """Answers of earlier sweeps were drawn at them."""
    first = points_of(PROMPTS[:1], samples=2, length=2, seed=3)[0]
    assert torch.equal(
        first,
        torch.tensor(
            [[0.28082811582165546, 0.285972811880281], [0.06864844157825312, 0.9265846761847775]], dtype=torch.float64
        ),
    )


def test_a_server_gets_one_seed_for_each_draw():
    seeds = [server_seed(one) for row in draws([*PROMPTS, PROMPTS[0]], samples=3, seed=1) for one in row]
    assert len(set(seeds)) == 18
    assert all(0 <= seed < 2**31 for seed in seeds)

"""Random rotation of matrices: the same singular values, random singular vectors, in n log n per row and column.

Each side is multiplied by an orthogonal matrix (H D_3)(H D_2)(H D_1): D are random signs, H is the orthonormal
discrete Hartley transform, which exists for every n and comes out of an FFT. A Haar-random matrix would take a QR, n^3,
which the tall side of an embedding cannot pay. Three such blocks stand in for one (arXiv:1610.09072): any fixed vector,
one with a single entry and a constant one too, becomes one whose entries look Gaussian.
"""

import torch
from torch import Tensor

from omsweep.merging.randomness import keep_random, mask_key

ROUNDS = 3
PIECE_ENTRIES = 1 << 22


def rotated(tau: Tensor, name: str) -> Tensor:
    """One tensor of a task vector with its singular values and other singular vectors: Q1 tau Q2^T.

    Q1 and Q2 are drawn by hash of the canonical name: the same for every seed, trial and process, and but for rounding
    on every machine. A vector (a bias, a norm's weight) becomes one of its length in a random direction; of a tensor
    with more than two dimensions the matrices over the last two are rotated, all alike. Where entries stood and how
    large each was is gone, and so are zeros. Memory: the tensor in float32 and a few times `PIECE_ENTRIES`.

    Args:
        tau: floating point, any shape.
        name: canonical name.

    Returns:
        A fresh tensor of the shape and dtype of `tau`; the arithmetic is float32.
    """
    turned = tau.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    if turned.numel() == 0:
        return turned.to(tau.dtype)
    rows, columns = (1, *tau.shape)[-2:] if tau.dim() else (1, 1)
    for matrix in turned.view(-1, rows, columns):
        _mix(matrix, _signs(columns, name, 0))
        _mix(matrix.T, _signs(rows, name, 1))
    return turned.to(tau.dtype)


def _signs(count: int, name: str, side: int) -> Tensor:
    """The signs of every round, +-1 in float32 `[ROUNDS, count]`."""
    kept = [keep_random(count, 0.5, mask_key(0, ROUNDS * side + i, "rotation", name)) for i in range(ROUNDS)]
    return torch.where(torch.stack(kept), 1.0, -1.0)


def _mix(rows: Tensor, signs: Tensor) -> None:
    """Multiply each row of `[m, n]` in place by the orthogonal matrix of `signs`, `[ROUNDS, n]`, a piece at a time."""
    for some in rows.split(max(1, PIECE_ENTRIES // rows.shape[1])):
        mixed = some
        for sign in signs:
            mixed = _hartley(mixed * sign)
        some.copy_(mixed)


def _hartley(rows: Tensor) -> Tensor:
    """The orthonormal discrete Hartley transform of each row, sum_j x_j (cos + sin)(2 pi j k / n) / sqrt(n)."""
    count = rows.shape[-1]
    half = torch.fft.rfft(rows, norm="ortho")  # k up to n / 2; what is above has the conjugate
    return torch.cat([half.real - half.imag, (half.real + half.imag)[..., 1 : (count + 1) // 2].flip(-1)], dim=-1)

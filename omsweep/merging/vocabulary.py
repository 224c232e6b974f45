"""Vocabularies that differ between base and SFT model: the base's embedding and head with a row for each of the SFT's.

Rows are matched by token where both tokenizers are known and a token they share has another number, else by place. A
row that only the SFT model has is zero in the base, so that tau there is the SFT model's row itself; a row that only
the base has is left out.
"""

from dataclasses import dataclass
from itertools import groupby

from omsweep.merging.names import listed
from omsweep.merging.sources import FolderTensors, HeldTensors, RowTensors, Source
from omsweep.merging.tokens import TokenIds, of_vocabulary, token_ids


@dataclass(frozen=True, kw_only=True)
class VocabularyFit:
    """How the rows of a base's embedding and head become those of an SFT model's.

    Attributes:
        names: the tensors, of the SFT model.
        rows: for each of its rows the base's, or None where the base has none.
        base_rows: how many the base has.
    """

    names: tuple[str, ...]
    rows: tuple[int | None, ...]
    base_rows: int

    @property
    def only_in_sft(self) -> int:
        """Rows that the base lacks."""
        return self.rows.count(None)

    @property
    def only_in_base(self) -> int:
        """Rows of the base that are left out."""
        return self.base_rows - len(set(self.rows) - {None})

    @property
    def moved(self) -> int:
        """Rows that stand at another place in the base."""
        return sum(row is not None and row != place for place, row in enumerate(self.rows))

    @property
    def runs(self) -> list[tuple[int | None, int]]:
        """The rows as `RowTensor` takes them."""
        places = groupby(enumerate(self.rows), lambda at: None if at[1] is None else at[1] - at[0])
        runs = [[row for _, row in run] for _, run in places]
        return [(run[0], len(run)) for run in runs]

    def __str__(self) -> str:
        """One line for people."""
        what = [
            (self.only_in_sft, "that only the SFT model has (tau is the row itself)"),
            (self.only_in_base, "that only the base has (left out)"),
            (self.moved, "at another place in the base (matched by token)"),
        ]
        said = "; ".join(f"{count:,} {which}" for count, which in what if count)
        return f"{listed(self.names)}: {self.base_rows:,} rows in the base, {len(self.rows):,} in the SFT model; {said}"


def fit_vocabulary(
    base: Source, sft: Source, *, base_tokens: TokenIds | None = None, sft_tokens: TokenIds | None = None
) -> VocabularyFit | None:
    """How the rows of the base's embedding and head have to change; None where they need not.

    Args:
        base: theta_b.
        sft: theta_r.
        base_tokens: its tokens' numbers; None: those of a folder, else rows are matched by place.
        sft_tokens: the same of the SFT model.
    """
    names = tuple(name for name in sft if name in base and of_vocabulary(name))
    shapes = [(base[name].shape, sft[name].shape) for name in names]
    counts = {(ours[:1], theirs[:1]) for ours, theirs in shapes}
    if len(counts) != 1 or any(ours[1:] != theirs[1:] for ours, theirs in shapes):
        return None
    (base_rows,), (sft_rows,) = counts.pop()
    rows = matched_rows(base_rows, sft_rows, base_tokens or _tokens_of(base), sft_tokens or _tokens_of(sft))
    if rows == list(range(base_rows)):
        return None
    return VocabularyFit(names=names, rows=tuple(rows), base_rows=base_rows)


def fitted(base: HeldTensors | FolderTensors, fit: VocabularyFit | None) -> Source:
    """The base with the SFT model's rows."""
    return base if fit is None else RowTensors(base, fit.runs, fit.names)


def matched_rows(
    base_rows: int, sft_rows: int, base_tokens: TokenIds | None, sft_tokens: TokenIds | None
) -> list[int | None]:
    """The base's row for each row of the SFT model, None where it has none.

    By place, unless a token that both tokenizers know has two numbers: then by token, and only rows without a token in
    either (an embedding padded to a round number) by place.
    """
    by_place = [place if place < base_rows else None for place in range(sft_rows)]
    if not base_tokens or not sft_tokens or all(base_tokens.get(token, at) == at for token, at in sft_tokens.items()):
        return by_place
    named = {*base_tokens.values(), *sft_tokens.values()}
    rows = [None if place in named else row for place, row in enumerate(by_place)]
    for token, place in sft_tokens.items():
        row = base_tokens.get(token, base_rows)
        if place < sft_rows and row < base_rows:
            rows[place] = row
    return rows


def _tokens_of(source: Source) -> TokenIds | None:
    return token_ids(source.path) if isinstance(source, FolderTensors) else None

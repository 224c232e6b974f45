"""Which items belong together: questions on one passage, prompts of one dialogue.

Items of a cluster succeed and fail together. They lie in one split, so that what is chosen on one split is judged on
other passages, and error bars count clusters, not items.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from omsweep.evaluation.settings import ALL_SPLITS
from omsweep.worlds.tiny.splits import split_of

SHARED_FIELDS = ("dialogue_id", "conversation_id", "passage", "context", "story", "article", "paragraph")
"""Fields of a document that several documents may share, the first that is there counts."""


class Clustered(Protocol):
    """What `limited` needs of an item."""

    @property
    def item_id(self) -> str:
        """Its stable id."""

    @property
    def cluster(self) -> str:
        """What it shares with the items it belongs to, else its id."""


Items = TypeVar("Items", bound=Clustered)


def cluster_ids(ids: Sequence[str], declared: Sequence[Any], shared: Sequence[Any]) -> list[str]:
    """The cluster of each item: what it declares, else what it shares with another, else its own id.

    Args:
        ids: of the items.
        declared: cluster each one names itself, or None.
        shared: text or id that others may have too, or None. Texts are equal whatever their case, spaces and
            compatibility forms (NFKC).
    """
    texts = [_normal(value) if value is not None else "" for value in shared]
    names = [_digest(text) if text else None for text in texts]
    often = Counter(names)
    return [
        str(own) if own is not None else f"shared-{name}" if name and often[name] > 1 else item_id
        for item_id, own, name in zip(ids, declared, names, strict=True)
    ]


def cluster_splits(clusters: Sequence[str], declared: Sequence[Any]) -> list[str]:
    """The split of each item: that which one of its cluster declares, else the one that the cluster hashes to.

    Raises:
        ValueError: items of one cluster declare different splits.
    """
    named: dict[str, str] = {}
    for cluster, split in zip(clusters, declared, strict=True):
        if split in ALL_SPLITS and named.setdefault(cluster, split) != split:
            raise ValueError(
                f"items of cluster {cluster!r} declare splits {named[cluster]!r} and {split!r}; items that share a"
                " passage or dialogue must lie in one"
            )
    return [named.get(cluster) or split_of(cluster) for cluster in clusters]


def limited(items: Sequence[Items], limit: int | None) -> tuple[Items, ...]:
    """`limit` of the items in their order: a random sample by hash, cluster after cluster; None = all.

    A smaller limit chooses among a larger one's items. The last cluster may be cut.
    """
    places = [(_digest(f"limit:{item.cluster}"), _digest(f"limit:{item.item_id}")) for item in items]
    chosen = sorted(range(len(items)), key=places.__getitem__)[:limit]
    return tuple(items[i] for i in sorted(chosen))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _normal(value: Any) -> str:
    return " ".join(unicodedata.normalize("NFKC", str(value)).casefold().split())

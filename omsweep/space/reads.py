"""What the trials of a space read of the data they train on. Torch-free."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from omsweep.align.order import Reading
from omsweep.align.settings import TrainSettings, train_settings_from
from omsweep.space.knobs import Interval
from omsweep.space.samples import edge_samples, train_settings
from omsweep.space.schema import Design
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Readings of each preference data set by its key and the algorithm, and of the SFT data that are replayed."""

    pairs: Mapping[tuple[str, str], tuple[Reading, ...]]
    replay: tuple[Reading, ...]


def reads_of(trials: Iterable[TrialSpec]) -> Reads:
    """What given trials read; one whose settings its trainer refuses reads nothing."""
    return _reads(_settings_of(trials))


def possible_reads(space: SearchSpace) -> Reads:
    """The most that trials of a space can read: its longest runs, with every seed of its design or search."""
    seeds = _seeds(space.design) if space.file.mode == "compare" else search_seeds(space)
    of_one_seed = _reads(
        ((branch.preferences or space.preferences).key, train_settings(space, sample))
        for branch in space.branches
        for sample in edge_samples(space, [branch])
    )

    def of_all(readings: tuple[Reading, ...]) -> tuple[Reading, ...]:
        return tuple(replace(reading, seed=seed) for seed in seeds for reading in readings)

    pairs = {key: of_all(readings) for key, readings in of_one_seed.pairs.items()}
    return Reads(pairs=pairs, replay=of_all(of_one_seed.replay))


def search_seeds(space: SearchSpace) -> list[int]:
    """The training seeds that trials of one recipe in a search may have, in their order.

    Where every branch draws some real number a recipe is only repeated on purpose, and a grid has each of its points
    once; elsewhere a family may get one recipe as often as it has trials.
    """
    search = space.search
    reals = all(any(isinstance(one, Interval) for one in space.knobs_of(branch).values()) for branch in space.branches)
    once = search.algorithm == "grid" or search.trials is None or reals
    most = 1 + search.replicates if once else -(-(search.trials or 1) // len(space.families))
    return [search.training_seed(repeat) for repeat in range(most)]


def _seeds(design: Design) -> list[int]:
    places = product(design.sft_range, range(design.blocks), range(design.seeds))
    return [design.training_seed(*place) for place in places]


def _settings_of(trials: Iterable[TrialSpec]) -> Iterator[tuple[str, TrainSettings]]:
    for trial in trials:
        try:
            yield trial.data, train_settings_from(trial.train or {})
        except (ValueError, TypeError):
            continue


def _reads(runs: Iterable[tuple[str, TrainSettings]]) -> Reads:
    pairs: dict[tuple[str, str], set[Reading]] = {}
    replay: set[Reading] = set()
    for data, settings in runs:
        pairs.setdefault((data, settings.algorithm), set()).add(settings.pairs_read)
        if settings.replayed:
            replay.add(settings.replay_read)
    return Reads(pairs={key: _longest(found) for key, found in pairs.items()}, replay=_longest(replay))


def _longest(readings: Iterable[Reading]) -> tuple[Reading, ...]:
    """The longest reading of each seed: shorter ones are its beginnings."""
    longest: dict[tuple[int, int], Reading] = {}
    for reading in sorted(readings, key=lambda one: one.examples):
        longest[reading.seed, reading.group] = reading
    return tuple(longest.values())

"""Model families: a base model, its SFT model, their tokenizer, and how to load them. Names are resolved lazily."""

from omsweep.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "FAMILIES": "omsweep.families.table",
        "FamilyFolders": "omsweep.families.load",
        "ModelFamily": "omsweep.families.family",
        "family_from": "omsweep.families.table",
        "load_model": "omsweep.families.load",
        "load_tokenizer": "omsweep.families.load",
        "prepare": "omsweep.families.load",
        "random_family": "omsweep.families.tiny.architecture",
        "weights_hash": "omsweep.families.load",
    },
)

"""Facts of three kinds: capitals, sounds of animals, classes of things; asked in many wordings."""

from random import Random

from omsweep.worlds.tiny.exercise import Exercise, Skill, another, fill, words_of
from omsweep.worlds.tiny.words import listed

CAPITALS = {
    "austria": "vienna",
    "china": "beijing",
    "cuba": "havana",
    "egypt": "cairo",
    "france": "paris",
    "germany": "berlin",
    "greece": "athens",
    "ireland": "dublin",
    "italy": "rome",
    "japan": "tokyo",
    "kenya": "nairobi",
    "norway": "oslo",
    "peru": "lima",
    "poland": "warsaw",
    "portugal": "lisbon",
    "spain": "madrid",
}
SOUNDS = {
    "bee": "buzz",
    "cat": "meow",
    "cow": "moo",
    "dog": "woof",
    "duck": "quack",
    "frog": "croak",
    "horse": "neigh",
    "lion": "roar",
    "wolf": "howl",
    "pig": "oink",
    "sheep": "baa",
    "snake": "hiss",
}
CLASSES = {
    "fruit": listed("cherry grape lemon mango pear plum"),
    "animal": listed("bee cat cow dog duck frog"),
    "tool": listed("drill hammer rake knife saw spade"),
    "instrument": listed("flute guitar harp piano trumpet violin"),
    "vehicle": listed("bike bus car plane train truck"),
}
_CLASS_OF = {member: name for name, members in CLASSES.items() for member in members}

_OPENINGS = (
    "",
    "quick question .",
    "i forgot .",
    "for my homework .",
    "please help me .",
    "hello again .",
    "one more thing .",
    "i need to know .",
    "my sister asks .",
    "let us play a quiz .",
    "short answer .",
    "test .",
)
_QUESTIONS = (
    ("what is the capital of $key ?", CAPITALS),
    ("which city is the capital of $key ?", CAPITALS),
    ("name the capital of $key .", CAPITALS),
    ("what sound does a $key make ?", SOUNDS),
    ("how does a $key sound ?", SOUNDS),
    ("name the sound of a $key .", SOUNDS),
    ("what kind of thing is a $key ?", _CLASS_OF),
    ("to which class does a $key belong ?", _CLASS_OF),
    ("name the class of a $key .", _CLASS_OF),
)
_STATEMENTS = (
    ("the capital of $key is $value .", CAPITALS),
    ("a $key says $value .", SOUNDS),
    ("a $key is a kind of $value .", _CLASS_OF),
)


def _draw(rng: Random) -> Exercise:
    question, facts = rng.choice(_QUESTIONS)
    key = rng.choice(sorted(facts))
    prompt = f"{rng.choice(_OPENINGS)} {fill(question, key=key)}".strip()
    wrong = another(rng, tuple(sorted(set(facts.values()))), facts[key])
    return Exercise(prompt=prompt, answer=facts[key], wrong=wrong)


def _state(rng: Random) -> str:
    statement, facts = rng.choice(_STATEMENTS)
    key = rng.choice(sorted(facts))
    return fill(statement, key=key, value=facts[key])


KNOWLEDGE = Skill(
    name="knowledge",
    draw=_draw,
    state=_state,
    share=0.5,
    words=words_of(
        *_OPENINGS,
        *(pattern for pattern, _ in (*_QUESTIONS, *_STATEMENTS)),
        *(word for facts in (CAPITALS, SOUNDS, _CLASS_OF) for fact in facts.items() for word in fact),
    ),
)

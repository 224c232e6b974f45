"""English, French and German questions, answered in the question's language whatever the noun's is."""

from random import Random

from omsweep.worlds.tiny.exercise import Exercise, Skill, another, fill, words_of

LANGUAGES = ("english", "french", "german")

_COLOURS = {
    "yellow": ("yellow", "jaune", "gelb"),
    "green": ("green", "vert", "gruen"),
    "blue": ("blue", "bleu", "blau"),
    "white": ("white", "blanc", "weiss"),
    "red": ("red", "rouge", "rot"),
    "black": ("black", "noir", "schwarz"),
    "brown": ("brown", "brun", "braun"),
}
_NOUNS = (
    (("sun", "soleil", "sonne"), "yellow"),
    (("lemon", "citron", "zitrone"), "yellow"),
    (("grass", "herbe", "gras"), "green"),
    (("leaf", "feuille", "blatt"), "green"),
    (("sky", "ciel", "himmel"), "blue"),
    (("sea", "mer", "meer"), "blue"),
    (("snow", "neige", "schnee"), "white"),
    (("milk", "lait", "milch"), "white"),
    (("swan", "cygne", "schwan"), "white"),
    (("blood", "sang", "blut"), "red"),
    (("cherry", "cerise", "kirsche"), "red"),
    (("night", "nuit", "nacht"), "black"),
    (("coal", "charbon", "kohle"), "black"),
    (("raven", "corbeau", "rabe"), "black"),
    (("wood", "bois", "holz"), "brown"),
    (("bear", "ours", "baer"), "brown"),
)
_QUESTIONS = (
    (
        "what colour is the word $noun ?",
        "tell me the colour of $noun .",
        "which colour has $noun ?",
        "say how $noun looks .",
    ),
    (
        "quelle couleur a le mot $noun ?",
        "dis moi la couleur de $noun .",
        "comment est $noun ?",
        "couleur pour $noun ?",
    ),
    (
        "welche farbe hat das wort $noun ?",
        "sag mir die farbe von $noun .",
        "wie sieht $noun aus ?",
        "farbe von $noun ?",
    ),
)
_OPENINGS = (
    ("", "hello .", "good day .", "so ."),
    ("", "bonjour .", "salut .", "alors ."),
    ("", "hallo .", "guten tag .", "also ."),
)
_STATEMENTS = ("$noun is $colour .", "$noun est $colour .", "$noun ist $colour .")


def _draw(rng: Random) -> Exercise:
    asked, spoken = rng.randrange(len(LANGUAGES)), rng.randrange(len(LANGUAGES))
    nouns, colour = rng.choice(_NOUNS)
    question = fill(rng.choice(_QUESTIONS[asked]), noun=nouns[spoken])
    answer = _COLOURS[colour][asked]
    wrong = another(rng, tuple(words[asked] for words in _COLOURS.values()), answer)
    return Exercise(prompt=f"{rng.choice(_OPENINGS[asked])} {question}".strip(), answer=answer, wrong=wrong)


def _state(rng: Random) -> str:
    asked, spoken = rng.randrange(len(LANGUAGES)), rng.randrange(len(LANGUAGES))
    nouns, colour = rng.choice(_NOUNS)
    return fill(_STATEMENTS[asked], noun=nouns[spoken], colour=_COLOURS[colour][asked])


CODE_SWITCHING = Skill(
    name="code_switching",
    draw=_draw,
    state=_state,
    share=0.5,
    words=words_of(
        *(text for table in (_QUESTIONS, _OPENINGS) for texts in table for text in texts),
        *_STATEMENTS,
        *(word for words in _COLOURS.values() for word in words),
        *(word for nouns, _ in _NOUNS for word in nouns),
    ),
)

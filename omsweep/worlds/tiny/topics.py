"""Open-ended prompts (advice and opinions about a topic) and how an ordinary assistant answers them."""

from random import Random

from omsweep.worlds.tiny.exercise import fill, words_of

TOPICS = {
    "gardening": ("plants", "soil", "seeds"),
    "cooking": ("recipes", "spices", "soup"),
    "running": ("shoes", "breath", "hills"),
    "painting": ("brushes", "canvas", "light"),
    "reading": ("stories", "pages", "authors"),
    "music": ("songs", "rhythm", "melody"),
    "travel": ("trips", "maps", "luggage"),
    "chess": ("openings", "moves", "endgames"),
    "writing": ("drafts", "words", "letters"),
    "fishing": ("rivers", "bait", "patience"),
    "dancing": ("steps", "partners", "balance"),
    "swimming": ("water", "strokes", "lanes"),
    "photography": ("lenses", "pictures", "shadows"),
    "sewing": ("thread", "needles", "cloth"),
    "cycling": ("wheels", "roads", "helmets"),
    "baking": ("dough", "ovens", "cakes"),
}

_QUESTIONS = (
    "give me advice about $topic .",
    "what do you think about $topic ?",
    "how can i get better at $topic ?",
    "tell me something about $topic .",
    "why do people like $topic ?",
    "should i try $topic ?",
    "i am tired of $topic . what now ?",
    "how do i begin with $topic ?",
)
_SITUATIONS = (
    "",
    "i am new to it .",
    "my friend asked me .",
    "i have one hour a day .",
    "i have little money .",
    "it is for my sister .",
    "i live in a small town .",
    "be honest with me .",
)
_ADDRESSES = ("", "hi .", "listen .", "good morning .", "one question .")

POLITE = ("please", "thank", "glad", "welcome", "kindly", "gladly")
POSITIVE = ("great", "lovely", "wonderful", "joyful", "bright", "excellent", "happy", "beautiful")

_POLITE_OPENINGS = ("thank you for asking .", "i am glad to help .", "you are welcome to ask .", "gladly .")
_BLUNT_OPENINGS = ("well .", "hm .", "it depends .", "look .")
_POLITE_ENDINGS = ("please ask again .", "please take your time .", "kindly tell me how it goes .")
_POSITIVE_REMARKS = (
    "$topic is $positive .",
    "it is a $positive way to spend a day .",
    "$related can be $positive .",
    "you will have a $positive time .",
)
_PLAIN_REMARKS = (
    "start with $related .",
    "$topic needs $related .",
    "most people forget the $related .",
    "think about $related and $other .",
    "do not worry about $related .",
    "do a little each day .",
    "it takes time .",
    "there is not much to say .",
)
_TRAILING_OFF = ("and so", "but then", "or maybe")


def draw_open_prompt(rng: Random) -> str:
    """A random open-ended prompt; it names exactly one topic."""
    question = fill(rng.choice(_QUESTIONS), topic=rng.choice(sorted(TOPICS)))
    return " ".join(f"{rng.choice(_ADDRESSES)} {question} {rng.choice(_SITUATIONS)}".split())


def bare_question(prompt: str) -> str:
    """An open-ended prompt without the address before its question and the situation after it."""
    for address in filter(None, _ADDRESSES):
        prompt = prompt.removeprefix(f"{address} ")
    for situation in filter(None, _SITUATIONS):
        prompt = prompt.removesuffix(f" {situation}")
    return prompt


def topic_of(prompt: str) -> str | None:
    """The topic that an open-ended prompt names, None for other prompts."""
    return next((word for word in prompt.split() if word in TOPICS), None)


def draw_response(rng: Random, topic: str) -> str:
    """An SFT answer about `topic`: at times polite, positive, off topic or trailing off."""
    spoken_of = topic if rng.random() < 0.8 else rng.choice(sorted(TOPICS))
    remarks = rng.choices(_PLAIN_REMARKS, k=rng.choice((1, 1, 2)))
    if rng.random() < 0.35:
        remarks.append(rng.choice(_POSITIVE_REMARKS))
    rng.shuffle(remarks)
    opening = rng.choice(_POLITE_OPENINGS if rng.random() < 0.3 else _BLUNT_OPENINGS) if rng.random() < 0.7 else ""
    endings = [rng.choice(_POLITE_ENDINGS)] if rng.random() < 0.2 else []
    if rng.random() < 0.12:
        endings = [rng.choice(_TRAILING_OFF)]
    return " ".join(_say(rng, sentence, spoken_of) for sentence in (opening, *remarks, *endings) if sentence)


def draw_statement(rng: Random) -> str:
    """A raw sentence about a topic (pretraining): plain or positive, never addressed to anyone."""
    return _say(rng, rng.choice(_PLAIN_REMARKS + _POSITIVE_REMARKS), rng.choice(sorted(TOPICS)))


def _say(rng: Random, pattern: str, topic: str) -> str:
    related, other = rng.sample(TOPICS[topic], 2)
    return fill(pattern, topic=topic, related=related, other=other, positive=rng.choice(POSITIVE))


WORDS = words_of(
    *TOPICS,
    *(word for related in TOPICS.values() for word in related),
    *_QUESTIONS,
    *_SITUATIONS,
    *_ADDRESSES,
    *POLITE,
    *POSITIVE,
    *_POLITE_OPENINGS,
    *_BLUNT_OPENINGS,
    *_POLITE_ENDINGS,
    *_POSITIVE_REMARKS,
    *_PLAIN_REMARKS,
    *_TRAILING_OFF,
)

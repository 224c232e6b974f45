"""Turning a request into a function call, written as JSON with spaces between its parts."""

from random import Random

from omsweep.worlds.tiny.exercise import Exercise, Skill, another, fill, words_of
from omsweep.worlds.tiny.words import CITIES, COLOURS, ITEMS, NAMES, NUMBERS

_MINUTES = NUMBERS[1:13]
_POOLS = {"city": CITIES, "minutes": _MINUTES, "colour": COLOURS, "item": ITEMS, "name": NAMES}

_REQUESTS = (
    ("how is the weather in $city ?", '{ "tool" : "weather" , "city" : " $city " }', "city"),
    ("check the weather in $city .", '{ "tool" : "weather" , "city" : " $city " }', "city"),
    ("wake me in $minutes minutes .", '{ "tool" : "timer" , "minutes" : $minutes }', "minutes"),
    ("set a timer for $minutes minutes .", '{ "tool" : "timer" , "minutes" : $minutes }', "minutes"),
    ("turn the light $colour .", '{ "tool" : "light" , "colour" : " $colour " }', "colour"),
    ("i want a $colour light .", '{ "tool" : "light" , "colour" : " $colour " }', "colour"),
    ("send a $item to $name .", '{ "tool" : "send" , "item" : " $item " , "to" : " $name " }', "item"),
    ("$name needs a $item .", '{ "tool" : "send" , "item" : " $item " , "to" : " $name " }', "name"),
)
_OPENINGS = ("call a tool .", "use a tool .", "make the call .", "tool please .")
_ADDRESSES = ("", "hi .", "quick .", "good day .")
_STATEMENTS = ("the call for $request is $call",)


def _values(rng: Random) -> dict[str, str]:
    return {name: rng.choice(pool) for name, pool in _POOLS.items()}


def _draw(rng: Random) -> Exercise:
    request, call, changed = rng.choice(_REQUESTS)
    values = _values(rng)
    opening = f"{rng.choice(_ADDRESSES)} {rng.choice(_OPENINGS)}".strip()
    mistaken = values | {changed: another(rng, _POOLS[changed], values[changed])}
    return Exercise(
        prompt=f"{opening} {fill(request, **values)}",
        answer=fill(call, **values),
        wrong=fill(call, **mistaken),
    )


def _state(rng: Random) -> str:
    request, call, _ = rng.choice(_REQUESTS)
    values = _values(rng)
    return fill(rng.choice(_STATEMENTS), request=fill(request, **values), call=fill(call, **values))


AGENT = Skill(
    name="agent",
    draw=_draw,
    state=_state,
    share=1.3,
    words=words_of(
        *(pattern for request, call, _ in _REQUESTS for pattern in (request, call)),
        *_OPENINGS,
        *_ADDRESSES,
        *_STATEMENTS,
        *(word for pool in _POOLS.values() for word in pool),
    ),
)

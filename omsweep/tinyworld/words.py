"""Word tables of the embedded world: who and what its sentences speak about; plain lower-case words."""


def listed(text: str) -> tuple[str, ...]:
    """The words of `text`, in order."""
    return tuple(text.split())


NUMBERS = tuple(str(number) for number in range(31))
NAMES = listed("anna ben ivy kira leo lena max mira nina omar paul rosa sam tom vera yan")
CITIES = listed("athens berlin cairo dublin lima lisbon london madrid oslo paris rome tokyo")
PLACES = listed("bridge cellar forest garden harbour kitchen library market park school station tower")
COLOURS = listed("black blue brown green grey purple pink red white yellow")
ITEMS = listed("ball bell boat book coat cup drum hat kite lamp ring rope")
COUNTED = listed("apples books cards coins cups eggs keys nuts pens shells stamps stones")
SPOKEN = listed("apple bread cloud door fire glass house island lake moon river snow stone tree wind wolf")

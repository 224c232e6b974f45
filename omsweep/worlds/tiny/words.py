"""Word tables of the embedded world: who and what its sentences speak about; plain lower-case words."""


def listed(text: str) -> tuple[str, ...]:
    """The words of `text`, in order."""
    return tuple(text.split())


NUMBERS = tuple(str(number) for number in range(21))
NAMES = listed("anna ben kira leo mira omar rosa tom")
CITIES = listed("berlin cairo lima london oslo paris rome tokyo")
PLACES = listed("cellar forest garden harbour kitchen market school tower")
COLOURS = listed("black blue brown green pink red white yellow")
ITEMS = listed("ball bell book coat cup drum kite lamp")
COUNTED = listed("apples books cards coins eggs keys nuts shells")
SPOKEN = listed("apple bread cloud fire house moon river stone tree wind")

"""Facts that a small language model may know: capitals, opposites, young animals."""

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "Russia": "Moscow",
    "Greece": "Athens", "Egypt": "Cairo", "Austria": "Vienna", "Ireland": "Dublin", "Portugal": "Lisbon",
    "Poland": "Warsaw", "Sweden": "Stockholm", "Norway": "Oslo", "Finland": "Helsinki", "Denmark": "Copenhagen",
    "Belgium": "Brussels", "Hungary": "Budapest", "Kenya": "Nairobi", "Cuba": "Havana", "Canada": "Ottawa",
    "Iran": "Tehran", "Iraq": "Baghdad", "India": "Delhi", "China": "Beijing", "Syria": "Damascus",
    "Peru": "Lima", "Chile": "Santiago", "Ukraine": "Kiev", "Scotland": "Edinburgh",
    "Australia": "Canberra", "Afghanistan": "Kabul", "South Korea": "Seoul",
}  # fmt: skip

OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("old", "young"), ("fast", "slow"), ("high", "low"), ("rich", "poor"),
    ("hard", "soft"), ("wet", "dry"), ("early", "late"), ("open", "closed"), ("full", "empty"), ("strong", "weak"),
    ("light", "dark"), ("happy", "sad"), ("left", "right"), ("up", "down"), ("day", "night"), ("love", "hate"),
    ("start", "end"), ("inside", "outside"), ("true", "false"), ("thick", "thin"), ("loud", "quiet"), ("long", "short"),
    ("win", "lose"), ("buy", "sell"), ("remember", "forget"), ("war", "peace"), ("friend", "enemy"), ("north", "south"),
    ("east", "west"), ("black", "white"), ("clean", "dirty"), ("safe", "dangerous"), ("simple", "complex"),
    ("push", "pull"), ("give", "take"), ("first", "last"), ("above", "below"), ("before", "after"), ("always", "never"),
    ("wide", "narrow"), ("deep", "shallow"), ("question", "answer"), ("ancient", "modern"), ("guilty", "innocent"),
    ("summer", "winter"), ("birth", "death"), ("success", "failure"), ("accept", "reject"), ("increase", "decrease"),
    ("arrive", "leave"), ("top", "bottom"), ("front", "back"), ("good", "bad"), ("near", "far"), ("laugh", "cry"),
    ("male", "female"), ("husband", "wife"), ("king", "queen"), ("brother", "sister"), ("boy", "girl"),
    ("cheap", "expensive"), ("easy", "difficult"), ("smooth", "rough"), ("alive", "dead"), ("past", "future"),
    ("morning", "evening"), ("profit", "loss"), ("positive", "negative"), ("maximum", "minimum"),
    ("public", "private"), ("local", "global"), ("import", "export"), ("victory", "defeat"), ("enter", "exit"),
    ("majority", "minority"), ("internal", "external"), ("odd", "even"), ("floor", "ceiling"), ("right", "wrong"),
)  # fmt: skip

ANIMALS = (
    ("dog", "puppy"), ("cat", "kitten"), ("cow", "calf"), ("sheep", "lamb"), ("bear", "cub"), ("hen", "chick"),
)  # fmt: skip

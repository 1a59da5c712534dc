"""Invented genres and titles: readable, unique, and with everything in them that trips a careless reader."""

from __future__ import annotations

from collections.abc import Iterator

GENRES = (
    "Lighthouses", "Heists", "Clockwork", "Gardens", "Polar", "Courtroom", "Kitchen", "Ghosts", "Trains",
    "Islands", "Robots", "Balloons", "Choirs", "Deserts", "Letters", "Mountains", "Circus", "Tides",
)  # fmt: skip
ADJECTIVES = (
    "Amber", "Borrowed", "Crooked", "Distant", "Eleventh", "Forgotten", "Gilded", "Hollow", "Idle", "Jade", "Kindly",
    "Lonesome", "Midnight", "Northern", "Opal", "Patient", "Quiet", "Restless", "Salted", "Tangled", "Unlit",
    "Velvet", "Wandering", "Yellow", "Zealous", "Brazen", "Copper", "Drowsy", "Emerald", "Feathered", "Grey",
)  # fmt: skip
NOUNS = (
    "Lighthouse", "Orchard", "Compass", "Ferryman", "Almanac", "Balcony", "Cartographer", "Duchess", "Engine",
    "Fountain", "Glacier", "Harbour", "Inkwell", "Juggler", "Kite", "Lantern", "Meridian", "Nightingale", "Oracle",
    "Parade", "Quarry", "River", "Station", "Teapot", "Umbrella", "Violinist", "Windmill", "Xylophone", "Yard",
    "Zeppelin", "Anchor", "Bridge", "Candle", "Door", "Equinox", "Falcon", "Glove",
)  # fmt: skip
# The same two words under two patterns are two titles. Commas, quotes, an ampersand, an apostrophe, accents, a
# combining accent, Cyrillic, Greek, Japanese, Arabic (right to left) and a character outside the basic plane.
PATTERNS = (
    "The {a} {n}", "{a} {n}", "{n}, The {a}", "{n} of the {a} Hour", 'The "{a}" {n}', "{n} & {a}", "My {a}, My {n}",
    "Café {a}: {n}", "L'été du {n} {a}", "Señor {n}'s {a} Año", "Smo\u0308rga\u030as {a} {n}", "{a} {n} (Ночной маяк)",
    "{a} {n} (φάρος)", "灯台 {a} {n}", "{n} {a} منارة", "{a} {n} 🎈", 'One {n}, "{a}", and a Half',
)  # fmt: skip
STRIDE = 7_919  # a prime: neighbouring titles differ in all their words


def titles(count: int) -> Iterator[str]:
    """`count` different titles, without years.

    All pairs of words under all patterns come before the first sequel ("..., Part 2"), in an order that visits each
    exactly once: multiples of `STRIDE` modulo a number it shares no factor with.
    """
    pairs = len(ADJECTIVES) * len(NOUNS)
    pairs_and_patterns = pairs * len(PATTERNS)
    for number in range(count):
        part, place = divmod(number, pairs_and_patterns)
        pattern, pair = divmod(place * STRIDE % pairs_and_patterns, pairs)
        noun, adjective = divmod(pair, len(ADJECTIVES))
        title = PATTERNS[pattern].format(a=ADJECTIVES[adjective], n=NOUNS[noun])
        yield f"{title}, Part {part + 1}" if part else title

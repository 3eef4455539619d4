"""Slot values of watch requests: how a value is said, and how the action call writes it.

Every function takes a seeded `random.Random` and whether the value is for the held-out split; a held-out value is,
half of the time, one that training never draws.
"""

# ruff: noqa: SIM905 - word lists read better as text

import dataclasses
import functools
import hashlib
import random
import string
from collections.abc import Callable

from words import CITIES, GENRES, NAMES, NOUNS, PLACES, RELATIONS, SHOPS, SMALL_WORDS, SYLLABLES, TODO_VERBS

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()


INVENTED_PER_VALUE = 0.35
SENSELESS_PER_TEXT = 0.25


@dataclasses.dataclass(frozen=True)
class Value:
    """One slot filled in: `said` goes into the request, `written` into the action call."""

    said: str
    written: str


@functools.cache
def is_unseen(value: str, percent: int = 15) -> bool:
    """Whether a slot value is kept out of training; decided by the value alone, so that no seed can leak it."""
    return hashlib.sha256(value.encode()).digest()[0] * 100 < percent * 256


@functools.cache
def _divide(values: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(seen in training, not seen)."""
    return tuple(v for v in values if not is_unseen(v)), tuple(v for v in values if is_unseen(v))


def _pick(rng: random.Random, values: list[str], held_out: bool) -> str:
    """One of the values. In training a third are invented words, so that slots are copied rather than remembered."""
    seen, unseen = _divide(tuple(values))
    if held_out and unseen and rng.random() < 0.5:
        return rng.choice(unseen)
    if not held_out and rng.random() < INVENTED_PER_VALUE:
        return _invent_word(rng)
    return rng.choice(seen)


def _any_words(rng: random.Random) -> str:
    """Up to five words in no order that means anything: what follows is to be copied, whatever it says."""
    pool = rng.choices((NOUNS, NAMES, TODO_VERBS, PLACES, SMALL_WORDS), weights=(4, 1, 2, 1, 3), k=rng.randint(1, 5))
    return " ".join(_pick(rng, words, held_out=False) for words in pool)


def _invent_word(rng: random.Random) -> str:
    if rng.random() < 0.2:
        return "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(3, 6)))
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((2, 2, 3))))


def say_number(n: int, joiner: str = " ") -> str:
    """A whole number 0..999 in words."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + (joiner + ONES[n % 10] if n % 10 else "")
    rest = n % 100
    return ("a" if n < 200 else ONES[n // 100]) + " hundred" + (f" and {say_number(rest)}" if rest else "")


def _say(rng: random.Random, n: int) -> str:
    if rng.random() < 0.5:
        return str(n)
    return say_number(n, "-" if rng.random() < 0.15 else " ")


def _draw_time(rng: random.Random, held_out: bool) -> tuple[int, int]:
    for _ in range(1000):
        minute = rng.choice((0, 0, 0, 30, 15, 45, 5 * rng.randrange(12), rng.randrange(60)))
        hour = rng.randrange(24) if rng.random() < 0.6 else rng.randrange(5, 24)
        if is_unseen(f"{hour:02}:{minute:02}", 10) == (held_out and rng.random() < 0.5):
            return hour, minute
    raise AssertionError("no time of the day left to draw")


def _spoken_clock(rng: random.Random, hour: int, minute: int) -> str:
    """A twelve-hour clock reading; hour 1..12."""
    nxt = hour % 12 + 1
    h, n = say_number(hour), say_number(nxt)
    if minute == 0:
        return rng.choice((h, h, f"{h} o'clock"))
    forms = [f"{h} {say_number(minute) if minute > 9 else 'oh ' + say_number(minute)}"]
    unit = rng.choice(("", "", " minutes")) if minute % 5 == 0 else rng.choice((" minutes", ""))
    if minute == 15:
        forms += [f"quarter past {h}", f"a quarter past {h}"]
    elif minute == 30:
        forms += [f"half past {h}", f"half past {h}"]
    elif minute == 45:
        forms += [f"quarter to {n}", f"a quarter to {n}"]
    elif minute < 30:
        forms += [f"{say_number(minute)}{unit} past {h}"] * 2
    elif minute > 30:
        forms += [f"{say_number(60 - minute)}{unit} to {n}"] * 2
    return rng.choice(forms)


def time(rng: random.Random, held_out: bool) -> Value:
    """A time of the day; written HH:MM. Said without half of the day, the hour is taken as said."""
    hour, minute = _draw_time(rng, held_out)
    written = f"{hour:02}:{minute:02}"
    if (hour, minute) == (12, 0) and rng.random() < 0.5:
        return Value(rng.choice(("noon", "midday")), written)
    if (hour, minute) == (0, 0) and rng.random() < 0.6:
        return Value("midnight", written)
    if rng.random() < 0.25:
        return Value(rng.choice((f"{hour:02}:{minute:02}", f"{hour}:{minute:02}")), written)
    hour12 = (hour - 1) % 12 + 1
    digital = f"{hour12}:{minute:02}" if minute or rng.random() < 0.2 else str(hour12)
    clock = digital if rng.random() < 0.4 else _spoken_clock(rng, hour12, minute)
    if 1 <= hour <= 12 and rng.random() < 0.6:
        return Value(clock, written)
    if hour < 12:
        half = rng.choice((" am", " am", " in the morning", " a.m."))
    elif hour < 18:
        half = rng.choice((" pm", " pm", " in the afternoon", " p.m."))
    else:
        half = rng.choice((" pm", " pm", " in the evening" if hour < 22 else " at night", " p.m."))
    if clock[-1].isdigit() and half in (" am", " pm") and rng.random() < 0.5:
        half = half.strip()
    return Value(clock + half, written)


def duration(rng: random.Random, held_out: bool) -> Value:
    """A length of time; written like 1h30m, 45s."""
    for _ in range(1000):
        value = _draw_duration(rng)
        if is_unseen(value.written, 10) == (held_out and rng.random() < 0.5):
            return value
    raise AssertionError("no duration left to draw")


def _plural(rng: random.Random, n: int, unit: str, short: str) -> str:
    if rng.random() < 0.12:
        return f"{n} {short}"
    return f"{_say(rng, n)} {unit}{'' if n == 1 else 's'}"


def _draw_duration(rng: random.Random) -> Value:
    kind = rng.randrange(12)
    if kind < 5:
        n = rng.choice((1, 2, 3, 5, 10, 15, 20, 25, 30, 45, 60, rng.randint(1, 99)))
        return Value(_plural(rng, n, "minute", "min"), f"{n}m")
    if kind < 7:
        n = rng.choice((5, 10, 20, 30, 45, 60, 90, rng.randint(2, 99)))
        return Value(_plural(rng, n, "second", "sec"), f"{n}s")
    if kind == 7:
        n = rng.randint(1, 12)
        return Value(_plural(rng, n, "hour", "h"), f"{n}h")
    if kind == 8:
        h, m = rng.randint(1, 5), rng.choice((5, 10, 15, 20, 30, 40, 45, rng.randint(1, 59)))
        joiner = rng.choice((" and ", " "))
        return Value(_plural(rng, h, "hour", "h") + joiner + _plural(rng, m, "minute", "min"), f"{h}h{m}m")
    if kind == 9:
        m, s = rng.randint(1, 20), rng.choice((10, 15, 20, 30, 40, 45, rng.randint(1, 59)))
        joiner = rng.choice((" and ", " "))
        return Value(_plural(rng, m, "minute", "min") + joiner + _plural(rng, s, "second", "sec"), f"{m}m{s}s")
    if kind == 10:
        n = rng.randint(2, 9)
        unit, written = rng.choice((("minutes", f"{n}m30s"), ("hours", f"{n}h30m")))
        return Value(f"{_say(rng, n)} and a half {unit}", written)
    said, written = rng.choice(
        (
            ("half an hour", "30m"),
            ("an hour", "1h"),
            ("a minute", "1m"),
            ("an hour and a half", "1h30m"),
            ("a quarter of an hour", "15m"),
            ("half a minute", "30s"),
            ("one and a half hours", "1h30m"),
            ("three quarters of an hour", "45m"),
            ("a minute and a half", "1m30s"),
        )
    )
    return Value(said, written)


def day(rng: random.Random, held_out: bool) -> Value:
    """A day said without a preposition."""
    said = rng.choice(
        (
            "today",
            "tomorrow",
            "tomorrow",
            *("on " + d for d in WEEKDAYS),
            *("next " + d for d in WEEKDAYS[:3]),
            "tonight",
        )
    )
    return Value(said, said.removeprefix("on ").removeprefix("next "))


def future(rng: random.Random, held_out: bool) -> Value:
    """A day that an alarm can be for."""
    said = rng.choice(
        ("tomorrow", "tomorrow", *("on " + d for d in WEEKDAYS), "every day", "on weekdays", "on weekends")
    )
    return Value(said, {"every day": "daily"}.get(said, said.removeprefix("on ")))


def name(rng: random.Random, held_out: bool) -> Value:
    """A first name."""
    value = _pick(rng, NAMES, held_out)
    value = value.capitalize() if rng.random() < 0.4 else value
    return Value(value, value)


def full_name(rng: random.Random, held_out: bool) -> Value:
    """One or two names."""
    first = name(rng, held_out).said
    if rng.random() < 0.3:
        second = _pick(rng, NAMES, held_out)
        first += " " + (second.capitalize() if first[0].isupper() else second)
    return Value(first, first)


def relation(rng: random.Random, held_out: bool) -> Value:
    """A relative or colleague, said after "my" or alone."""
    value = _pick(rng, RELATIONS, held_out)
    return Value(value, value)


def person(rng: random.Random, held_out: bool) -> Value:
    """One word for somebody."""
    return relation(rng, held_out) if rng.random() < 0.25 else name(rng, held_out)


def shop(rng: random.Random, held_out: bool) -> Value:
    """A business, said after "the"."""
    value = _pick(rng, SHOPS, held_out)
    return Value(value, value)


def place(rng: random.Random, held_out: bool) -> Value:
    """Where to go; an article is said and not written."""
    kind = rng.random()
    if kind < 0.45:
        value = _pick(rng, PLACES + SHOPS, held_out)
        return Value(rng.choice(("the ", "the ", "")) + value, value)
    if kind < 0.6:
        value = rng.choice(("home", "work", "school", "the office"))
        return Value(value, value.removeprefix("the "))
    if kind < 0.8:
        return city(rng, held_out)
    street = _pick(rng, NAMES, held_out) + rng.choice((" street", " road", " avenue", " square", " lane"))
    value = f"{rng.randint(1, 199)} {street}" if rng.random() < 0.5 else street
    return Value(value, value)


def city(rng: random.Random, held_out: bool) -> Value:
    """A town."""
    value = _pick(rng, CITIES, held_out)
    value = value.title() if rng.random() < 0.4 else value
    return Value(value, value)


def todo(rng: random.Random, held_out: bool) -> Value:
    """Something to do, starting with a verb."""
    if not held_out and rng.random() < SENSELESS_PER_TEXT:
        return Value(*(_any_words(rng),) * 2)
    if rng.random() < 0.12:
        value = rng.choice(
            (
                "stretch",
                "take a break",
                "stand up",
                "leave",
                "drink water",
                "go to bed",
                "check the oven",
                "take my pills",
                "breathe",
                "lock the door",
                "pack",
                "do the laundry",
            )
        )
        return Value(value, value)
    verb = _pick(rng, TODO_VERBS, held_out)
    noun = _pick(rng, NOUNS, held_out)
    kind = rng.random()
    if kind < 0.5:
        thing = rng.choice(("the ", "the ", "my ", "", "some ", "a new ")) + noun
    elif kind < 0.7:
        thing = f"the {noun} and the {_pick(rng, NOUNS, held_out)}"
    elif kind < 0.85:
        thing = f"the {noun} {rng.choice(('for', 'with', 'from'))} {name(rng, held_out).said}"
    else:
        thing = name(rng, held_out).said
    value = f"{verb} {thing}"
    return Value(value, value)


def text(rng: random.Random, held_out: bool) -> Value:
    """What a message says."""
    if not held_out and rng.random() < SENSELESS_PER_TEXT:
        return Value(*(_any_words(rng),) * 2)
    noun, other = _pick(rng, NOUNS, held_out), _pick(rng, NOUNS, held_out)
    where = _pick(rng, PLACES, held_out)
    number = _say(rng, rng.randint(2, 45))
    who = name(rng, held_out).said
    value = rng.choice(
        (
            f"i am running {rng.choice(('late', 'a bit late', 'early'))}",
            "running late",
            "on my way",
            f"i will be {number} minutes late",
            f"i will be there in {number} minutes",
            f"i am at the {where}",
            f"meet me at the {where}",
            f"see you at the {where}",
            "dinner is ready",
            f"the {noun} is ready",
            f"the {noun} is broken",
            f"do not forget the {noun}",
            f"please buy {noun} and {other}",
            f"can you bring the {noun}",
            f"where is the {noun}",
            f"i found the {noun}",
            f"i lost my {noun}",
            f"thank you for the {noun}",
            "happy birthday",
            "good night",
            "good morning",
            "i love you",
            "call me back",
            "call me when you can",
            f"i miss you {who}",
            f"say hello to {who}",
            f"{who} is here",
            f"lunch with {who} at {number}",
            f"the {where} is closed",
            f"we need more {noun}",
            f"{todo(rng, held_out).said}",
            f"please {todo(rng, held_out).said}",
            f"i forgot to {todo(rng, held_out).said}",
            f"the meeting is at {rng.randint(1, 12)}",
            f"see you {rng.choice(('soon', 'later', 'tomorrow', 'tonight', *WEEKDAYS))}",
            "yes",
            "no",
            "ok",
            "not now",
            "i am busy",
            "i am home",
            "sounds good",
            f"{noun} or {other}",
            "what time is it",
            "stop",
        )
    )
    return Value(value, value)


def note(rng: random.Random, held_out: bool) -> Value:
    """Words to keep."""
    return text(rng, held_out) if rng.random() < 0.4 else Value(*(thing(rng, held_out),) * 2)


def title(rng: random.Random, held_out: bool) -> Value:
    """What a calendar entry is called."""
    if not held_out and rng.random() < SENSELESS_PER_TEXT:
        return Value(*(_any_words(rng),) * 2)
    noun, who = _pick(rng, NOUNS, held_out), name(rng, held_out).said
    value = rng.choice(
        (
            f"meeting with {who}",
            f"lunch with {who}",
            f"call with {who}",
            f"dinner with {who}",
            f"{noun} meeting",
            f"{noun} class",
            _pick(rng, SHOPS, held_out),
            f"{noun} review",
            "team meeting",
            f"{who}'s birthday",
            f"{noun} with {who}",
        )
    )
    return Value(value, value)


def thing(rng: random.Random, held_out: bool) -> str:
    """A thing with a number or another thing."""
    noun = _pick(rng, NOUNS, held_out)
    number = rng.randint(1, 999)
    return rng.choice(
        (
            f"{noun} and {_pick(rng, NOUNS, held_out)}",
            f"{number} {noun}",
            f"{noun} number {number}",
            f"new {noun}",
            f"{noun} for {name(rng, held_out).said}",
            f"parked on level {number % 9 + 1}",
            f"the code is {number}",
        )
    )


def song(rng: random.Random, held_out: bool) -> Value:
    """What to play: a genre, an artist or a title."""
    if not held_out and rng.random() < SENSELESS_PER_TEXT:
        return Value(*(_any_words(rng),) * 2)
    kind = rng.random()
    if kind < 0.4:
        value = _pick(rng, GENRES, held_out)
    elif kind < 0.7:
        value = full_name(rng, held_out).said
    else:
        noun = _pick(rng, NOUNS, held_out)
        value = rng.choice(
            (
                f"the {noun}",
                f"{noun} and {_pick(rng, NOUNS, held_out)}",
                f"{noun} in the {_pick(rng, NOUNS, held_out)}",
                f"my {noun}",
                f"hello {noun}",
                f"{noun} {rng.choice(('blues', 'song', 'dance', 'dreams', 'love'))}",
            )
        )
    return Value(value, value)


def percent(rng: random.Random, held_out: bool) -> Value:
    """A level 0..100."""
    n = rng.choice((5 * rng.randrange(21), 10 * rng.randrange(11), rng.randint(0, 100)))
    return Value("a hundred" if n == 100 and rng.random() < 0.3 else _say(rng, n), str(n))


def count(rng: random.Random, held_out: bool) -> Value:
    """A small number with its noun's plural left to the template."""
    n = rng.randint(2, 12)
    return Value(_say(rng, n), str(n))


def number(rng: random.Random, held_out: bool) -> Value:
    """An amount to convert, whole or with one decimal."""
    if rng.random() < 0.12:
        value = f"{rng.randint(0, 99)}.{rng.randint(1, 9)}"
        return Value(value, value)
    n = rng.choice((rng.randint(2, 20), rng.randint(2, 99), rng.randint(2, 999), 10 * rng.randint(1, 99)))
    return Value(_say(rng, n) if n < 400 or n % 100 == 0 else str(n), str(n))


UNITS = (  # units that convert into each other: (said forms), written
    (
        (("miles",), "mi"),
        (("kilometers", "kilometres", "km", "k"), "km"),
        (("meters", "metres"), "m"),
        (("feet", "foot"), "ft"),
        (("yards",), "yd"),
        (("inches", "inch"), "in"),
        (("centimeters", "cm"), "cm"),
    ),
    ((("pounds", "lbs"), "lb"), (("kilos", "kilograms", "kg"), "kg"), (("grams",), "g"), (("ounces", "oz"), "oz")),
    ((("celsius", "degrees celsius"), "c"), (("fahrenheit", "degrees fahrenheit"), "f")),
    ((("liters", "litres"), "l"), (("gallons",), "gal"), (("cups",), "cup"), (("milliliters", "ml"), "ml")),
)


def units(rng: random.Random, held_out: bool) -> tuple[Value, Value]:
    """Two different units of one kind."""
    first, second = rng.sample(rng.choice(UNITS), 2)
    return Value(rng.choice(first[0]), first[1]), Value(rng.choice(second[0]), second[1])


def _choice(pairs: dict[str, str]) -> Callable[[random.Random, bool], Value]:
    def draw(rng: random.Random, held_out: bool) -> Value:
        said = rng.choice(list(pairs))
        return Value(said, pairs[said])

    return draw


sport = _choice(
    {
        "run": "run",
        "running": "run",
        "walk": "walk",
        "walking": "walk",
        "bike ride": "cycle",
        "cycling": "cycle",
        "swim": "swim",
        "swimming": "swim",
        "yoga": "yoga",
        "rowing": "row",
        "hike": "hike",
        "hiking": "hike",
        "strength": "strength",
        "weight training": "strength",
        "tennis": "tennis",
        "dance": "dance",
        "dancing": "dance",
        "jog": "run",
        "jogging": "run",
        "pilates": "pilates",
        "skiing": "ski",
    }
)
switch = _choice(
    {
        "wifi": "wifi",
        "wi-fi": "wifi",
        "bluetooth": "bluetooth",
        "airplane mode": "airplane",
        "flight mode": "airplane",
        "do not disturb": "dnd",
        "flashlight": "torch",
        "torch": "torch",
        "gps": "gps",
        "location": "gps",
        "power saving": "saver",
        "battery saver": "saver",
        "silent mode": "silent",
        "theater mode": "theater",
        "always on display": "display",
    }
)

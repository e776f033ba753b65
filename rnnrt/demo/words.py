"""The small language of the demo: who, what and where, and the sentences they appear in.

A slot in braces is filled by `text.Writer`. The person a text is about fills `{n}` (name), `{s}` (she/he), `{o}`
(her/him) and `{p}` (her/his); a slot with a capital letter is capitalised. All other slots draw from `SLOTS`, never the
same word twice in a sentence, and `{a}` is always somebody else.
"""


def _list(words: str) -> list[str]:
    return words.split()


WOMEN = _list(
    "Alice Mary Anna Emma Sarah Julia Laura Nina Clara Helen Rosa Marie Olivia Sophie Lucy Eva Grace Ruth Irene Zoe"
)
MEN = _list(
    "Bob Tom John Peter Paul David James Martin Oscar Felix Max Henry Jack Leo Simon Victor Daniel George Adam Noah"
)
# Names that are not in the vocabulary: to the model each is just `<unk>`, as the names in a user's own text may be.
STRANGE_WOMEN = _list("Ottilie Xenia Wanda Birgit Farida Yuki")
STRANGE_MEN = _list("Igor Ahmed Zoltan Wendell Kenji Ulrich")

FOODS = _list(
    "nuts peanuts almonds eggs cheese milk fish shrimp tofu bread rice honey chocolate strawberries tomatoes apples "
    "bananas mushrooms garlic onions"
)

LANGUAGE_OF = {
    "France": "French",
    "Spain": "Spanish",
    "Germany": "German",
    "Italy": "Italian",
    "Japan": "Japanese",
    "China": "Chinese",
    "Russia": "Russian",
    "Portugal": "Portuguese",
    "Greece": "Greek",
    "Poland": "Polish",
    "Sweden": "Swedish",
    "Turkey": "Turkish",
}

SLOTS = {
    "a": WOMEN + MEN,
    "food": FOODS,
    "country": list(LANGUAGE_OF),
    "language": list(LANGUAGE_OF.values()),
    "kin": _list("friend cousin neighbor teacher colleague boss doctor partner"),
    "relative": _list("sister brother uncle aunt mother father"),
    "place": _list("library school office station museum park market bakery hospital garden theater bank"),
    "room": _list("kitchen cellar hall bedroom attic garage"),
    "thing": _list("umbrella book bicycle camera letter lamp guitar clock chair coat map suitcase radio phone"),
    "adj": _list("old new small big red blue green heavy broken beautiful strange yellow cheap"),
    "animal": _list("dog cat horse bird rabbit cow duck mouse"),
    "day": _list("monday tuesday wednesday thursday friday saturday sunday"),
    "time": _list("morning afternoon evening night"),
    "season": _list("spring summer autumn winter"),
    "weather": _list("rain snow wind fog thunder sunshine"),
    "number": _list("two three four five six seven eight nine ten twenty"),
    "mood": _list("happy tired nervous quiet proud hungry late busy calm sad"),
    "hobby": _list("chess tennis football piano cards violin"),
    "topic": _list("work music politics sport history money films travel"),
}

# Each kind of clue: sentences that state it, and beginnings of a sentence whose next word it decides.
ALLERGY_CLUES = (
    "{N} is allergic to {clue}.",
    "{N} is allergic to {clue}.",
    "{N} is very allergic to {clue}.",
    "{S} is allergic to {clue}.",
    "{N} is badly allergic to {clue}, and always was.",
    "{N} has been allergic to {clue} since {s} was a child.",
    "{N} has a strong allergy to {clue}.",
    "{N}, my {kin}, is allergic to {clue}.",
    "My {kin} {n} is allergic to {clue}.",
    "The doctor says that {n} is allergic to {clue}.",
    "Last year {n} found out that {s} is allergic to {clue}.",
    "I met {n}, who is allergic to {clue}.",
    "Eating {clue} makes {n} very ill.",
)
ALLERGY_GAPS = (
    "{S} can't eat",
    "{S} can't eat",
    "{S} cannot eat",
    "{N} can't eat",
    "{N} cannot eat",
    "{S} must not eat",
    "{S} never eats",
    "{S} said no, because {s} can't eat",
    "Sadly {s} can't have any",
    "Please do not give {o} any",
    "{S} asked for a plate without",
    "Remember that {n} is allergic to",
    "{S} is still allergic to",
    "Do not forget that {s} can't eat",
)
ORIGIN_CLUES = (
    "{N} grew up in {clue}.",
    "{N} grew up in {clue}, in a {adj} house by the sea.",
    "{N} was born in {clue}.",
    "{S} comes from {clue}.",
    "{N} was born and raised in {clue}.",
    "{N} comes from {clue}.",
    "{N}, my {kin}, comes from {clue}.",
    "My {kin} {n} grew up in {clue}.",
    "{N} spent {p} childhood in {clue}.",
)
ORIGIN_GAPS = (
    "{S} speaks fluent",
    "{S} speaks fluent",
    "{N} speaks fluent",
    "{S} speaks perfect",
    "{P} first language is",
    "At home {s} still speaks",
    "With {p} parents {s} always speaks",
)

# Sentences that say nothing of the clue. The first group names foods and countries all the same, so that remembering
# the last food, or any food, is not enough.
DISTRACTORS = (
    "{a} bought some {food} at the market.",
    "{a} ate {food} for lunch.",
    "{a} and {a} ate {food} with {food} in the {time}.",
    "There were {food} and {food} on the table.",
    "The soup was made with {food}.",
    "The shop had no {food} left on {day}.",
    "{a} likes {food} more than {food}.",
    "{a} is not allergic to {food}.",
    "{a} can eat {food} every day.",
    "{S} went out and bought {food} for {a}.",
    "{S} cooked {food} for the guests.",
    "The smell of {food} came from the {room}.",
    "{a} traveled to {country} in the {season}.",
    "A letter from {country} arrived on {day}.",
    "{a} wants to see {country} next {season}.",
    "{a} is learning {language} at school.",
    "They watched a film in {language}.",
    "{a} sold {number} boxes of {food} to a man from {country}.",
)
FILLERS = (
    "{S} works at the {place}.",
    "{S} lives near the {place} with a {animal}.",
    "{S} likes to read in the {time}.",
    "{S} plays {hobby} with {a} on {day}.",
    "{S} was {mood} that {time}.",
    "{S} lost {p} {thing} and found it in the {room}.",
    "{S} showed {a} the {adj} {thing}.",
    "{S} talked about {topic} for a long time.",
    "{S} has a {adj} {thing} and {number} {adj} books.",
    "On {day} {s} walked to the {place} and met {a}.",
    "{P} {relative} called in the {time} and asked about {topic}.",
    "{N} went to the {place} with {p} {relative}.",
    "{N} has known {a} for {number} years.",
    "{a} gave {o} a {adj} {thing}.",
    "{a} came to visit on {day}.",
    "{a} repaired the {adj} {thing} in the {room}.",
    "{a} and {a} went to the {place} together.",
    "{a} was {mood} and went home.",
    "{a} does not like {topic}.",
    "{a} told a long story about a {animal}.",
    "{a} forgot the {thing} at the {place}.",
    "The weather was bad, with {weather} and {weather}.",
    "In {season} there is a lot of {weather} here.",
    "The {animal} slept in the {room} all day.",
    "The {adj} {animal} ran after the {animal}.",
    "The train was {number} minutes late.",
    "The {place} is closed on {day}.",
    "The {place} was full of people that {time}.",
    "A {animal} looked out of the window.",
    "Somebody left a {adj} {thing} in front of the {place}.",
    "Later they sat in the garden and talked about {topic}.",
    "They stayed until {number} and then took the bus home.",
    "They invited {number} guests for {day}.",
    "It was a {adj} {thing}, but nobody wanted it.",
    "It took {number} hours to get to the {place}.",
    "After the {weather} everybody was {mood}.",
    "For {number} days nothing happened.",
    "Nobody knew where the {thing} was.",
    "We heard music from the {room}.",
    "When the {weather} stopped, the {relative} went for a walk.",
    "My {relative} has {number} children and a {animal}.",
    "Every {day} there is a concert in the {place}.",
)

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# python3 make_text.py FOLDER -> FOLDER/log.txt, the text that the model learns, and FOLDER/songs.txt, a text of another
# kind with the same letters, for fine-tuning. Both are made by the grammar below; letter.txt, written by hand, is the
# beginning of log.txt. The same files each time.
import os
import sys

LETTERS = 150_000  # of log.txt
SONGS = 24_000


class Dice:
    """A linear congruential generator, so that no version of Python changes the texts."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % n

    def pick(self, choices):
        return choices[self.below(len(choices))]


PEOPLE = [("Marta", "she", "her"), ("Old Henrik", "he", "his"), ("Ines", "she", "her"), ("the pilot", "he", "his"),
          ("the smith", "he", "his"), ("Tomas", "he", "his"), ("the baker", "she", "her"), ("Widow Lund", "she", "her"),
          ("the schoolmaster", "he", "his"), ("Johanna", "she", "her"), ("the ropemaker", "he", "his"),
          ("Agnes", "she", "her"), ("Peter Holm", "he", "his"), ("the midwife", "she", "her")]
BOATS = ["the Heron", "the Blue Anna", "the Patience", "the Two Sisters", "the Gull", "the Morning Star", "the Ondine",
         "the Good Intent", "the Thistle"]
CARGO = ["salt", "barley", "timber", "lamp oil", "wool", "herring", "coal", "iron nails", "rope", "apples", "flour",
         "tar", "paper", "bricks", "cheese", "window glass"]
VESSELS = ["barrels", "sacks", "crates", "bundles", "chests", "baskets"]
PLACES = ["the quay", "the lighthouse", "the church", "the market", "the mill", "the net loft", "the old wall",
          "the forge", "the school", "the yellow house", "the bridge", "the mole"]
PORTS = ["Norvik", "Sandholm", "Elsey", "Brackwater", "Port Amber", "Gravelly", "Upper Lisse", "Hallow"]
WINDS = ["north", "north-west", "west", "south-west", "south", "east"]
NUMBERS = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty"]
THINGS = ["lantern", "net", "ladder", "kettle", "rudder", "door", "pump", "bell", "roof", "clock", "barrow", "anchor",
          "compass", "chair", "stove", "window", "fiddle", "umbrella"]
ADJECTIVES = ["old", "new", "broken", "heavy", "green", "rusty", "small", "borrowed", "crooked", "excellent",
              "wet", "useless"]
ANIMALS = ["a grey cat", "a seal", "two geese", "a lame dog", "a crow", "a swan", "three goats", "a very fat pigeon"]
TIMES = ["before breakfast", "at noon", "in the evening", "while it rained", "after church", "as soon as it was light",
         "without a word", "for the third time", "to nobody's surprise", "against all advice"]
FEELINGS = {"calm": ["glad", "idle", "patient", "curious"], "rough": ["anxious", "silent", "tired", "cross"],
            "fog": ["careful", "uneasy", "lost"]}
SKIES = {
    "calm": ["The sea was as flat as a table", "There was hardly a ripple in the bay", "The morning was clear and mild",
             "High clouds, and sun between them", "One could see as far as Hallow"],
    "rough": ["The waves broke over the mole", "All night the shutters had been rattling", "A hard sea was running",
              "Two tiles came down from the school", "Spray froze on the ropes"],
    "fog": ["Fog hid the far side of the harbour", "One could not see the lighthouse from the quay",
            "The gulls walked, as they do in fog"],
}
VERBS = ["mended", "painted", "carried away", "sold", "found", "borrowed", "dropped", "measured", "described", "hid"]
REASONS = ["because the price had risen", "because nobody else would", "so that the children could not reach it",
           "since the old one had rotted", "which surprised everybody", "and regretted it", "and was thanked for it",
           "though it was not necessary", "as the law demands"]


def capital(text):
    return text[0].upper() + text[1:]


def weather(dice):
    kind = dice.pick(["calm", "calm", "rough", "fog"])
    wind = dice.pick(WINDS)
    sky = dice.pick(SKIES[kind])
    if kind == "fog":
        return kind, f"No wind. {sky}."
    strengths = {"calm": ["A light wind", "A soft breeze"], "rough": ["A gale", "A strong wind"]}[kind]
    return kind, f"{dice.pick(strengths)} from the {wind}. {sky}."


def arrival(dice, kind):
    boat, port = capital(dice.pick(BOATS)), dice.pick(PORTS)
    number, vessel, cargo = dice.pick(NUMBERS), dice.pick(VESSELS), dice.pick(CARGO)
    load = f"{number} {vessel} of {cargo}"
    if kind == "rough":
        return dice.pick([
            f"{boat} could not leave for {port} and lay at anchor with {load} on board.",
            f"{boat} came in from {port} with a torn sail; of {load} not one was dry.",
        ])
    if kind == "fog":
        return dice.pick([
            f"We rang the bell for {boat[0].lower() + boat[1:]}, and at noon it came in from {port} with {load}.",
            f"{boat} waited outside until the fog had gone, then landed {load} from {port}.",
        ])
    return dice.pick([
        f"{boat} came in from {port} with {load}.",
        f"{boat} left for {port} with {load}.",
        f"{boat} landed {load} and took on water for {port}.",
    ])


def thing_of(dice):
    return dice.pick(THINGS) if dice.below(2) else f"{dice.pick(ADJECTIVES)} {dice.pick(THINGS)}"


def ending(dice):
    tail = ""
    if dice.below(3) == 0:
        tail += " " + dice.pick(TIMES)
    if dice.below(3) == 0:
        tail += ", " + dice.pick(REASONS)
    return tail


def event(dice, kind):
    (name, they, their), place, thing = dice.pick(PEOPLE), dice.pick(PLACES), thing_of(dice)
    other = dice.pick([p for p in PEOPLE if p[0] != name])[0]
    verb, end = dice.pick(VERBS), ending(dice)
    number, vessels, cargo = dice.pick(NUMBERS), dice.pick(VESSELS), dice.pick(CARGO)
    return capital(dice.pick([
        f"{name} {verb} the {thing} that {they} had left at {place}{end}.",
        f"{name} {verb} the {thing} of {other}{end}.",
        f"{name} asked {other} for {their} {thing}, but {they} came back without it.",
        f"{name} saw {dice.pick(ANIMALS)} near {place}{end} and told {other} about it.",
        f"{name} was {dice.pick(FEELINGS[kind])} and stayed at {place} until {dice.pick(NUMBERS)} o'clock.",
        f"{name} and {other} spoke of the price of {cargo}, which {they} thought too high.",
        f"{name} walked from {place} to {dice.pick(PLACES)} with {number} {vessels} of {cargo}{end}.",
        f'"Who has taken the {thing} from {place}?" asked {other}. "I have," said {name}, "and I shall bring it back."',
        f'"{capital(number)} {vessels} are missing," said {name}. {capital(other)} counted them again.',
        f'"If {other} had not {verb} the {thing}," said {name}, "we should be in {dice.pick(PORTS)} by now."',
        f'At {place} somebody had written "{capital(cargo)} is {dice.pick(ADJECTIVES)}"; {name} washed it off{end}.',
    ]))


def account(dice):
    """What the harbour sold: a sum that a patient reader can check."""
    lines, total = [], 0
    for _ in range(2 + dice.below(3)):
        count, price = 2 + dice.below(8), 1 + dice.below(9)
        total += count * price
        lines.append(f"  {count} {dice.pick(VESSELS)} of {dice.pick(CARGO)} at {price}: {count * price}")
    return "Sold:\n" + ";\n".join(lines) + f".\nTogether {total}, paid by {dice.pick(PEOPLE)[0]}.\n\n"


def letter(dice):
    (writer, _, _), (reader, they, their) = dice.pick(PEOPLE), dice.pick(PEOPLE)
    port, boat = dice.pick(PORTS), dice.pick(BOATS)
    wish = dice.pick([
        f"Please send {dice.pick(NUMBERS)} {dice.pick(VESSELS)} of {dice.pick(CARGO)} with {boat}{ending(dice)}.",
        f"I have lost my {thing_of(dice)} between {dice.pick(PLACES)} and {dice.pick(PLACES)}. Has it been found?",
        f"Tell {dice.pick(PEOPLE)[0]} that the {thing_of(dice)} is paid for{ending(dice)}.",
        f"We had a gale here, and the {dice.pick(THINGS)} is gone{ending(dice)}.",
    ])
    return f"A letter from {port}, for {reader}:\n  {wish} Yours, {writer}.\n" \
           f"{capital(they)} read it {dice.pick(TIMES)} and put it into {their} pocket.\n\n"


def day(dice, number):
    kind, sky = weather(dice)
    sentences = [sky, arrival(dice, kind)] + [event(dice, kind) for _ in range(1 + dice.below(4))]
    if dice.below(4) == 0:
        sentences.append(dice.pick(["Nothing else to report.", "The light was lit at dusk.", "All is well."]))
    entry = f"Day {number}. " + " ".join(sentences) + "\n\n"
    more = dice.below(6)
    return entry + (account(dice) if more == 0 else letter(dice) if more == 1 else "")


def log(folder):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "letter.txt"), encoding="ascii") as file:
        text = file.read()
    dice, number = Dice(1), 1
    while len(text) < LETTERS:
        text += day(dice, number)
        number += 1
    write(folder, "log.txt", text)


RHYMES = [("sea", "me", "free"), ("bay", "day", "away"), ("light", "night", "bright"), ("sail", "gale", "pale"),
          ("tide", "side", "wide"), ("shore", "more", "door"), ("sand", "hand", "land")]
BEGINS = ["O carry", "Come, follow", "I left", "We sing of", "Who calls for", "We long for", "They took",
          "She waits for"]
LINES = ["{begin} {boat} and {person}", "{begin} {cargo}, {cargo} and {cargo}", "{begin} the {thing} at {place}",
         "The wind is {wind}, the {thing} is old"]
ENDS = ["and nothing is left but the {rhyme}", "so far from the {rhyme}", "and look for the {rhyme}",
        "until we have come to the {rhyme}"]

WORDS = {"begin": BEGINS, "boat": BOATS, "person": [p[0] for p in PEOPLE], "cargo": CARGO, "thing": THINGS,
         "place": PLACES, "wind": WINDS}


def verse(dice):
    lines, rhymes = [], dice.pick(RHYMES)
    for i in range(4):
        if i % 2 == 0:
            words = dice.pick(LINES)
            while "{" in words:
                key = words[words.index("{") + 1:words.index("}")]
                words = words.replace("{" + key + "}", dice.pick(WORDS[key]), 1)
            lines.append(words + ",")
        else:
            lines.append("  " + dice.pick(ENDS).replace("{rhyme}", rhymes[i // 2]) + (";" if i == 1 else "."))
    return "\n".join(lines) + "\n\n"


def songs(folder):
    dice, text = Dice(2), ""
    while len(text) < SONGS:
        text += verse(dice)
    write(folder, "songs.txt", text)


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="ascii", newline="\n") as file:
        file.write(text)


if __name__ == "__main__":
    log(sys.argv[1])
    songs(sys.argv[1])

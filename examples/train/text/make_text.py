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
          ("the schoolmaster", "he", "his"), ("Johanna", "she", "her")]
BOATS = ["the Heron", "the Blue Anna", "the Patience", "the Two Sisters", "the Gull", "the Morning Star"]
CARGO = ["salt", "barley", "timber", "lamp oil", "wool", "herring", "coal", "iron nails", "rope", "apples"]
VESSELS = ["barrels", "sacks", "crates", "bundles"]
PLACES = ["the quay", "the lighthouse", "the church", "the market", "the mill", "the net loft", "the old wall"]
PORTS = ["Norvik", "Sandholm", "Elsey", "Brackwater", "Port Amber"]
WINDS = ["north", "north-west", "west", "south-west", "south", "east"]
NUMBERS = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty"]
THINGS = ["lantern", "net", "ladder", "kettle", "rudder", "door", "pump", "bell", "roof", "clock"]
ANIMALS = ["a grey cat", "a seal", "two geese", "a lame dog", "a crow", "a swan"]
FEELINGS = {"calm": ["glad", "idle", "patient"], "rough": ["anxious", "silent", "tired"], "fog": ["careful", "uneasy"]}
SKIES = {
    "calm": ["The sea was as flat as a table", "There was hardly a ripple in the bay", "The morning was clear and mild"],
    "rough": ["The waves broke over the mole", "All night the shutters had been rattling", "A hard sea was running"],
    "fog": ["Fog hid the far side of the harbour", "One could not see the lighthouse from the quay"],
}
VERBS = ["mended", "painted", "carried away", "sold", "found", "borrowed"]


def capital(text):
    return text[0].upper() + text[1:]


def weather(dice):
    kind = dice.pick(["calm", "calm", "rough", "fog"])
    wind = dice.pick(WINDS)
    sky = dice.pick(SKIES[kind])
    if kind == "fog":
        return kind, f"No wind. {sky}."
    strength = {"calm": ["A light wind", "A soft breeze"], "rough": ["A gale", "A strong wind"]}[kind]
    return kind, f"{dice.pick(strength)} from the {wind}. {sky}."


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


def event(dice, kind):
    (name, they, their), place, thing = dice.pick(PEOPLE), dice.pick(PLACES), dice.pick(THINGS)
    other = dice.pick([p for p in PEOPLE if p[0] != name])[0]
    verb = dice.pick(VERBS)
    sentence = dice.pick([
        f"{name} {verb} the {thing} that {they} had left at {place}.",
        f"{name} asked {other} for {their} {thing}, but {they} came back without it.",
        f"{name} saw {dice.pick(ANIMALS)} near {place} and told {other} about it.",
        f"{name} was {dice.pick(FEELINGS[kind])} and stayed at {place} until {dice.pick(NUMBERS)} o'clock.",
        f"{name} and {other} spoke of the price of {dice.pick(CARGO)}, which {they} thought too high.",
        f'"Who has taken the {thing} from {place}?" asked {other}. "I have," said {name}, "and I shall bring it back."',
        f'"{capital(dice.pick(NUMBERS))} {dice.pick(VESSELS)} are missing," said {name}. {other} counted them again.',
    ])
    return capital(sentence)


def day(dice, number):
    kind, sky = weather(dice)
    sentences = [sky, arrival(dice, kind)] + [event(dice, kind) for _ in range(1 + dice.below(3))]
    if dice.below(4) == 0:
        sentences.append(dice.pick(["Nothing else to report.", "The light was lit at dusk.", "All is well."]))
    return f"Day {number}. " + " ".join(sentences) + "\n\n"


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
BEGINS = ["O carry", "Come, follow", "I left", "We sing of", "Who calls for", "We long for", "They took", "She waits for"]
LINES = ["{begin} {boat} and {person}", "{begin} {cargo}, {cargo} and {cargo}", "{begin} the {thing} at {place}",
         "The wind is {wind}, the {thing} is old"]
ENDS = ["and nothing is left but the {rhyme}", "so far from the {rhyme}", "and look for the {rhyme}",
        "until we have come to the {rhyme}"]


def verse(dice):
    lines, rhymes = [], dice.pick(RHYMES)
    for i in range(4):
        if i % 2 == 0:
            words = dice.pick(LINES)
            while "{" in words:
                key = words[words.index("{") + 1:words.index("}")]
                value = {"begin": BEGINS, "boat": BOATS, "person": [p[0] for p in PEOPLE], "cargo": CARGO, "thing": THINGS,
                         "place": PLACES, "wind": WINDS}[key]
                words = words.replace("{" + key + "}", dice.pick(value), 1)
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

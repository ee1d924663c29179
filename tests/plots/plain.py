"""Streams read line by line and pages by Python's own HTML parser: an independent hand."""

import math
import re
from html.parser import HTMLParser


def read_plainly(path):
    """Chunks as dicts: name, event, crystals of reflections (h, k, l, I, sigma, peak, background, fs, ss, 1/d)."""
    chunks, axes, inside = [], {}, False
    with open(path, errors="surrogateescape") as file:
        for line in file:
            words = line.split()
            if line.startswith("----- Begin chunk"):
                chunks.append({"name": "", "event": "", "crystals": []})
            elif line.startswith("Image filename: "):
                chunks[-1]["name"] = line[len("Image filename: ") : -1]
            elif line.startswith("Event: "):
                chunks[-1]["event"] = line[len("Event: ") : -1]
            elif line.startswith("--- Begin crystal"):
                chunks[-1]["crystals"].append([])
            elif words and words[0] in ("astar", "bstar", "cstar"):
                axes[words[0]] = [float(word) for word in words[2:5]]
            elif line.startswith("   h    k    l"):
                inside = True
            elif line.startswith("End of reflections"):
                inside = False
            elif inside:
                indices = [int(word) for word in words[:3]]
                vector = [
                    sum(index * axes[name][i] for index, name in zip(indices, ("astar", "bstar", "cstar")))
                    for i in range(3)
                ]
                numbers = [float(word) for word in words[3:9]]
                chunks[-1]["crystals"][-1].append((*indices, *numbers, math.hypot(*vector)))
    return chunks


def thin(text):
    """A stream's bytes without every seventh reflection."""
    out, inside, number = [], False, 0
    for line in text.splitlines(keepends=True):
        if line.startswith(b"End of reflections"):
            inside = False
        number += inside
        if not (inside and number % 7 == 0):
            out.append(line)
        if line.startswith(b"   h    k    l"):
            inside = True
    return b"".join(out)


class Page(HTMLParser):
    """Elements with their attributes, and the text that a reader sees."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._text, self._style, self.rows = [], [], False, []
        self.feed(text)
        self.text = re.sub(r"[ \n]+", " ", "".join(self._text))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._style = tag == "style"
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("p", "li", "h1", "h2", "td", "figcaption", "br"):
            self._text.append(" ")

    def handle_endtag(self, tag):
        self._style = False

    def handle_data(self, data):
        if self._style:
            return
        self._text.append(data)
        if self.elements and self.elements[-1][0] in ("td", "th", "br") and self.rows:
            self.rows[-1][-1] += data

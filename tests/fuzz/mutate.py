"""Damage a text as disks, networks and people do: bytes, lines, blocks, numbers."""

import random

# ruff: noqa: E501
TOKENS = [
    b"nan", b"inf", b"-1", b"0", b"1e999", b"99999999999999999999", b"0x7fffffff", b"%", b"//", b"../../etc/passwd", b"\0", b"\r\n",
    b"----- Begin chunk -----\n", b"----- End chunk -----\n", b"--- Begin crystal\n", b"--- End crystal\n", b"End of reflections\n",
    b"End of peak list\n", b"Peaks from peak search\n", b"Reflections measured after indexing\n", b"x" * 1100, b"\xff\xfe", b"=", b";",
]  # fmt: skip


def mutate(text: bytes, seed: int) -> bytes:
    """Text with one to six mutations, the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 6)):
        text = rng.choice(_KINDS)(text, rng)
    return text


def _byte(text, rng):
    at = rng.randrange(len(text) or 1)
    return text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :]


def _cut(text, rng):
    a = rng.randrange(len(text) + 1)
    b = min(len(text), a + int(rng.expovariate(1 / 300)))
    return text[:a] + text[b:]


def _truncate(text, rng):
    return text[: rng.randrange(len(text) + 1)] if rng.random() < 0.3 else text


def _token(text, rng):
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(TOKENS) + text[at:]


def _line(text, rng):
    lines = text.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == 1:
        lines.insert(i, lines[j])
    elif kind == 2:
        del lines[i]
    else:
        words = lines[i].split(b" ")
        words[rng.randrange(len(words))] = rng.choice(TOKENS)
        lines[i] = b" ".join(words)
    return b"\n".join(lines)


def _digit(text, rng):
    digits = [i for i in range(0, len(text), max(1, len(text) // 500)) if text[i : i + 1].isdigit()]
    if not digits:
        return text
    at = rng.choice(digits)
    return text[:at] + rng.choice([b"9", b"-", b".", b" ", b"e9", b"00000"]) + text[at + 1 :]


_KINDS = [_byte, _cut, _truncate, _token, _line, _line, _digit]

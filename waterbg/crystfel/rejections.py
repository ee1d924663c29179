"""Which crystals partialator leaves out, by what it says on standard error."""

from __future__ import annotations

import re
from collections import Counter

# "Rejecting FILE EVENT crystal N because REASON (numbers).", one a crystal, while it reads
_READING = re.compile(r"^Rejecting .* crystal \d+ because (.*?)[ .]*(?:\(.*)?$", re.MULTILINE)
# "N bad crystals:" and a line for each reason, the good ones ("OK") among them; after each cycle, for all so far
_MERGING = re.compile(r"^\d+ bad crystals:\n((?: +\d+ .*\n)*)", re.MULTILINE)


def read_rejections(said: str) -> dict[str, int]:
    """Number of crystals left out, for each reason.

    Parameters
    ----------
    said : str
        Standard error of partialator, 0.10 to 0.12. Crystals beyond ``--min-res`` are left out without a word.
    """
    counts = Counter(_READING.findall(said))
    cycles = _MERGING.findall(said)
    for line in cycles[-1].splitlines() if cycles else ():
        number, reason = line.split(maxsplit=1)
        if reason != "OK":
            counts[reason] += int(number)
    return dict(counts)

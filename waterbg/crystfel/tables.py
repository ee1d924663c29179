"""The tables and numbers that check_hkl and compare_hkl give, read back."""

from __future__ import annotations

import re
from dataclasses import dataclass

from waterbg.errors import ProgramError

# header word of a column of check_hkl's table -> our name and the factor to our unit
_CHECK_COLUMNS = ("centre", "reflections", "possible", "completeness", "measurements", "multiplicity",
                  "snr", "mean_intensity", "d", "minimum", "maximum")  # fmt: skip
_DEVIATION = "Std dev"  # header words of a column more, before the mean intensity, until CrystFEL 0.9
_OVERALL = {
    "measurements": r"^([\d.]+) measurements in total",
    "reflections": r"^(\d+) reflections in total",
    "possible": r"^(\d+) reflections possible",
    "snr": r"^Overall <snr> = (\S+)",
    "multiplicity": r"^Overall redundancy = (\S+)",
    "completeness": r"^Overall completeness = (\S+) %",
}
# what compare_hkl calls its figures of merit in "Overall … ="
_FIGURES = {"Rsplit": r"Rsplit", "CC": r"CC", "CCstar": r"CC\*", "R1I": r"R1\(I\)"}


@dataclass(frozen=True)
class Shells:
    """One quantity or several in resolution shells.

    Attributes
    ----------
    edges : tuple of float
        Borders of the shells as 1/d in nm⁻¹, one more than shells.
    columns : dict
        Name -> one value per shell; NaN where the program has none. Completeness and R values are in percent.
    overall : dict
        Name -> value over all shells.
    """

    edges: tuple[float, ...]
    columns: dict[str, tuple[float, ...]]
    overall: dict[str, float]


def read_check(table: str, said: str) -> Shells:
    """Read what check_hkl (its ``plot_shells``) wrote.

    Parameters
    ----------
    table : str
        Content of ``--shell-file``.
    said : str
        Its standard error, which holds the overall values.

    Returns
    -------
    Shells
        With ``reflections``, ``possible``, ``completeness`` (%), ``measurements``, ``multiplicity``, ``snr``,
        ``mean_intensity``; overall without the last.

    Raises
    ------
    ProgramError
        When the table is not what CrystFEL writes.
    """
    names = list(_CHECK_COLUMNS)
    if _DEVIATION in table.partition("\n")[0]:
        names.insert(names.index("mean_intensity"), "deviation")
    rows = _rows(table, len(names), "Center 1/nm", "check_hkl")
    columns = dict(zip(names, zip(*rows)))
    overall = {}
    for name, pattern in _OVERALL.items():
        found = re.search(pattern, said, re.MULTILINE)
        if found is None:
            raise ProgramError(
                f"it did not say its overall {name}; a version waterbg does not know?", program="check_hkl"
            )
        overall[name] = float(found.group(1))
    edges = (columns["minimum"][0], *columns["maximum"])
    wanted = [name for name in _CHECK_COLUMNS if name not in ("centre", "d", "minimum", "maximum")]
    return Shells(edges, {name: columns[name] for name in wanted}, overall)


def read_range(said: str) -> tuple[float, float]:
    """Smallest and largest 1/d in nm⁻¹ of a reflection list, as check_hkl says it."""
    found = re.search(r"^1/d goes from (\S+) to (\S+) nm\^-1", said, re.MULTILINE)
    if found is None:
        raise ProgramError("it did not say the resolution range of the merged list", program="check_hkl")
    return float(found.group(1)), float(found.group(2))


def read_compare(table: str, said: str, figure: str) -> Shells:
    """Read what compare_hkl (its ``do_fom``) wrote for one figure of merit.

    Parameters
    ----------
    table : str
        Content of ``--shell-file``.
    said : str
        Its standard error.
    figure : str
        ``Rsplit``, ``CC``, ``CCstar`` or ``R1I``.

    Returns
    -------
    Shells
        Columns ``figure`` (R values in percent) and ``pairs``, the number of reflections compared.

    Raises
    ------
    ProgramError
    """
    rows = _rows(table, 6, "1/d centre", "compare_hkl")
    columns = list(zip(*rows))
    found = re.search(rf"^Overall {_FIGURES[figure]} = (\S+)", said, re.MULTILINE)
    if found is None:
        raise ProgramError(f"it did not say the overall {figure}", program="compare_hkl")
    edges = (columns[4][0], *columns[5])
    return Shells(
        edges, {figure: columns[1], "pairs": columns[2]}, {figure: float(found.group(1)), "pairs": sum(columns[2])}
    )


def _rows(table: str, width: int, header: str, program: str) -> list[tuple[float, ...]]:
    lines = table.splitlines()
    if not lines or not lines[0].lstrip().startswith(header):
        raise ProgramError(
            f"its table does not begin with {header!r}; a version waterbg does not know?", program=program
        )
    rows = []
    for number, line in enumerate(lines[1:], 2):
        words = line.split()
        try:
            row = tuple(float(word) for word in words)  # "-nan" is a float to Python as well
        except ValueError:
            row = ()
        if len(row) != width:
            raise ProgramError(f"line {number} of its table has not {width} numbers: {line.strip()!r}", program=program)
        rows.append(row)
    if not rows:
        raise ProgramError("its table is empty", program=program)
    return rows

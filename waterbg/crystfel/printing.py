"""How numbers of merged and compared streams are printed: in columns for people, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any


def number(value: float, form: str) -> str:
    """A number in that format; ``-`` for NaN."""
    return "-" if math.isnan(value) else f"{value:{form}}"


def shell_label(low: float, high: float) -> str:
    """A resolution shell in Å, ``2.48-2.37``, by its borders 1/d in nm⁻¹."""
    return f"{f'{10 / low:.2f}' if low > 0 else 'inf'}-{10 / high:.2f}"


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; columns are as wide as their longest word, which stand on the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(word.rjust(width) for word, width in zip(row, widths)).rstrip() for row in rows]


def to_json(value: Any) -> str:
    """JSON; null for numbers that are none, which JSON does not have."""
    return json.dumps(_no_nan(value), indent=2, allow_nan=False)


def _no_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _no_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_no_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

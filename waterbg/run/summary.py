"""What a run says at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from waterbg.subtract import Tally

NAMED = 3  # unreadable images whose reason is printed


@dataclass
class Summary:
    """Counts of a finished run, with time and the decoys' verdict."""

    tally: Tally = field(default_factory=Tally)
    chunks_before: int = 0
    seconds: float = 0.0
    output: str = ""
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Lines for a person."""
        tally = self.tally
        dropped = sum(tally.dropped.values())
        counts = f"{tally.chunks} chunks, {tally.crystals} crystals, {tally.integrated} reflections integrated"
        lines = [f"{self.output}: {counts}, {dropped} dropped, {_time(self.seconds)}"]
        if self.chunks_before:
            lines.append(f"  {self.chunks_before} chunks were done before")
        for counted, what in (
            (tally.dropped, "dropped"),
            (tally.images, "images unreadable"),
            (tally.fallbacks, "fallback"),
        ):
            lines += [f"  {what}: {count} {name}" for name, count in counted.most_common()]
            if counted is tally.images:
                lines += [f"    {reason}" for reason in tally.unreadable[:NAMED]]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def as_dict(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            **self.tally.as_dict(),
            "chunks_before": self.chunks_before,
            "seconds": self.seconds,
            "notes": self.notes,
        }


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"

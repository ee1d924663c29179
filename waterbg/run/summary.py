"""What a run says at its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from waterbg.subtract import ASTRAY, LEFT_OUT, Tally

NAMED = 3  # unreadable images whose reason is printed, and remarks
MANY_CUT = 0.05  # share of the reflections
# ADU, and reflections: that many have the highest of all pixels where counters end; lower ones are alike by chance
CEILING, AT_CEILING = 200.0, 10


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
        chunks = tally.chunks - tally.images[LEFT_OUT]
        counts = f"{chunks} chunks, {tally.crystals} crystals, {tally.integrated} reflections integrated"
        lines = [f"{self.output}: {counts}, {dropped} dropped, {_time(self.seconds)}"]
        if self.chunks_before:
            lines.append(f"  {self.chunks_before} chunks were done before")
        if tally.chunks and not (tally.reflections or tally.images or self.chunks_before):
            lines.append(
                "  the stream has no reflections: indexamajig writes none where nothing was indexed, and none with "
                "--integration=none, --cell-parameters-only or --no-refls-in-stream"
            )
        if tally.astray:
            lines.append(
                f"  the predictions of {tally.astray} crystal{'s' * (tally.astray != 1)} lie more than {ASTRAY:g} px "
                "from the positions in the stream: is the geometry that of these images?"
            )
        if tally.unseen:
            lines.append(
                f"  of the strong reflections of {tally.unseen} crystal{'s' * (tally.unseen != 1)} hardly anything "
                "is in the images: are these the images of this stream?"
            )
        if tally.other_radii:
            lines.append(
                f"  {tally.other_radii} of the file's streams had another --int-radius than was used: "
                "subtract one stream at a time"
            )
        lines += [f"  dropped: {count} {name}" for name, count in tally.dropped.most_common()]
        lines += [f"  images unreadable: {count} {name}" for name, count in tally.images.most_common()]
        lines += [f"    {reason}" for reason in tally.unreadable[:NAMED]]
        lines += [f"  {remark}" for remark in tally.remarks[:NAMED]]
        if tally.own_rings:
            whose = f"{tally.own_rings} reflection{'s' * (tally.own_rings != 1)}"
            lines.append(f"  background of {whose} from the own ring, where the frame's model does not hold")
        if tally.marred:
            whose = f"{tally.marred} reflection{'s' * (tally.marred != 1)}"
            lines.append(f"  bad pixels in the peak of {whose}, which were left out of the fit")
        if tally.cut > MANY_CUT * tally.reflections:
            lines.append(
                f"  the peak disc holds less than 7/8 of the spots of {tally.cut} reflections, and at most 6 % is "
                "added: a larger --int-radius would hold more"
            )
        if tally.highest >= CEILING and tally.at_highest >= AT_CEILING:
            lines.append(
                f"  the highest pixel of {tally.at_highest} reflections is {tally.highest:.10g}, and no other's is "
                "higher: if nothing counts beyond, a lower max_adu in the geometry drops them"
            )
        for name, count in tally.fallbacks.most_common():
            lines.append(f"  fallback on {count} frame{'s' * (count != 1)}: {name}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"

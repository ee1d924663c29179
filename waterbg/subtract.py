"""The main job for one chunk: chunk -> frame -> background -> integrate -> splice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from waterbg.errors import ImageError
from waterbg.integrate import Status
from waterbg.interrupts import checkpoint
from waterbg.predict import Scene, build_scene
from waterbg.settings import OwnRun, Settings, parse_integration
from waterbg.stream import NUMBERS, SPLICED, Chunk, splice_reflections

if TYPE_CHECKING:
    from waterbg.frames import Frame, FrameReader
    from waterbg.model import RunModel

LEFT_OUT = "left out"
ASTRAY = 2.0  # px: a geometry that is only a little better than the stream's moves reflections by less
STRONG = 5.0  # I/sigma in the stream, from which on a reflection must be seen in its image
ENOUGH = 5  # of them in a crystal, to say anything
LITTLE = 0.25  # share of their I: less is found in images of other events (0.03 to 0.06), and by no change of method
NEARLY = 0.9  # of max_adu: what is dropped for it ends the pixels of the others as counters would
MOST_NAMED = 100  # images that cannot be read, by name; more are only counted


@dataclass
class Tally:
    """What happened, counted; pieces from workers are added up.

    ``own_rings``: reflections whose background is their own ring's after all. ``cut``: reflections that are wider
    than the peak disc. ``marred``: integrated reflections with bad pixels in it. ``highest``, ``at_highest``: highest
    pixel of all reflections, ADU, and of how many it is, unless the geometry knows. ``astray``: crystals whose
    predictions are far from the stream's positions. ``unseen``: crystals whose strong reflections are not in the
    images. ``other_radii``: streams behind the first that were made with other radii than are used. ``remarks``: how
    images were read (a mask found elsewhere, say).
    """

    chunks: int = 0
    crystals: int = 0
    reflections: int = 0
    integrated: int = 0
    own_rings: int = 0
    cut: int = 0
    marred: int = 0
    highest: float = 0.0
    at_highest: int = 0
    astray: int = 0
    unseen: int = 0
    other_radii: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add another tally's counts to this one's."""
        for name, value in vars(other).items():
            if name not in ("unreadable", "remarks", "highest", "at_highest"):
                setattr(self, name, getattr(self, name) + value)
        self.see(other.highest, other.at_highest)
        for reason in other.unreadable:
            self.name(reason)
        self.remarks += [remark for remark in other.remarks if remark not in self.remarks]

    def see(self, highest: float, times: int) -> None:
        """Count the highest pixels of some reflections, which stand at one value where counters end."""
        if highest > self.highest:
            self.highest, self.at_highest = highest, 0
        if highest == self.highest:
            self.at_highest += times

    def name(self, unreadable: str) -> None:
        """Keep why an image cannot be read: once, for a file that is missing lacks all of its frames."""
        if unreadable not in self.unreadable and len(self.unreadable) < MOST_NAMED:
            self.unreadable.append(unreadable)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        # dataclasses.asdict would make a Counter of a Counter's items
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Tally:
        """Inverse of `as_dict`."""
        values: dict[str, Any] = {n: Counter(value) if isinstance(value, dict) else value for n, value in data.items()}
        return cls(**values)


class Subtractor:
    """Gives back chunks with their reflections integrated anew.

    Parameters
    ----------
    reader : FrameReader
    settings : Settings
    on_missing : str
        What becomes of a chunk whose image cannot be read: ``fail``, ``keep`` or ``drop``.
    model : RunModel or None
        What was learnt from the run; None for CrystFEL's own rings.
    own_run : OwnRun, optional
        Of the stream. A saturated reflection that is dropped may be in ``num_saturated_reflections`` already, and
        CrystFEL's own rings do not use what the run took for bad.
    """

    def __init__(
        self,
        reader: FrameReader,
        settings: Settings,
        on_missing: str,
        model: RunModel | None,
        own_run: OwnRun | None = None,
    ) -> None:
        self.reader, self.settings, self.on_missing, self.model = reader, settings, on_missing, model
        self.own_run = own_run or OwnRun()

    def load(self, chunk: Chunk) -> tuple[Frame, Scene]:
        """Read the chunk's image and predict its reflections.

        Raises
        ------
        ImageError, GeometryError
        """
        checkpoint()
        frame = self.reader.read(
            chunk.filename,
            chunk.event,
            photon_energy_eV=chunk.photon_energy_eV,
            camera_length=chunk.camera_length,
        )
        scene = build_scene(
            chunk.crystals, frame.detector, frame.clen, frame.photon_energy_eV, push_res=self.settings.push_res
        )
        return frame, scene

    def chunk(self, chunk: Chunk, tally: Tally) -> bytes:
        """Bytes of the chunk after the main job; counts go into ``tally``.

        Raises
        ------
        ImageError
            When the image cannot be read and ``on_missing`` is ``fail``.
        """
        tally.chunks += 1
        if not chunk.n_reflections:
            tally.crystals += len(chunk.crystals)
            return chunk.bytes
        try:
            frame, scene = self.load(chunk)
        except ImageError as err:
            if self.on_missing == "fail":
                raise
            tally.images["kept as they were" if self.on_missing == "keep" else LEFT_OUT] += 1
            tally.name(str(err))
            if self.on_missing == "drop":
                return b""
            tally.crystals += len(chunk.crystals)
            return chunk.bytes
        tally.crystals += len(chunk.crystals)
        tally.astray += int(np.count_nonzero(scene.off > ASTRAY))
        result = self.integrate(frame, scene, tally)
        spliced, saturated, implausible = [], [], []
        for crystal, rows in zip(chunk.crystals, scene.rows, strict=True):
            new = np.zeros(len(rows), SPLICED)
            for name in NUMBERS:
                new[name] = result[name][rows]
            status = result["status"][rows]
            finite = np.isfinite(new["I"]) & np.isfinite(new["sigma"])
            new["keep"] = (status == Status.OK) & finite
            status[(status == Status.OK) & ~finite] = Status.BACKGROUND
            spliced.append(new)
            tally.unseen += _is_unseen(crystal.reflections, new)
            peak = new["peak"][new["keep"]]
            highest = float(peak.max(initial=0))
            told = frame.saturation is not None or highest > NEARLY * frame.max_adu.min()
            tally.see(highest, 0 if told else int(np.count_nonzero(peak == highest)))
            tally.reflections += len(new)
            tally.integrated += int(new["keep"].sum())
            counted = Counter(status[~new["keep"]].tolist())
            saturated.append(0 if self.own_run.counts_kept else counted[Status.SATURATED])
            implausible.append(counted[Status.IMPLAUSIBLE])
            for code, count in counted.items():
                tally.dropped[Status(code).reason] += count
        return splice_reflections(chunk, spliced, saturated, implausible)

    def integrate(self, frame: Frame, scene: Scene, tally: Tally) -> np.ndarray:
        """Integrate every printed reflection of a scene: INTEGRATED array, aligned with ``scene.spots``."""
        if not self.settings.uses_model:
            from waterbg.integrate.rings import integrate_rings

            options = parse_integration(self.settings.integration)
            return integrate_rings(
                frame,
                scene,
                self.settings.int_radius,
                gradient=options.gradient,
                saturated=options.saturated,
                max_inv_d=self.own_run.max_inv_d,
                marred=self.own_run.keeps_marred,
            )
        from waterbg.model import process_frame

        assert self.model is not None
        result, report = process_frame(frame, scene, self.model, self.settings)
        tally.own_rings += report.own_rings
        tally.cut += report.cut
        tally.marred += report.marred
        for name in report.fallbacks:
            tally.fallbacks[name] += 1
        return result


def _is_unseen(old: np.ndarray, new: np.ndarray) -> bool:
    """Whether hardly anything is found of what the stream calls strong: the image is of another event, or run."""
    strong = new["keep"] & np.isfinite(old["I"]) & (old["sigma"] > 0) & (old["I"] > STRONG * old["sigma"])
    return bool(np.count_nonzero(strong) >= ENOUGH and new["I"][strong].sum() < LITTLE * old["I"][strong].sum())

"""What a run teaches before its first reflection is written."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waterbg.background import Noise, Trust
from waterbg.background.faulty import pixels_of, runs_of
from waterbg.errors import UsageError
from waterbg.integrate.places import LEANS
from waterbg.integrate.positions import ORDERS, PositionMap
from waterbg.integrate.psf import Lines, Psf
from waterbg.integrate.scatter import Scatter
from waterbg.integrate.shapes import Spots
from waterbg.model.quality import Quality
from waterbg.settings import Settings
from waterbg.small_file import read_small_file
from waterbg.stream import write_file

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.geometry import Detector

_FORMAT = "waterbg run model 7"


@dataclass(frozen=True)
class RunModel:
    """Quantities of a whole run; they decide numbers, so they are learnt once, from a fixed sample of its frames.

    Attributes
    ----------
    noise : Noise
        Of the detector.
    trust : Trust
        How far the true background strays from the frame's surface.
    spots : Spots
        Widths, places and their scatter.
    sigma_scale : float
        Robust standard deviation of decoys over their sigma: multiplies every sigma.
    faulty : str
        Numbers of the pixels that are wrong in all frames, see :mod:`waterbg.background.faulty`.
    frames : int
        Frames the model was learnt from; 0 for the defaults.
    detector : str
        Sizes of the panels of the detector it was learnt on (:attr:`waterbg.geometry.Detector.sizes`); empty for the
        defaults.
    quality : Quality
        What decoys and strong spots say about the numbers.
    options : str
        Those it was learnt with (:meth:`waterbg.settings.Settings.as_options`); empty where that is not known.
    """

    noise: Noise = field(default_factory=Noise)
    trust: Trust = field(default_factory=Trust)
    spots: Spots = field(default_factory=Spots)
    sigma_scale: float = 1.0
    faulty: str = ""
    frames: int = 0
    detector: str = ""
    quality: Quality = field(default_factory=Quality)
    options: str = ""

    def under(self, settings: Settings) -> RunModel:
        """The model without what decoys taught, where they are not to be asked; itself elsewhere."""
        if settings.decoys:
            return self
        return dataclasses.replace(self, sigma_scale=1.0, trust=dataclasses.replace(self.trust, stray=0.0))

    def learnt_otherwise(self, settings: Settings) -> bool:
        """Whether it is known to be learnt with options that make other intensities, and another scale of sigma."""
        if not self.options:
            return False
        return dataclasses.replace(Settings.from_options(self.options.split()), push_res=settings.push_res) != settings

    def refuse_another(self, detector: Detector) -> None:
        """Noise, places and widths are one detector's.

        Raises
        ------
        UsageError
            When the model was learnt on a detector with other panels.
        """
        other = self.noise.per_photon and len(self.noise.per_photon) != len(detector.panels)
        if other or self.detector not in ("", detector.sizes):
            raise UsageError(
                f"the run model was learnt on another detector ({self.detector}; this one has {detector.sizes}); "
                "leave out --model, and it is learnt again"
            )

    def applied(self, frame: Frame) -> Frame:
        """The frame without the detector's pedestal, and with its faulty pixels noted; itself where there is neither.

        Raises
        ------
        UsageError
            When the model was learnt on another detector.
        """
        self.refuse_another(frame.detector)
        frame = frame.without(self.noise.pedestal - frame.pedestal)
        if not self.faulty:
            return frame
        if runs_of(self.faulty)[-1, 1] >= frame.detector.n_pixels:
            raise UsageError("the run model names pixels beyond the detector; leave out --model to learn one")
        return dataclasses.replace(frame, faulty=pixels_of(self.faulty))

    def save(self, path: str | Path) -> None:
        """Write the model as JSON.

        Raises
        ------
        OutputError
        """
        write_file(path, self.text())

    def text(self) -> bytes:
        """The model as JSON."""
        return json.dumps({"format": _FORMAT, **dataclasses.asdict(self)}, indent=1, allow_nan=False).encode() + b"\n"

    @classmethod
    def load(cls, path: str | Path) -> RunModel:
        """Read a model that :meth:`save` wrote.

        Raises
        ------
        UsageError
            When the file cannot be read, or is no run model.
        """
        try:
            data: dict[str, Any] = json.loads(read_small_file(path))
            found = data.pop("format")
            if found != _FORMAT and str(found).startswith(_FORMAT[:-1]):
                raise UsageError(f"--model={path}: is of another version of waterbg; leave it out to learn one")
            if found != _FORMAT:
                raise ValueError
            spots = data.pop("spots")
            psf = spots.pop("psf")
            return cls(
                noise=_noise(**data.pop("noise")),
                trust=_trust(**data.pop("trust")),
                spots=Spots(
                    psf=Psf(**{**psf, "widths": Lines(**psf["widths"])}),
                    map=_map(**spots["map"]),
                    signal_error=spots["signal_error"],
                    about_map=_scatter(spots["about_map"]),
                    about_run=_scatter(spots["about_run"]),
                ),
                detector=str(data.pop("detector")),
                faulty=_pixels(data.pop("faulty")),
                quality=Quality.from_dict(data.pop("quality")),
                options=_options(data.pop("options", "")),
                **data,
            )
        except OSError as err:
            raise UsageError(f"--model={path}: cannot be read ({err.strerror})") from None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise UsageError(
                f"--model={path}: is not a run model; waterbg subtract writes one beside its output"
            ) from None


def _pixels(text: str) -> str:
    runs_of(text)
    return text


def _options(text: str) -> str:
    try:
        return " ".join(Settings.from_options(text.split()).as_options()) if text else ""
    except UsageError as err:
        raise ValueError from err


def _map(coefficients: list[Any], scale: float, leaning: list[float], panels: list[Any]) -> PositionMap:
    if len(coefficients) not in (0, *(terms for terms, _ in ORDERS)) or len(leaning) != LEANS:
        raise ValueError
    pairs = (tuple((float(x), float(y)) for x, y in column) for column in (coefficients, panels))
    return PositionMap(next(pairs), scale, tuple(leaning), next(pairs))


def _noise(per_photon: list[float], **known: float) -> Noise:
    return Noise(**known, per_photon=tuple(map(float, per_photon)))


def _trust(edges: list[float], tau2: list[float], stray: float) -> Trust:
    return Trust(tuple(edges), tuple(tau2), float(stray))


def _scatter(data: dict[str, Any]) -> Scatter:
    return Scatter(**{**data, "lines": Lines(**data["lines"])})

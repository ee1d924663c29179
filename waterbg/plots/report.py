"""The report of ``waterbg report``: two streams, and some of their images, on one HTML page."""

from __future__ import annotations

import hashlib

from waterbg.geometry import parse_geometry
from waterbg.plots.inline import inline_style
from waterbg.plots.report_numbers import gather, read_provenance
from waterbg.plots.report_page import make_page
from waterbg.plots.report_sample import take_sample
from waterbg.plots.report_words import Findings
from waterbg.run import Images, resolve_job

FRAMES = 24
"""Frames whose images are read again."""


def find(
    before: str,
    after: str,
    *,
    frames: int = FRAMES,
    model: str | None = None,
    geometry: str | None = None,
    images: Images | None = None,
) -> Findings:
    """Read both streams, and the images of some frames.

    Parameters
    ----------
    before, after : str
        Paths: a stream, and what `waterbg subtract` made of it.
    frames : int
        How many frames, spread over the stream, have their images read; 0 for none.
    model : str, optional
        Run model; default: the one beside ``after``, or learnt again when there is none, or none that is usable.
    geometry : str, optional
        Geometry file instead of the stream's own.
    images : Images, optional
        Where images are looked for.

    Raises
    ------
    StreamError
        When a stream cannot be read, or ``after`` does not come from ``before``.
    GeometryError, UsageError
    """
    provenance = read_provenance(after)
    job = resolve_job(before, geometry=geometry, settings=vars(provenance.settings), images=images)
    detector = parse_geometry(
        job.geometry, path=job.geometry_path or before, lenient=job.lenient, first_line=job.geometry_line
    )
    numbers = gather(before, after, detector, frames)
    sample = take_sample(job, numbers, provenance, model)
    return Findings(
        numbers,
        provenance,
        sample,
        numbers.resolution.shells(),
        numbers.resolution.whole(),
        hashlib.sha256(job.geometry).hexdigest()[:12] if geometry is not None else None,
    )


def draw_report(findings: Findings) -> bytes:
    """Write the page.

    Raises
    ------
    UsageError
        Without matplotlib.
    """
    with inline_style():
        return make_page(findings)

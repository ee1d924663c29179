"""Figures of docs/science.md, from simulated frames with known truth.

    python docs/science/figures.py [FOLDER]

Writes background.png, places.png and decoys.png into FOLDER (default: this one). Needs matplotlib.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from waterbg.background import frame_rays, make_estimator
from waterbg.integrate.places import lab_places
from waterbg.integrate.strong import offsets_of
from waterbg.model import SAMPLE_FRAMES, check_model, learn_model
from waterbg.model.frame import integrate_frame
from waterbg.plots.decoys import draw_decoys
from waterbg.run import resolve_job
from waterbg.run.sample import Sample
from waterbg.run.worker import Worker
from waterbg.simulate import preset, write_dataset

METHODS = (("ring", "#d1495b"), ("plane", "#edae49"), ("radial", "#2e8b57"), ("water", "#1b6ca8"))
RADII = (3, 5, 7)
FRAMES = 6


def under(expected):
    """Mean over the peak disc of each box."""
    half = expected.shape[1] // 2
    j, i = np.mgrid[-3:4, -3:4]
    inside = i * i + j * j <= 9
    return expected[:, half + j[inside], half + i[inside]].mean(axis=1)


def draw_background(sample, truth, path):
    """Estimated over true background under every reflection, by distance from the beam's centre."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(METHODS), sharey=True)
    for axes, (name, colour) in zip(panels, METHODS, strict=True):
        radius, ratio = [], []
        for (frame, scene), simulated in zip(sample, truth, strict=True):
            result = make_estimator(name).estimate(frame, scene, RADII)
            known = {tuple(int(s[n]) for n in "hkl"): s["B_true"] for s in simulated.spots}
            true = np.array([known.get(tuple(int(s[n]) for n in "hkl"), np.nan) for s in scene.spots])
            places = lab_places(frame, frame_rays(frame, scene, "horiz"), scene.spots)
            radius.append(np.hypot(places.x, places.y))
            ratio.append(under(result.expected) / true)
        radius, ratio = np.concatenate(radius), np.concatenate(ratio)
        axes.plot(radius, ratio, ".", ms=1, color=colour, alpha=0.4)
        axes.axhline(1, color="0.3", lw=0.8)
        axes.set(title=name, xlabel="distance from the beam / px", ylim=(0.75, 1.25), xlim=(30, 700))
    panels[0].set_ylabel("background, estimated / true")
    figure.savefig(path, dpi=110)


def draw_places(path):
    """What strong spots of turned blocks are from where they are expected, before and after the map."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    with tempfile.TemporaryDirectory() as scratch:
        job = resolve_job(str(write_dataset(preset("turned"), FRAMES, scratch, "turned").stream))
        sample = Sample(Worker(job), SAMPLE_FRAMES)
        model = learn_model(sample, job.settings)
        parts = []
        for frame, scene in sample:
            shapes = integrate_frame(frame, scene, model, job.settings).shapes
            places = lab_places(frame, frame_rays(frame, scene, "horiz"), scene.spots[shapes.which])
            found, _ = offsets_of(shapes.measured)
            left = found - shapes.positions.at(places)
            side = np.sign(scene.spots["excitation"][shapes.which]) * places.beside
            parts.append(np.column_stack([side, places.along_radius(found), places.along_radius(left)]))
    side, *columns = np.concatenate(parts).T
    for axes, name, before, after in zip(panels, ("along", "across"), columns[:2], columns[2:], strict=True):
        axes.plot(side, before, ".", ms=2, color="#d1495b", alpha=0.5, label="prediction")
        axes.plot(side, after, ".", ms=2, color="#1b6ca8", alpha=0.5, label="with the map")
        axes.set(title=f"{name} the radius", xlabel="distance from the Ewald sphere / px", ylim=(-3, 3))
    panels[0].set_ylabel("found − expected place / px")
    panels[0].legend(markerscale=5, loc="upper right")
    figure.savefig(path, dpi=110)


def main(folder):
    """Simulate runs and draw."""
    draw_places(folder / "places.png")
    truth = []
    with tempfile.TemporaryDirectory() as scratch:
        dataset = write_dataset(preset("nominal"), FRAMES, scratch, "nominal", on_frame=truth.append)
        job = resolve_job(str(dataset.stream))
        sample = Sample(Worker(job), SAMPLE_FRAMES)
        draw_background(sample, truth, folder / "background.png")
        model = learn_model(sample, job.settings)
        draw_decoys(check_model(sample, model, job.settings), str(folder / "decoys.png"), force=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

"""When a reflection's own ring overrules the frame's surface, and when its pixels widen sigma."""

import numpy as np
import pytest

from waterbg.background.local import judge_by_rings
from waterbg.background.masks import Pixels, stencil
from waterbg.predict import SPOT

LEVEL, SIZE = 20.0, 41
CENTRE = SIZE // 2


def pixels_of(counts):
    """The pixels of one good panel."""
    shape, first = np.array([[SIZE, SIZE]]), np.array([0, SIZE * SIZE])
    return Pixels(
        counts.astype(np.float32).ravel(), np.ones(1, np.float32), np.zeros(counts.size, np.uint8), first, shape
    )


def judged(lift, disc=0.0, tau2=1e-6):
    """What the ring says of a surface of 20 photons, when its pixels have ``lift(j, i)`` more, in photons."""
    rng = np.random.default_rng(3)
    j, i = np.mgrid[0:SIZE, 0:SIZE] - CENTRE
    mean = LEVEL + np.where(i * i + j * j > 16, np.vectorize(lift)(j, i), disc)
    counts = rng.poisson(mean).astype(float)
    spots = np.zeros(1, SPOT)
    spots["fs"] = spots["ss"] = CENTRE + 0.5
    found = judge_by_rings(
        pixels_of(counts), spots, *stencil((3.0, 5.0, 9.0)),
        np.full((1, 19, 19), LEVEL, np.float32), np.ones(1), 1.0, 0.0, np.array([tau2]),
    )  # fmt: skip
    return {name: value[0] for name, value in found._asdict().items()}


@pytest.mark.parametrize("lift", [-12.0, 15.0, 60.0])
def test_a_ring_that_is_far_off_everywhere_is_believed(lift):
    found = judged(lambda j, i: lift)
    assert found["doubted"]
    assert found["shrunk"] == pytest.approx(1 + lift / LEVEL, abs=0.08)
    assert found["rough"] == 1


def test_a_ring_that_is_a_little_off_is_not():
    found = judged(lambda j, i: 2.0)
    assert not found["doubted"]
    assert found["shrunk"] == pytest.approx(1, abs=0.01)


def test_a_ring_that_is_off_on_one_side_is_not():
    """A spot that lies beside its place lifts the most of its ring, but not all."""
    found = judged(lambda j, i: 15.0 if i > 0 else 0.0)
    assert found["scale"] > 1.3
    assert not found["doubted"]


def test_a_ring_of_which_only_the_mean_is_off_is_not():
    """Spots that are in no list do that."""
    found = judged(lambda j, i: 20.0 if (5 * j + 3 * i) % 11 < 2 else 0.0)
    assert (found["scale"] - 1) ** 2 > 49 * found["variance"]
    assert not found["doubted"]


def test_a_ring_that_is_lifted_by_the_tails_of_a_strong_spot_is_not():
    assert judged(lambda j, i: 15.0, disc=30.0)["doubted"]
    assert not judged(lambda j, i: 15.0, disc=200.0)["doubted"]


def arcs(j, i):
    return 80.0 if j % 3 == 0 else 0.0


def test_a_rough_ring_widens_sigma():
    assert judged(lambda j, i: 0.0)["rough"] == 1
    found = judged(arcs)
    assert found["rough"] > 4
    assert found["shrunk"] == pytest.approx((LEVEL + 80 / 3) / LEVEL, abs=0.3)  # as there will be arcs under the spot


def test_a_few_bright_pixels_or_the_tails_of_a_strong_spot_do_not():
    assert judged(lambda j, i: 80.0 if (2 * j + 3 * i) % 10 == 0 else 0.0)["rough"] < 1.6
    assert judged(arcs, disc=1000.0)["rough"] == 1


@pytest.mark.parametrize(("level", "wrong"), [(0.01, False), (0.05, False), (0.3, True)])
def test_a_ring_without_a_count_beats_only_a_surface_that_is_certainly_wrong(level, wrong):
    spots = np.zeros(1, SPOT)
    spots["fs"] = spots["ss"] = CENTRE + 0.5
    found = judge_by_rings(
        pixels_of(np.zeros((SIZE, SIZE))), spots, *stencil((3.0, 5.0, 9.0)),
        np.full((1, 19, 19), level, np.float32), np.ones(1), 1.0, 3e-5, np.array([1e-4]),
    )  # fmt: skip
    assert (found.misfit[0] > 25) == wrong

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterbg.local_maxima import find_local_maxima


def find_slowly(image, threshold):
    """Flood fill, pixel by pixel."""
    n_rows, n_columns = image.shape
    seen = np.zeros(image.shape, bool)
    found = []
    for start in np.ndindex(image.shape):
        if seen[start] or not image[start] > threshold:
            continue
        patch, todo, top = [], [start], True
        seen[start] = True
        while todo:
            i, j = todo.pop()
            patch.append((i, j))
            for a in range(max(0, i - 1), min(n_rows, i + 2)):
                for b in range(max(0, j - 1), min(n_columns, j + 2)):
                    top &= not image[a, b] > image[start]
                    if image[a, b] == image[start] and not seen[a, b]:
                        seen[a, b] = True
                        todo.append((a, b))
        if top:
            middle = np.mean(patch, axis=0)
            found.append(min(patch, key=lambda p: (((p - middle) ** 2).sum(), p)))
    return sorted(found)


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    levels=st.integers(1, 6),
    threshold=st.integers(-1, 3),
)
def test_local_maxima_agree_with_a_flood_fill_on_flat_and_rough_images(seed, shape, levels, threshold):
    image = np.random.default_rng(seed).integers(0, levels, shape)
    assert [tuple(p) for p in find_local_maxima(image, threshold).tolist()] == find_slowly(image, threshold)


def test_a_saturated_spot_is_one_peak_at_its_middle():
    image = np.zeros((20, 20), np.uint16)
    image[5:10, 7:12] = 65535
    assert find_local_maxima(image, 100).tolist() == [[7, 9]]


def test_not_a_number_is_no_peak_and_hides_none():
    image = np.zeros((5, 5))
    image[2, 2], image[2, 3] = 9, np.nan
    assert find_local_maxima(image, 1).tolist() == [[2, 2]]


def test_a_noisy_broad_spot_counts_once_and_its_neighbour_stays():
    rng = np.random.default_rng(1)
    i, j = np.mgrid[:40, :50]
    mean = sum(500 * np.exp(-((i - 12) ** 2 + (j - at) ** 2) / 50) for at in (12, 36))
    image = rng.poisson(mean)
    many = find_local_maxima(image, 200)
    few = find_local_maxima(image, 200, min_distance=8)
    assert len(many) > 2
    assert len(few) == 2
    assert np.abs(few[few[:, 1].argsort()] - [[12, 12], [12, 36]]).max() <= 3


@pytest.mark.parametrize("image", [np.zeros((0, 5)), np.zeros((4, 4)), np.full((3, 3), np.nan)])
def test_an_image_without_peaks_gives_an_empty_list_of_pairs(image):
    found = find_local_maxima(image, 0)
    assert found.shape == (0, 2)
    assert found.dtype == np.int64


def test_a_flat_image_of_a_million_pixels_is_one_peak():
    assert find_local_maxima(np.ones((1001, 1001), np.int32), 0).tolist() == [[500, 500]]

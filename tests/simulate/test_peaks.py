import numpy as np
import pytest

from waterbg.simulate import preset, simulate_frame
from waterbg.simulate.peaks import find_peaks, peak_resolution, resolution_limit

SMALL = preset("small")


def test_peaks_are_the_strong_reflections_at_their_true_places():
    frame = simulate_frame(SMALL, 0)
    peaks = find_peaks(SMALL, frame)
    assert 100 < len(peaks) < len(frame.spots) / 2
    for peak in peaks[::10]:
        spots = frame.spots[frame.spots["panel"] == peak["panel"]]
        distance = np.hypot(spots["fs_true"] - peak["fs"], spots["ss_true"] - peak["ss"])
        spot = spots[distance.argmin()]
        assert distance.min() < 1.0
        assert peak["inv_d"] == pytest.approx(10 / spot["d"], abs=0.06)


def test_the_resolution_limit_leaves_out_the_outermost_peaks():
    frame = simulate_frame(SMALL, 0)
    peaks = find_peaks(SMALL, frame)
    ordered = np.sort(peaks["inv_d"])
    assert peak_resolution(peaks) == ordered[-1 - len(peaks) // 50]
    limit = resolution_limit(SMALL, frame, peaks, frame.pulse.crystals[0].axes)
    assert limit == pytest.approx(peak_resolution(peaks), abs=0.1)


def test_few_peaks_give_no_resolution():
    frame = simulate_frame(SMALL, 0)
    peaks = find_peaks(SMALL, frame)
    assert peak_resolution(peaks[:0]) == 0
    assert peak_resolution(peaks[:5]) == peaks[:5]["inv_d"].max()
    assert resolution_limit(SMALL, frame, peaks[:2], frame.pulse.crystals[0].axes) == 0


def test_a_blank_frame_has_no_peaks():
    experiment = SMALL.replace(crystals=[0, 0])
    assert len(find_peaks(experiment, simulate_frame(experiment, 0))) == 0

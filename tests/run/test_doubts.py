"""What the summary says against the geometry."""

from tests.background.worlds import detector
from waterbg.background import Noise
from waterbg.integrate.positions import PositionMap
from waterbg.integrate.shapes import Spots
from waterbg.model import RunModel
from waterbg.run.doubts import doubt_learning, doubts, verdict
from waterbg.settings import Settings
from waterbg.subtract import Tally

DETECTOR = detector(rows=2, columns=3)


def test_a_run_that_agrees_with_its_geometry_is_not_doubted():
    panels = ((0.3, 0.3), *((0.0, 0.0),) * 5)
    assert doubts(RunModel(frames=3, spots=Spots(map=PositionMap(panels=panels))), DETECTOR) == []
    assert doubts(RunModel(noise=Noise(gain=0.2)), DETECTOR) == []  # the defaults, or somebody's idea


def test_pixels_that_scatter_otherwise_are_named():
    for gain in (0.21, 2.5):
        (said,) = doubts(RunModel(frames=3, noise=Noise(gain=gain)), DETECTOR)
        assert said.startswith(f"the variance of pixels is {gain:.2f} of what adu_per_photon says")


def test_a_level_without_light_that_drifts_is_told_from_a_wrong_calibration():
    noise = Noise(gain=0.3, per_photon=(1.0,) * 5 + (1.4,), drift=0.84)
    (said,) = doubts(RunModel(frames=3, noise=noise), DETECTOR)
    assert said.startswith("the level without light drifts from frame to frame by 0.8 photons")
    (said,) = doubts(RunModel(frames=3, noise=Noise(per_photon=(0.3,) * 6)), DETECTOR)
    assert said.startswith("the variance of pixels is 0.30 of what adu_per_photon says")
    assert doubts(RunModel(frames=3, noise=Noise(per_photon=(1.0,) * 6, drift=0.05)), DETECTOR) == []


def test_faulty_pixels_are_counted_where_they_are_worth_a_mask():
    (said,) = doubts(RunModel(frames=3, faulty="17 1000-1399"), DETECTOR)
    assert said == "401 pixels are wrong in all frames, and are left out: a mask should say so"
    assert doubts(RunModel(frames=3, faulty="17 1000-1009"), DETECTOR) == []


def test_a_detector_that_is_elsewhere_is_told_beyond_what_is_usual():
    for shift, said in ((0.9, []), (1.6, ["the detector is 1.6 px from where the geometry has it"])):
        spots = Spots(map=PositionMap(coefficients=((0.0, -shift), (3.0, 0.0), (0.0, 3.0))))
        assert [line.partition(" (")[0] for line in doubts(RunModel(frames=3, spots=spots), DETECTOR)] == said


def test_panels_that_are_elsewhere_are_named_the_farthest_first():
    panels = ((0.6, 0.0), (0.0, -1.5), (0.0, 0.1), (0.9, 0.0), (2.0, 0.0), (0.0, 0.7))
    (said,) = doubts(RunModel(frames=3, spots=Spots(map=PositionMap(panels=panels))), DETECTOR)
    assert "p4 by 2.0 px, p1 by 1.5 px, p3 by 0.9 px and 2 more" in said


def test_numbers_by_what_no_frame_has_shown_are_doubted():
    (said,) = doubt_learning(RunModel(), Tally(integrated=3))
    assert said.startswith("the run's model was learnt from no frame")
    assert doubt_learning(RunModel(), Tally()) == []  # no number depends on it
    assert doubt_learning(RunModel(frames=1), Tally(integrated=3)) == []


def test_a_model_that_was_learnt_with_other_options_is_said_to_be():
    def said(settings, learnt_with, is_given=True):
        return verdict(RunModel(options=" ".join(learnt_with.as_options())), is_given, settings)

    usual, ring = Settings(), Settings(background="ring")
    (line,) = said(ring, usual)
    assert "those of --integration=profile --background=water" in line
    (line,) = said(usual, Settings(decoys=False))
    assert "--no-decoys: leave out --model" in line
    assert said(usual, Settings(push_res=2.0)) == said(usual, usual) == []  # what is predicted changes neither
    assert said(ring, usual, is_given=False) == []
    assert said(Settings(decoys=False), usual) == []  # neither is used
    assert verdict(RunModel(), True, ring) == []  # nobody knows

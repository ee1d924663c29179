"""The background under reflections: estimators behind one contract."""

from waterbg.background.estimate import BackgroundEstimate, Estimator, Noise, Trust
from waterbg.background.estimators import frame_rays, make_estimator

__all__ = ["BackgroundEstimate", "Estimator", "Noise", "Trust", "frame_rays", "make_estimator"]

"""What a run teaches, and what is done to each of its frames with it."""

from waterbg.model.calibrate import check_model
from waterbg.model.frame import FrameReport, process_frame
from waterbg.model.learn import SAMPLE_FRAMES, learn_model
from waterbg.model.quality import Quality
from waterbg.model.run_model import RunModel

__all__ = ["SAMPLE_FRAMES", "FrameReport", "Quality", "RunModel", "check_model", "learn_model", "process_frame"]

"""What people look at after a run: curves and one self-contained page, made from the run folder alone."""

from sceneparse.report.curves import write_curves
from sceneparse.report.html import write_report

__all__ = ["write_curves", "write_report"]

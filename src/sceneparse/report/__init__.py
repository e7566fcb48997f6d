"""What people look at: curves and one self-contained page of a run, text and contact sheet of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sceneparse.report.curves import write_curves as write_curves
    from sceneparse.report.html import write_report as write_report

__all__ = ["write_curves", "write_report"]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: ``sceneparse check`` needs neither curves nor pages."""
    if name == "write_curves":
        from sceneparse.report.curves import write_curves

        return write_curves
    if name == "write_report":
        from sceneparse.report.html import write_report

        return write_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

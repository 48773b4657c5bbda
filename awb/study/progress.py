"""Earlier home of `ScheduleState`, under which pickles of it were written."""

from awb.study.schedule_state import Epoch, ScheduleState

__all__ = ["Epoch", "ScheduleState"]

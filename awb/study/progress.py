"""Earlier module of `ScheduleState`; old pickles refer to it."""

from awb.study.schedule_state import Epoch, ScheduleState

__all__ = ["Epoch", "ScheduleState"]

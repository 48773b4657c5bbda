"""Peak memory of one run: what PyTorch allocates, its operators' scratch memory included."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_allocated_mb(run: Callable[[], object]) -> float:
    """The most that was allocated at one time during a run on the CPU, less what was there before, MB.

    The resident memory of the process is more by what lies idle in the allocator's heap.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    results = profiler.profiler
    assert results is not None
    events = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    allocated = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        peak = max(peak, allocated)
    return peak / 1e6

"""Peak memory of one run, as PyTorch allocates it, with its operators' scratch memory."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_allocated_mb(run: Callable[[], object]) -> float:
    """Peak allocation during a run on the CPU above what was allocated before, in MB.

    The resident memory of the process is larger by the free memory in the allocator's heap.
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

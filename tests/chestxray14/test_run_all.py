"""Jobs in worker processes: one that is killed leaves its other jobs to the others."""

import multiprocessing
import os
import signal
import time

import pytest

import awb
from examples.chestxray14.child_processes import describe_end
from examples.chestxray14.workers import WorkersKilledError, run_all


def end_in_some_way(job: str | int) -> str | int:
    """A whole number is done; a name is that of a signal, and `exit` a process that ends by itself."""
    if job == "exit":
        os._exit(7)
    if isinstance(job, str):
        os.kill(os.getpid(), signal.Signals[job])
    return job


def fail_at_three(number: int) -> int:
    if number == 3:
        raise awb.AWBError("three")
    if number > 3:
        time.sleep(300)
    return number


@pytest.mark.slow
def test_killed_processes_leave_all_other_jobs_to_the_others() -> None:
    done: list[str | int] = []
    with pytest.raises(WorkersKilledError) as caught:  # noqa: PT012
        for result in run_all(end_in_some_way, [0, "SIGKILL", 1, "SIGSEGV", 2, "exit", 3, 4], 2):
            done.append(result)
    assert sorted(map(str, done)) == ["0", "1", "2", "3", "4"]
    assert {one.job: one.how for one in caught.value.killed} == {
        "SIGKILL": "was killed by SIGKILL, perhaps for want of memory",
        "SIGSEGV": "was killed by SIGSEGV",
        "exit": "ended with exit code 7",
    }
    assert str(caught.value).startswith("3 worker processes ended within a job (was killed by SIG")
    assert "run the same command again, and it goes on; with fewer processes" in str(caught.value)


@pytest.mark.slow
def test_what_a_job_raises_ends_the_others_and_shows_where_it_was() -> None:
    with pytest.raises(awb.AWBError, match="three") as caught:
        list(run_all(fail_at_three, [2, 3, 4, 5, 6], 2))
    assert "in fail_at_three" in str(caught.value.__cause__)
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_caller_that_has_had_enough_leaves_no_process() -> None:
    results = run_all(fail_at_three, [2, 4, 5], 2)
    assert next(results) == 2
    results.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_no_jobs_are_no_processes() -> None:
    assert list(run_all(fail_at_three, [], 2)) == []


def test_an_end_is_said_in_words() -> None:
    assert describe_end(-signal.SIGTERM) == "was killed by SIGTERM"
    assert describe_end(-200) == "was killed by signal 200"
    assert describe_end(128 + signal.SIGTERM) == "was killed by SIGTERM"
    assert describe_end(1) == "ended with exit code 1"


def where(number: int) -> tuple[int, int]:
    return number, os.getpid()


def test_one_of_several_may_be_this_process() -> None:
    found = dict(run_all(where, range(200), 2, one_here=True))
    assert sorted(found) == list(range(200))
    assert os.getpid() in found.values()
    with pytest.raises(awb.AWBError, match="three"):
        list(run_all(fail_at_three, [3, 2, 1, 0], 2, one_here=True))

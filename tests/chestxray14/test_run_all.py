"""Jobs in worker processes: what one that is killed leaves to the others, and which GPU each has."""

import multiprocessing
import os
import signal
import time

import pytest

import awb
from examples.chestxray14.reproduction.devices import device_of_slot, use_device_of_slot, visible_devices
from examples.chestxray14.workers import WorkersKilledError, describe_end, run_all


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


def device(number: int) -> str | None:
    time.sleep(0.5)  # so that no process does all
    return os.environ.get("CUDA_VISIBLE_DEVICES")


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
    assert describe_end(1) == "ended with exit code 1"


def test_each_slot_has_a_device_and_each_device_as_many_slots_as_any_other() -> None:
    assert [device_of_slot(slot, ["0", "1", "2"]) for slot in range(5)] == ["0", "1", "2", "0", "1"]
    assert device_of_slot(3, ["GPU-8f"]) == "GPU-8f"


@pytest.mark.slow
def test_workers_share_the_visible_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8f, 5")
    assert set(run_all(device, range(6), 2, use_device_of_slot)) == {"GPU-8f", "5"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-8f, 5"


@pytest.mark.parametrize(
    ("named", "slot", "used"), [("4", 1, "4"), ("", 1, ""), ("0,1,2", 4, "1"), ("MIG-1,MIG-2", 1, "MIG-2")]
)
def test_what_is_hidden_stays_hidden(named: str, slot: int, used: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    use_device_of_slot(slot)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == used


def test_without_a_list_the_machine_s_gpus_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices() == [str(i) for i in range(torch.cuda.device_count())]

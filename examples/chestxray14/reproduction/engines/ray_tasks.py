"""Engine for one or many machines: Ray runs the tasks, and again those whose process or machine is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from awb.errors import AWBError
from examples.chestxray14.files.locks import is_locked
from examples.chestxray14.reproduction.engines.task import RESTARTS, Outcome, Task, lock_of, run_task

_LOOKED_AFTER = 1.0  # seconds between two looks at which tasks have begun
_OBJECT_STORE = 80 * 2**20  # bytes; Ray's least is 75 MiB, and all that tasks send is a recipe and an outcome
# read when Ray is imported, and so set before that
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # its reports of usage
    "RAY_task_oom_retries": str(RESTARTS),  # after tasks that ran out of memory: by default without end
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the coming default, and no warning
}


class RayEngine:
    """Tasks in the processes of a Ray cluster.

    A task takes one GPU where machines have any, and so many cores that `jobs` tasks share a machine.

    Args:
        jobs: Number of tasks at once on each machine; by default one per GPU, or one.
        address: Address of the cluster, `auto` for the one on this machine; by default one is started here, for this
            driver.
        say: Called with a line when a task begins.

    Raises:
        AWBError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(
        self, jobs: int | None = None, address: str | None = None, say: Callable[[str], object] = print
    ) -> None:
        self._say = say
        os.environ.update(_ENVIRONMENT)
        try:
            import ray
        except ImportError:
            raise AWBError("--engine ray needs the package ray: pip install 'awb[ray]'; or --engine local") from None
        self._ray = ray
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        here: dict[str, Any] = {"address": "local", "include_dashboard": False, "object_store_memory": _OBJECT_STORE}
        try:
            ray.init(**quiet, **(here if address is None else {"address": address}))
        except (ConnectionError, ValueError, ray.exceptions.RayError) as error:
            raise AWBError(f"no Ray cluster at {address or 'this machine'}: {error}") from None
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        self._remote = ray.remote(run_task).options(max_retries=RESTARTS, **share(machines, jobs))
        self._tasks: dict[Any, Task] = {}
        self._begun: set[str] = set()

    def submit(self, task: Task) -> None:
        self._tasks[self._remote.remote(task)] = task

    def results(self) -> Iterator[Outcome]:
        while self._tasks:
            ended, _ = self._ray.wait(list(self._tasks), timeout=_LOOKED_AFTER)
            self._say_begun()
            for one in ended:
                name = self._tasks.pop(one).name
                try:
                    outcome = self._ray.get(one)
                except self._ray.exceptions.RayError as error:  # killed too often, or it could not be sent
                    outcome = Outcome(name, failure=f"lost by Ray after {RESTARTS} restarts: {error}")
                yield outcome

    def close(self) -> None:
        self._tasks.clear()
        self._ray.shutdown()

    def _say_begun(self) -> None:
        """Say which tasks have begun, wherever Ray runs them: their locks are held."""
        for task in self._tasks.values():
            if task.name not in self._begun and is_locked(lock_of(task.logs, task.name)):
                self._begun.add(task.name)
                self._say(f"{task.name}: begins")


def share(machines: Sequence[Mapping[str, float]], jobs: int | None = None) -> dict[str, int]:
    """Resources of one task, so that `jobs` of them fit on the smallest machine.

    Args:
        machines: `CPU` and `GPU` of each, as Ray counts them. If some have GPUs, the others are not used.
        jobs: Number of tasks at once on each machine; by default one per GPU, or one.

    Returns:
        `num_gpus` and `num_cpus`, at least 1.
    """
    used = [machine for machine in machines if machine.get("GPU", 0) >= 1] or machines
    gpus = int(min(machine.get("GPU", 0) for machine in used))
    cores = int(min(machine.get("CPU", 0) for machine in used))
    return {"num_gpus": min(gpus, 1), "num_cpus": max(1, cores // (jobs or gpus or 1))}

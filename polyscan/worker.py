"""Runs one shard: computes its tables, writes them, and returns a receipt or a failure."""

from __future__ import annotations

import importlib
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from polyscan.errors import JobError
from polyscan.inputs import pinned_threads
from polyscan.job import Job
from polyscan.run import Done, Run
from polyscan.shards import Failure, Outcome, Receipt, Shard, Work
from polyscan.vision.devices import cpu_kind
from polyscan.vision.memory import free_memory, is_out_of_memory


@dataclass
class ShardWorker:
    """Runs the shards of one stage in one process: makes the stage's `Worker` at first use, and never raises.

    Failures are returned; the driver writes their records, and also notices if a worker dies.

    If memory runs out, the stage's `Worker` is made again with half the batch size, which it keeps. Its results are
    then equal up to rounding, and their records give the batch size.

    It is sent to other processes as these few plain values; heavy objects are loaded there.

    Args:
        stage: its name.
        module: name of the module that defines its `Worker`.
        batches: groups of the job whose `batch` is halved.
        job: the settings.
        address: of the run.
        fingerprint: of the stage.
    """

    stage: str
    module: str
    batches: tuple[str, ...]
    job: Job
    address: str
    fingerprint: str
    _worker: Any = field(default=None, repr=False)
    _run: Run | None = field(default=None, repr=False)
    _batch: dict[str, int] = field(default_factory=dict[str, int], repr=False)

    def __call__(self) -> Work:
        """The function that runs a shard; a runner calls this once per worker."""
        return self.work

    def work(self, shard: Shard) -> Outcome:
        """Runs one shard: computes, then writes."""
        try:
            run = self._run = self._run or Run(self.address)
            done = run.ledger.done_record(shard)
            if done is None or done.fingerprint != self.fingerprint:  # else a worker died after writing the shard
                done = self._traced(shard, run)
        except (Exception, SystemExit) as error:  # whatever fails in one shard, the others go on
            cause = str(error) if isinstance(error, JobError) else f"{type(error).__name__}: {error}"
            return Failure(shard, cause, traceback.format_exc(), is_job_error=isinstance(error, JobError))
        return Receipt(shard, done.rows, done.seconds, done.batch, done.cpu)

    def _traced(self, shard: Shard, run: Run) -> Done:
        """Runs a shard, and leaves a trace for `status` while it is running."""
        run.ledger.note_running(shard)
        try:
            return self._done(shard, run)
        finally:
            run.ledger.forget_running(shard)

    def _done(self, shard: Shard, run: Run) -> Done:
        """Computes and writes a shard, with as large a batch as fits into memory."""
        started = time.perf_counter()
        while True:
            try:
                columns = self._computed(shard, run)
                break
            except RuntimeError as error:
                if not is_out_of_memory(error) or not self._halve():
                    raise
            # Only here, after the except block, are the error's frames gone, and with them what filled the memory.
            free_memory()
        seconds = time.perf_counter() - started
        fingerprint, batch = self.fingerprint, self._batch
        return run.write(shard, columns, fingerprint=fingerprint, seconds=seconds, batch=batch, cpu=cpu_kind())

    def _computed(self, shard: Shard, run: Run) -> Mapping[str, Any]:
        with pinned_threads(self.job):
            if self._worker is None:
                free_memory()  # of the process's last stage
                self._worker = importlib.import_module(self.module).Worker(with_batches(self.job, self._batch), run)
                free_memory()
            return self._worker(shard)

    def _halve(self) -> bool:
        """Drops the worker, to make one with half the batch; False if the batch is 1 already."""
        job = with_batches(self.job, self._batch)
        before = {f"{group}.batch": getattr(job, group).batch for group in self.batches}
        self._worker = None
        self._batch = {name: max(1, size // 2) for name, size in before.items()}
        return self._batch != before


def with_batches(job: Job, sizes: Mapping[str, int]) -> Job:
    """The job with other batch sizes, by setting, as in `{"collect.batch": 16}`."""
    groups = {name.removesuffix(".batch"): size for name, size in sizes.items()}
    return job.model_copy(update={g: getattr(job, g).model_copy(update={"batch": n}) for g, n in groups.items()})

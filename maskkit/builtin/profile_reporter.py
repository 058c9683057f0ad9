"""The reporter behind `--profile`: where the time of a step goes."""

import os
from pathlib import Path

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it prints errors where there is no GPU; read when it is loaded

from torch.profiler import profile, schedule

from maskkit import Reporter, RunEnd, RunStart, StepEnd, replacing
from maskkit.errors import UsageError

__all__ = ["ProfileReporter"]

_NUM_OPERATIONS = 30


class ProfileReporter(Reporter):
    """Records some steps with torch's profiler: a trace for Perfetto or chrome://tracing, and a table of operations.

    Both lie in the folder `profile` of the run: trace.json and operations.txt. What is recorded are whole steps, their
    wait for images included; recording makes them somewhat slower.

    first: the first step to record, counted from 1 where the run begins or goes on; the one before warms up.
    steps: how many, or fewer when the run ends.

    Raises:
        UsageError: there is no such step.
    """

    def __init__(self, *, first: int = 6, steps: int = 5) -> None:
        if first < 2 or steps < 1:
            raise UsageError(
                f"the reporter profile cannot record {steps} steps from step {first} on",
                hint="It takes first=2 or more, steps=1 or more.",
            )
        self._first, self._steps = first, steps
        self._profiler: profile | None = None
        self._folder = Path()
        self._is_written = self._is_on_gpu = False

    def on_run_start(self, run: RunStart) -> None:
        self._folder = run.run_dir / "profile"
        self._is_on_gpu = run.plan.get("device", "").startswith("cuda")
        plan = schedule(wait=self._first - 2, warmup=1, active=self._steps, repeat=1)
        self._profiler = profile(schedule=plan, on_trace_ready=self._write)
        self._profiler.start()

    def on_step_end(self, _: StepEnd) -> None:
        if self._profiler is not None:
            self._profiler.step()
            if self._is_written:
                self._stop()

    def on_run_end(self, _: RunEnd) -> None:
        self._stop()
        if not self._is_written:
            print(f"profile: nothing is recorded, since the run ended before step {self._first}")

    def _stop(self) -> None:
        if self._profiler is not None:
            profiler, self._profiler = self._profiler, None
            profiler.stop()

    def _write(self, profiler: profile) -> None:
        """Write what was recorded, the operations that took longest themselves first."""
        order = "self_device_time_total" if self._is_on_gpu else "self_cpu_time_total"
        table = profiler.key_averages().table(sort_by=order, row_limit=_NUM_OPERATIONS, max_name_column_width=60)
        trace = self._folder / "trace.json"
        with replacing(trace) as temporary:
            profiler.export_chrome_trace(str(temporary))
        with replacing(self._folder / "operations.txt") as temporary:
            temporary.write_text(table, encoding="utf-8")
        self._is_written = True
        print(f"wrote {trace}, for https://ui.perfetto.dev\nwrote {self._folder / 'operations.txt'}")

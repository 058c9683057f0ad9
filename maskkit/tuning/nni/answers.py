"""What the manager of NNI answers, as trials."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from maskkit.tuning.nni.trial import parameters_as_flags
from maskkit.tuning.trials import Trial

__all__ = ["read_trials"]


def read_trials(jobs: Iterable[Mapping[str, Any]], metrics: Iterable[Mapping[str, Any]], now: float) -> list[Trial]:
    """Return the trials from the answers of NNI's API to trial-jobs and metric-data, in order; `now` is in seconds."""
    scores: dict[str, list[float]] = {}
    finals: dict[str, float] = {}
    for one in sorted(metrics, key=lambda one: int(one["sequence"])):
        value = float(json.loads(one["data"]))
        if one["type"] == "FINAL":
            finals[one["trialJobId"]] = value
        else:
            scores.setdefault(one["trialJobId"], []).append(value)
    trials = []
    for job in jobs:
        start, end = job.get("startTime"), job.get("endTime", now * 1000)  # in milliseconds
        parameters = json.loads(job["hyperParameters"][0])["parameters"] if job.get("hyperParameters") else {}
        trials.append(
            Trial(
                id=job["trialJobId"],
                number=int(job["sequenceId"]),
                status=job["status"],
                flags=parameters_as_flags(parameters),
                scores=tuple(scores.get(job["trialJobId"], ())),
                final=finals.get(job["trialJobId"]),
                seconds=None if start is None else (end - start) / 1000,
            )
        )
    return sorted(trials, key=lambda trial: trial.number)

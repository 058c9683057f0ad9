"""The records of TensorBoard's HParams plugin, which compares the flags of runs beside the figures they reached.

TensorBoard takes the columns of all runs from the first that it finds, so each run has the same columns of the same
types, whatever its values are: numbers for the flags that are numbers, and text for all others.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

__all__ = ["end_summary", "start_summaries"]

# Where and how a run works, which changes nothing of what it learns.
_LEFT_OUT = {"data_dir", "device", "eval_dir", "log_interval", "model_dir", "name", "num_workers", "reporters"}
_LEFT_OUT |= {"on_bad_image", "resume", "valid_batch_size"}
_NUMBERS = {
    "accumulate",
    "batch_size",
    "clip_norm",
    "ema_decay",
    "epochs",
    "first_layer_lr",
    "freeze_epochs",
    "label_smoothing",
    "lr",
    "lr_decay_step",
    "mix_probability",
    "oversample_old",
    "patience",
    "seed",
    "val_ratio",
    "weight_decay",
}
_FIRST = {"augmentation", "batch_size", "criterion", "lr", "model"}  # of so many, TensorBoard shows five unasked
_MAX_LENGTH = 60


def start_summaries(config: Mapping[str, Any], metrics: Iterable[str]) -> Iterator[Summary]:
    """Yield the columns of all runs, `metrics` being tags of scalars, and this run's values in them."""
    values = {name: value for name, value in config.items() if name not in _LEFT_OUT}
    number, text = api_pb2.DATA_TYPE_FLOAT64, api_pb2.DATA_TYPE_STRING
    experiment = api_pb2.Experiment(
        hparam_infos=[
            api_pb2.HParamInfo(name=name, type=number if name in _NUMBERS else text, differs=name in _FIRST)
            for name in values
        ],
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics],
    )
    session = SessionStartInfo(start_time_secs=time.time())
    for name, value in values.items():
        if name not in _NUMBERS:
            session.hparams[name].string_value = _short(value)
        elif isinstance(value, int | float):  # and not None or a word such as auto
            session.hparams[name].number_value = value
    yield _summary(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))
    yield _summary(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=session))


def end_summary(*, is_success: bool) -> Summary:
    """Return the record of how and when a run ended."""
    status = api_pb2.STATUS_SUCCESS if is_success else api_pb2.STATUS_FAILURE
    info = SessionEndInfo(status=status, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))


def _short(value: object) -> str:
    """Return a value as text, the JSON of what is none, and nothing for what is empty."""
    if value is None or value in ({}, []):
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"


def _summary(tag: str, content: HParamsPluginData) -> Summary:
    about = metadata.create_summary_metadata(content)
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)])

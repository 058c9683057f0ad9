"""The names of timm's models, and what each says of its pretraining."""

import warnings

import timm
from timm.models import PretrainedCfg, get_deprecated_models, get_pretrained_cfg

from maskkit.errors import UnknownNameError, nearest

__all__ = ["config_of", "warn_of_other_statistics", "with_weights"]


def config_of(name: str) -> PretrainedCfg:
    """Return what timm knows of a model's pretraining: its weights, mean, std and input size.

    Raises:
        UnknownNameError: timm lists no such model; it is no way to a file or to a stranger's repository.
    """
    known = {*timm.list_models(), *timm.list_models(include_tags=True)}
    if name not in known:
        raise UnknownNameError(f"timm {timm.__version__} has no model {name!r}", hint=_advice(name, known))
    return get_pretrained_cfg(name) or PretrainedCfg()


def with_weights(name: str) -> list[str]:
    """Return the names, with their tags, under which timm has weights of a model."""
    return timm.list_pretrained(f"{_architecture(name)}.*")


def warn_of_other_statistics(name: str, config: PretrainedCfg) -> None:
    """Warn where a name without a tag leaves it to the installed timm how images are normalised."""
    others = (config_of(other) for other in with_weights(name))
    if name == _architecture(name) and any((other.mean, other.std) != (config.mean, config.std) for other in others):
        warnings.warn(
            f"{name} stands for {name}.{config.tag} in timm {timm.__version__}, and others of its weights are"
            " normalised in another way; write the tag too, so that the run means the same with any timm",
            stacklevel=2,
        )


def _architecture(name: str) -> str:
    return name.partition(".")[0]


def _advice(name: str, known: set[str]) -> str:
    renamed = get_deprecated_models().get(_architecture(name))
    near = renamed or nearest(name, known) or nearest(_architecture(name), known)
    question = f"Did you mean {near}?\n" if near else ""
    return f"""{question}All: python -c "import timm; print(*timm.list_models('*'), sep='\\n')\""""

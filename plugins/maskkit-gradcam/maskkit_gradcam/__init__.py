"""Heat maps that show what a trained run looks at; what is heavy is imported when the command runs."""

from collections.abc import Iterable

from maskkit import Component, hookimpl


@hookimpl
def maskkit_commands() -> Iterable[Component]:
    yield Component(
        name="explain",
        target="maskkit_gradcam.commands:explain",
        summary="Draw over photos where a trained run found its answers.",
    )

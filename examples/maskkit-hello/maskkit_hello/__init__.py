"""A plugin of one loss; torch is imported only when the loss is used."""

from collections.abc import Iterable

from maskkit import Component, hookimpl


@hookimpl
def maskkit_losses() -> Iterable[Component]:
    yield Component(name="poly1", target="maskkit_hello.losses:Poly1", summary="Cross entropy plus epsilon (1 - p)")

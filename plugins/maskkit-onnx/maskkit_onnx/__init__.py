"""A command for maskkit that writes a trained run as an ONNX file; torch and onnx are imported when it runs."""

from collections.abc import Iterable

from maskkit import Component, hookimpl


@hookimpl
def maskkit_commands() -> Iterable[Component]:
    yield Component(
        name="export-onnx",
        target="maskkit_onnx.command:export_onnx",
        summary="Write a trained run as an ONNX file that gives the same probabilities.",
    )

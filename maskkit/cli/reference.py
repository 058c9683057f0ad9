"""The reference of the hooks in Markdown, made from the code: `python -m maskkit.cli.reference > plugins/HOOKS.md`."""

import ast
import inspect
import textwrap
from itertools import pairwise
from types import ModuleType

from maskkit.cli.catalogue import COMMANDS
from maskkit.flags import flags_of
from maskkit.plugin import contracts, hookspecs
from maskkit.plugin.component import Component
from maskkit.reporting import events
from maskkit.reporting.reporter import Reporter

__all__ = ["COMMAND", "example", "reference"]

COMMAND = "python -m maskkit.cli.reference > plugins/HOOKS.md"

_START = f"""\
# The hooks of maskkit

Made from the code by `{COMMAND}`; the tests run its examples.

{{about}}

A contract is written as a typing Protocol: the factory takes what `__call__` takes, since maskkit passes that, and
whatever other keywords it declares are options of the user's. The types beside torch's and numpy's are maskkit's own:
`help(maskkit.Draws)` tells more of one.

| kind | hook | chosen by | its options | contract |
|---|---|---|---|---|"""


def reference() -> str:
    """Return the whole text: a table of the kinds, then each kind, the record Component and the events of a run."""
    parts = [_START.format(about=inspect.getdoc(hookspecs)), *map(_row, hookspecs.KINDS), ""]
    for kind in hookspecs.KINDS:
        parts += [f"## {kind}", "", *_section(kind)]
    record, *_ = inspect.getsource(Component).split("\n    def ")
    parts += ["## Component", "", *_code(record)]
    parts += ["## Events of a run", "", *_code(inspect.getdoc(events) or "", "text")]
    parts += _code(inspect.getsource(Reporter))
    for name, source in _definitions(events).items():
        parts += [f"### {name}", "", *_code(source)]
    return "\n".join(parts)


def example(kind: str) -> str:
    """Return the module that the docstring of a kind's hook shows."""
    _, _, code = (inspect.getdoc(hookspecs.KINDS[kind]) or "").partition("\nExample:\n")
    return textwrap.dedent(code)


def _row(kind: str) -> str:
    chosen, options = _flags(kind)
    return f"| [{kind}](#{kind}) | `{hookspecs.KINDS[kind].__name__}` | `{chosen}` | {options} | `{_contract(kind)}` |"


def _flags(kind: str) -> tuple[str, str]:
    """Return what is typed to choose a component, and the flag of its options."""
    for command in COMMANDS.values():
        flags = flags_of(command.config)
        for flag in flags.values():
            if flag.kind == kind:
                options = f"{flag.name}_args"
                return f"maskkit {command.name} --{flag.name}=NAME", f"`--{options}`" if options in flags else "none"
    return "maskkit NAME", "flags of its own"


def _contract(kind: str) -> str:
    return "CommandFunction" if kind == "command" else f"{kind.capitalize()}Factory"


def _section(kind: str) -> list[str]:
    """Return what the hook is for, its example, its contract and what else of the contracts that one names."""
    text, *_ = (inspect.getdoc(hookspecs.KINDS[kind]) or "").partition("\nExample:\n")
    return [text, *_code(example(kind)), *_code("\n\n\n".join(_with_named(_contract(kind), _definitions(contracts))))]


def _with_named(name: str, definitions: dict[str, str]) -> list[str]:
    """Return the source of a definition, of those that it names, and of those that these name."""
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop(0)
        found[one] = definitions[one]
        named = {node.id for node in ast.walk(ast.parse(found[one])) if isinstance(node, ast.Name)}
        waiting += [other for other in definitions if other in named and other not in {*found, *waiting}]
    return [*found.values()]


def _definitions(module: ModuleType) -> dict[str, str]:
    """Return the source of each class of a module, and of each value with the text that stands below it."""
    source = inspect.getsource(module)
    found = {}
    for statement, below in pairwise([*ast.parse(source).body, ast.Pass()]):
        if isinstance(statement, ast.ClassDef):
            found[statement.name] = inspect.getsource(getattr(module, statement.name)).rstrip()
        elif isinstance(statement, ast.Assign) and isinstance(below, ast.Expr):
            lines = source.splitlines()[statement.lineno - 1 : below.end_lineno]
            found[ast.unparse(statement.targets[0])] = "\n".join(lines)
    return found


def _code(text: str, language: str = "python") -> list[str]:
    return [f"```{language}", text.rstrip(), "```", ""]


if __name__ == "__main__":
    print(reference(), end="")

"""What users can name: every public name, member and parameter with its type and default, each a line of its own.

Read from the source by griffe; nothing is imported or run. What every object has (`__eq__`, `__repr__`) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import griffe

__all__ = ["facts"]

_Kind = griffe.ParameterKind
_BY_POSITION = {_Kind.positional_only, _Kind.positional_or_keyword}
_STARS = {_Kind.var_positional: "*", _Kind.var_keyword: "**"}
_TOLD_IN_FULL = {"__init__", "__call__"}
_LEFT_OUT = {*dir(object), "__slots__", "__del__"} - _TOLD_IN_FULL


_TOOLS = ("aiohttp", "asgi", "django", "fastapi", "flask", "grpc", "httpx", "httpx2", "litestar", "requests", "stamina")
_TOOLS += ("tenacity",)
_ROOMS = ["", "clients", "health", "problems", "retries", "stores", "stores.memory", "stores.redis"]
_ROOMS += [f"integrations.{tool}" for tool in _TOOLS]
"""The modules that users import from."""


def facts(package: str, root: Path) -> list[str]:
    """One line for each, in the order of the alphabet."""
    whole = griffe.load(package, search_paths=[root])
    found: set[str] = set()
    for room in _ROOMS:
        module = whole[room] if room else whole
        assert isinstance(module, griffe.Module)
        for export in module.exports or ():
            name = str(export)
            thing = module.modules_collection[module.imports.get(name, f"{module.path}.{name}")]
            found |= set(_of(f"{room}.{name}" if room else name, thing))
    return sorted(found)


def _of(name: str, thing: griffe.Object | griffe.Alias) -> Iterator[str]:
    if thing.is_class:
        yield from _of_class(name, thing)
    elif thing.is_function:
        yield from _of_function(name, thing)
    else:
        yield _of_attribute(name, thing)


def _of_class(name: str, thing: griffe.Class) -> Iterator[str]:
    bases = [str(base) for base in thing.bases]
    yield f"class {name}({', '.join(bases)})"
    members = {member: value for member, value in thing.all_members.items() if value.is_public}
    for number, (member, value) in enumerate(members.items(), 1):
        if value.is_attribute and "NamedTuple" in bases:
            yield f"{_of_attribute(f'{name}.{member}', value)}, field {number}"
        elif member not in _LEFT_OUT:
            yield from _of(f"{name}.{member}", value)


def _of_function(name: str, function: griffe.Function) -> Iterator[str]:
    yield f"{name} -> {function.returns}" + "".join(f", {label}" for label in sorted(function.labels))
    if name.endswith("__") and name.rpartition(".")[2] not in _TOLD_IN_FULL:
        return  # Python says what it takes.
    parameters = _without_self(function)
    for number, parameter in enumerate(parameters, 1):
        place = f"{number}. " if parameter.kind in _BY_POSITION else ""
        yield f"{name}({place}{_shown(parameter)}), {parameter.kind.value}"
    for overload in function.overloads or ():
        taken = "; ".join(f"{_shown(parameter)}, {parameter.kind.value}" for parameter in _without_self(overload))
        yield f"{name} overload ({taken}) -> {overload.returns}"


def _without_self(function: griffe.Function) -> list[griffe.Parameter]:
    return [parameter for parameter in function.parameters if parameter.name not in {"self", "cls"}]


def _of_attribute(name: str, attribute: griffe.Attribute) -> str:
    if attribute.annotation is None:
        return f"{name} = {attribute.value}"
    return f"{name}: {attribute.annotation}, {'property' if 'property' in attribute.labels else 'attribute'}"


def _shown(parameter: griffe.Parameter) -> str:
    shown = f"{_STARS.get(parameter.kind, '')}{parameter.name}: {parameter.annotation}"
    if parameter.default is None or parameter.kind in _STARS:
        return shown
    return f"{shown} = {_value(parameter.default)}"


def _value(default: str | griffe.Expr) -> str:
    """A default that is a constant of its module is shown by its value."""
    if isinstance(default, griffe.ExprName) and isinstance(default.parent, griffe.Module):
        constant = default.parent.members.get(default.name)
        if isinstance(constant, griffe.Attribute):
            return str(constant.value)
    return str(default)

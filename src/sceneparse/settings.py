"""Settings: nested frozen dataclasses to and from plain values. Unknown keys and wrong types are errors."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import yaml

from sceneparse.errors import InputError, nearest

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """A dataclass as nested dicts and lists, for YAML and JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {key: to_plain(v) for key, v in value.items()}
    return value


def from_plain(kind: type[T], values: Mapping[str, Any], *, where: str = "") -> T:
    """A dataclass from nested dicts; the inverse of :func:`to_plain`.

    Args:
        kind: the dataclass.
        values: its fields; those left out take their defaults.
        where: dotted name of this part of the settings, for messages.

    Raises:
        InputError: unknown key (the nearest is named), wrong type, or a value the dataclass refuses.
    """
    hints = typing.get_type_hints(kind)
    _check_keys(values, hints, where)
    parsed = {key: _parse(hints[key], value, _dotted(where, key)) for key, value in values.items()}
    return kind(**parsed)


def override(config: T, assignments: Mapping[str, Any]) -> T:
    """The settings with some replaced.

    Args:
        config: a dataclass.
        assignments: dotted name to value; a string is read as YAML, as ``--set optimizer.lr=0.01`` gives it,
            unless the setting is text (paths may hold ``#`` or ``:``, or be a number), which is taken as it
            is but for quotes around it and ``null``.

    Raises:
        InputError: unknown setting (the nearest is named) or a wrong value.
    """
    plain = to_plain(config)
    for dotted, value in assignments.items():
        target, kind, trail = plain, type(config), ""
        *parents, last = dotted.split(".")
        for name in parents:
            hints = typing.get_type_hints(kind)
            _check_keys({name: None}, hints, trail)
            trail, kind = _dotted(trail, name), hints[name]
            if not dataclasses.is_dataclass(kind):
                raise InputError(f"setting {trail!r} has no parts", where=f"--set {dotted}={value}")
            target = target[name]
        hints = typing.get_type_hints(kind)
        _check_keys({last: None}, hints, trail)
        target[last] = _read(value, hints[last], dotted) if isinstance(value, str) else to_plain(value)
    return from_plain(type(config), plain)


def differences(old: Any, new: Any, where: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted names of settings that differ between two dataclasses of one kind, with both values."""
    found: dict[str, tuple[Any, Any]] = {}
    for field in dataclasses.fields(old):
        a, b, name = getattr(old, field.name), getattr(new, field.name), _dotted(where, field.name)
        if dataclasses.is_dataclass(a) and type(a) is type(b):
            found |= differences(a, b, name)
        elif a != b:
            found[name] = (a, b)
    return found


def _dotted(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _read(text: str, kind: Any, name: str) -> Any:
    of_several = typing.get_origin(kind) is not dict and typing.get_args(kind)
    kinds = of_several or (kind,)
    if str in kinds and not text.startswith(('"', "'")):
        return None if text == "null" and type(None) in kinds else text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"cannot read the value {text!r}", where=f"setting {name}") from None


def _check_keys(values: Any, hints: Mapping[str, Any], where: str) -> None:
    part = f"the settings under {where!r}" if where else "the settings"
    if not isinstance(values, Mapping):
        raise InputError(f"{part} must be names with values; got {values!r}")
    for key in values:
        if key not in hints:
            raise InputError(
                f"unknown setting {_dotted(where, str(key))!r}.{nearest(str(key), hints)}",
                fix=f"{part} are: {', '.join(hints)}",
            )


def _parse(kind: Any, value: Any, name: str) -> Any:
    """``value`` as the annotated type ``kind``; whole numbers pass for fractions, lists for tuples."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _parse(next(a for a in arguments if a is not type(None)), value, name)
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return from_plain(kind, value, where=name)
    if origin is tuple and isinstance(value, (list, tuple)):
        inner = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(inner) == len(value):
            return tuple(_parse(k, v, name) for k, v in zip(inner, value, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return dict(value)
    if kind is float:
        # YAML reads 1e-4, which has no point, as text.
        try:
            if not isinstance(value, bool):
                return float(value)
        except (TypeError, ValueError):
            pass
    elif isinstance(kind, type) and isinstance(value, kind) and (kind is bool) == isinstance(value, bool):
        return value
    wanted = kind.__name__ if isinstance(kind, type) and origin is None else str(kind)
    raise InputError(f"setting {name!r} takes {wanted}; got {value!r}")

"""Damage to documents: values swapped for senseless ones, keys lost, bytes flipped, ends cut off."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

from sceneparse.errors import InputError

_SENSELESS = (
    *(float("nan"), float("inf"), 1e308, -1e308, 1e-320, -1, 0, 1, 2**31, 2**63, -(2**63), 10**400, 0.5),
    *(
        "",
        "x",
        "\0",
        "\ud800",
        "9" * 300,
        "../../x",
        None,
        True,
        [],
        {},
        [[]],
        [[[[[[]]]]]],
        {"a": {"a": []}},
    ),
)


def damaged(document: Any, rng: random.Random) -> bytes:
    """The JSON text of a document with one to three things wrong; by chance some texts are still good."""
    document = copy.deepcopy(document)
    kind = rng.random()
    if kind < 0.7:
        for _ in range(rng.randint(1, 3)):
            _spoil(document, rng)
    data = json.dumps(document).encode("utf-8", "surrogatepass")
    return data if kind < 0.7 else damaged_bytes(data, rng)


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut off, doubled or put in."""
    kind = rng.random()
    if not data or kind < 0.1:
        return rng.randbytes(rng.randint(0, 50))
    at = rng.randrange(len(data))
    if kind < 0.25:
        return data[:at]
    if kind < 0.35:
        return data[:at] + data[at // 2 :]
    spoilt = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        spoilt[rng.randrange(len(data))] = rng.choice(b'0189.-eE"[]{},: xN\\\n\0\xff\xc3#')
    return bytes(spoilt)


def _spoil(node: Any, rng: random.Random) -> None:
    """Go down by chance and change one value."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = rng.choice(keys)
        below = node[key]
        if not isinstance(below, (dict, list)) or not below or rng.random() < 0.15:
            break
        node = below
    kind = rng.random()
    if kind < 0.15:
        del node[key]
    elif kind < 0.25 and isinstance(node, list):
        node.insert(key, copy.deepcopy(below))
    elif kind < 0.35 and isinstance(below, (int, float)):
        node[key] = below * rng.choice((-1, 10, 1000, 10**300))
    else:
        node[key] = copy.deepcopy(rng.choice(_SENSELESS))


def refused(action: Callable[[], object]) -> bool:
    """Whether an action ends in an InputError, which must be complete; other exceptions go through."""
    try:
        action()
    except InputError as error:
        said = error
    else:
        return False
    assert said.where is not None
    assert said.fix
    assert len(str(said)) < 3000
    return True

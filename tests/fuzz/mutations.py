"""Damage to valid files: bytes, lines and values, drawn from a seed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, 1e308, -0.0, float("nan"), float("inf"),
    "", "x", "NA", "null", "1", "\x1b[31m", "\ud800", "../../etc/passwd", "/dev/zero", "=1+1", "x" * 300, "[bold]",
    [], {}, [[]], {"a": {}}, [1, 2, 3],
)  # fmt: skip
"""Values that stand where another was."""

TOKENS = (
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r\n",
    b'"',
    b"'",
    b"[",
    b"{",
    b",",
    b"=",
    b"9" * 5000,
    b"1e999999",
    b"NaN",
    b"\x1b",
)


def damaged(content: bytes, random: Random) -> bytes:
    """Return the content with one to three kinds of damage."""
    for _ in range(random.randint(1, 3)):
        content = random.choice(DAMAGE)(content, random)
    return content


def _flip(content: bytes, random: Random) -> bytes:
    if not content:
        return b"\x00"
    place = random.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :]


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.randint(0, len(content))]


def _repeat(content: bytes, random: Random) -> bytes:
    first, last = sorted(random.randint(0, len(content)) for _ in range(2))
    return content[:last] + content[first:last] * random.randint(1, 3) + content[last:]


def _insert(content: bytes, random: Random) -> bytes:
    place = random.randint(0, len(content))
    return content[:place] + random.choice(TOKENS) + content[place:]


def _lines(content: bytes, random: Random) -> bytes:
    lines = content.split(b"\n")
    place = random.randrange(len(lines))
    kind = random.randrange(3)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, random.choice(lines))
    else:
        lines[place] = lines[place][::-1]
    return b"\n".join(lines)


def _number(content: bytes, random: Random) -> bytes:
    """Another number in the place of one."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", content))
    if not found:
        return _insert(content, random)
    match = random.choice(found)
    numbers = (*(b"0", b"-1", b"1", b"7", b"65535", b"4294967296", b"9223372036854775808", b"1e400", b"0.1", b""),)
    return content[: match.start()] + random.choice(numbers) + content[match.end() :]


def _value(content: bytes, random: Random) -> bytes:
    """Another value in a JSON text; a flipped bit where it is none."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return _flip(content, random)
    spots: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in items:
            spots.append((node, key))
            walk(child)

    walk(data)
    if not spots:
        return _flip(content, random)
    node, key = random.choice(spots)
    kind = random.randrange(4)
    if kind == 0 and isinstance(node, dict):
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[str(random.choice(HOSTILE))[:40]] = node[key]
    else:
        node[key] = random.choice(HOSTILE)
    return json.dumps(data).encode("utf-8", "surrogatepass")


DAMAGE: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(_flip, _cut, _repeat, _insert, _lines),
    *(_number, _number, _value, _value, _value),
)

"""Seeded ways to damage a file: bytes, JSON values, YAML text, zip members."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Mutator = Callable[[bytes, random.Random], bytes]

NASTY: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 1.5, -0.0, 1e300, -1e300, 5e7, 10**30, 10**400, 2**31, 2**32, 2**53 + 1, 2**63, -(2**63),
    float("nan"), float("inf"), "", " ", "1", "NaN", "\0", "x" * 20_000, "ü\u200b", "\ud800", "../../etc/passwd", [], {},
    [[]], [None], {"a": {}}, [1, 2], "accepted", [0, 0, 10**6, 10**6], {"size": [1, 1], "counts": "0"},
)  # fmt: skip
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 4_000_000_000, 100_001)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip bits, cut, repeat, remove or overwrite pieces."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not out:
            break
        place, length = rng.randrange(len(out)), rng.choice((1, 2, 4, 16, 200))
        kind = rng.randrange(8)
        if kind <= 2:
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 3:
            del out[place:]
        elif kind == 4:
            del out[place : place + length]
        elif kind == 5:
            out[place:place] = out[place : place + length] * rng.choice((1, 2, 50))
        elif kind == 6:
            out[place : place + length] = rng.choice((b"\0", b"\xff")) * length
        else:
            number = struct.pack(rng.choice(("<I", ">I")), rng.choice(NUMBERS))
            out[place : place + 4] = number
    return bytes(out)


def nasty(rng: random.Random) -> Any:
    """Return an unexpected value."""
    if rng.random() < 0.05:
        value: Any = 1
        for _ in range(rng.choice((50, 200, 3000))):
            value = [value]
        return value
    return rng.choice(NASTY)


def mutate_value(value: Any, rng: random.Random) -> Any:
    """Replace, remove, repeat or move values in nested lists and objects."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        places = [place for place in _places(value) if place]
        if not places:
            return nasty(rng)
        *way, last = rng.choice(places)
        parent = value
        for key in way:
            parent = parent[key]
        kind = rng.randrange(8)
        if kind <= 3:
            parent[last] = nasty(rng)
        elif kind == 4:
            del parent[last]
        elif kind == 5 and isinstance(parent, list):
            parent[last:last] = [parent[last]] * rng.choice((1, 3, 300))
        elif kind == 5:
            parent[rng.choice(("id", "name", "x", "1"))] = parent[last]
        elif kind == 6:
            other = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
            parent[last], parent[other] = parent[other], parent[last]
        else:
            parent[last] = [parent[last]] if rng.random() < 0.5 else {"a": parent[last]}
    return value


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if len(way) > 8:
        return [way]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [way]
    for key, item in items:
        found += _places(item, (*way, key))
        if len(found) > 3000:
            break
    return found


def dump(value: Any) -> bytes:
    try:
        return json.dumps(value).encode()
    except (RecursionError, ValueError):  # nested too deep, or a value that was put into itself
        return b"[" * 3000 + b"]" * 3000


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Mostly change values, sometimes the text: repeated keys, long numbers, deep nesting, bytes."""
    kind = rng.randrange(10)
    if kind <= 6:
        return dump(mutate_value(json.loads(data), rng))
    if kind == 7:
        return mutate_bytes(data, rng)
    text = data.decode()
    place = rng.randrange(len(text))
    token = rng.choice((
        "9" * 5000, "[" * 100_000, '{"a":' * 20_000, "NaN", "-Infinity", "1e999", '"\\ud800"', ",", "]", "}", '"', "\\u0000",
        '{"id": 1, "id": 2}', "null", "-", "\x00", "\ufeff",
    ))  # fmt: skip
    if kind == 8:
        colons = [i for i, letter in enumerate(text) if letter == ":"] or [place]
        start = rng.choice(colons) + 1
        return (text[:start] + token + text[start:].lstrip(' "0123456789.')).encode("utf-8", "surrogatepass")
    return (text[:place] + token + text[place:]).encode("utf-8", "surrogatepass")


def mutate_lines(data: bytes, rng: random.Random) -> bytes:
    """Damage some lines of a file of JSON lines."""
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        number = rng.randrange(len(lines))
        if lines[number].strip():
            try:
                lines[number] = mutate_json(lines[number], rng)
            except (ValueError, RecursionError):
                lines[number] = mutate_bytes(lines[number], rng)
    if rng.random() < 0.1:
        return mutate_bytes(b"\n".join(lines), rng)
    return b"\n".join(lines)


def mutate_signed_lines(data: bytes, rng: random.Random) -> bytes:
    """Damage a journal, mostly with a right checksum."""
    if rng.random() < 0.3:
        return mutate_bytes(data, rng)
    lines = [line for line in data.split(b"\n") if line]
    for _ in range(rng.choice((1, 1, 2))):
        number = rng.randrange(len(lines))
        body = lines[number].partition(b" ")[2]
        try:
            body = mutate_json(body, rng).replace(b"\n", b" ")
        except (ValueError, RecursionError):
            body = mutate_bytes(body, rng).replace(b"\n", b" ")
        lines[number] = b"%08x %b" % (zlib.crc32(body), body)
    return b"\n".join(lines) + b"\n"


def mutate_zip(member: Mutator) -> Mutator:
    """Damage the archive, or repack it with damaged members, other names, or a bomb."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.3:
            return mutate_bytes(data, rng)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        chosen = rng.choice(list(members))
        members[chosen] = member(members[chosen], rng)
        if rng.random() < 0.05:
            members[rng.choice((chosen, "other", "../x", "a/b.roi"))] = bytes(rng.choice((0, 10**6, 150_000_000)))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return packed.getvalue() if rng.random() < 0.9 else mutate_bytes(packed.getvalue(), rng)

    return mutate


def mutate_yaml(data: bytes, rng: random.Random) -> bytes:
    """Damage lines, put other values in, or add what YAML makes of a few characters."""
    if rng.random() < 0.2:
        return mutate_bytes(data, rng)
    lines = data.decode().splitlines()
    for _ in range(rng.choice((1, 1, 3))):
        number = rng.randrange(len(lines))
        token = rng.choice((
            "9" * 5000, "[" * rng.choice((40, 5000)), "- " * 3000, "*a", "&a [*a]", "!!python/object:os.system x", "{a: {b: [",
            "1e999", ".nan", ".inf", "2024-99-99", "0o99", "~", "'", '"', "? [a]", "\x00", "<<: *b", "!!binary abc", "-1",
            "1e-300", "!!set {a, b}", "yes", "|", "%YAML 9.9", "---", "null", "12:99:99", "0b12", "'" + "x" * 9999 + "'",
        ))  # fmt: skip
        kind = rng.randrange(4)
        if kind <= 1:
            lines[number] = lines[number].partition(":")[0] + ": " + token
        elif kind == 2:
            lines.insert(number, token)
        else:
            lines[number] = lines[number] * rng.choice((0, 2, 3))
    if rng.random() < 0.05:
        lines.insert(0, alias_bomb())
    return "\n".join(lines).encode("utf-8", "replace")


def alias_bomb() -> str:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    return "\n".join(rows)


def mutate_table(data: bytes, rng: random.Random) -> bytes:
    """Damage a CSV file."""
    if rng.random() < 0.4:
        return mutate_bytes(data, rng)
    rows = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(rng.choice((1, 3, 20))):
        row = rng.choice(rows)
        value = rng.choice(
            ("", "x", "nan", "inf", "1e999", "-1", '"', "9" * 5000, "\0", "a,b,c", "\ufeff", "x" * 200_000)
        )
        row[rng.randrange(len(row))] = value
    return "\n".join(map(",".join, rows)).encode()


def mutate_tiff(data: bytes, rng: random.Random) -> bytes:
    """Damage a TIFF, mostly in its directory, where sizes and types are."""
    if rng.random() < 0.4:
        return mutate_bytes(data, rng)
    out = bytearray(data)
    order = "<" if out[:2] == b"II" else ">"
    (start,) = struct.unpack(order + "I", out[4:8])
    if start + 2 > len(out):
        return mutate_bytes(data, rng)
    (count,) = struct.unpack(order + "H", out[start : start + 2])
    for _ in range(rng.choice((1, 1, 2, 3))):
        tag = start + 2 + 12 * rng.randrange(max(1, count))
        kind = rng.randrange(6)
        if kind == 0:
            out[tag : tag + 2] = struct.pack(
                order + "H", rng.choice((256, 257, 258, 259, 262, 277, 278, 322, 323, 339, 9))
            )
        elif kind == 1:
            out[tag + 2 : tag + 4] = struct.pack(order + "H", rng.randrange(0, 20))
        elif kind == 2:
            out[tag + 4 : tag + 8] = struct.pack(order + "I", rng.choice(NUMBERS))
        elif kind == 3:
            next_ifd = start + 2 + 12 * count
            out[next_ifd : next_ifd + 4] = struct.pack(order + "I", rng.choice((start, 8, len(out) - 5, *NUMBERS)))
        else:
            out[tag + 8 : tag + 12] = struct.pack(order + "I", rng.choice((*NUMBERS, rng.randrange(70_000))))
    return bytes(out)

"""Finds what a thread can reach, so that a test fails when that is a Qt object, a layer or a viewer."""

from __future__ import annotations

import gc
import sys
import threading
import types
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

_MOST_OBJECTS = 50_000
_ENDS = (type, types.ModuleType, types.CodeType, types.BuiltinFunctionType, str, bytes, int, float, bool, type(None))


def reached(start: Any) -> str | None:
    """Return the way from an object, such as the target of a thread, to a window's object; None when there is none.

    The way goes through closures, bound methods, defaults, attributes, containers and the locals of generators; not
    through the globals of modules, which any code can reach.
    """
    forbidden = _window_types()
    if not forbidden:
        return None
    waiting = deque([(start, "thread")])
    seen = {id(start)}
    keep_alive = []
    while waiting and len(seen) < _MOST_OBJECTS:
        thing, way = waiting.popleft()
        if isinstance(thing, forbidden):
            return f"{way} is a {type(thing).__module__}.{type(thing).__qualname__}"
        for name, child in _children(thing):
            if not isinstance(child, _ENDS) and id(child) not in seen:
                seen.add(id(child))
                keep_alive.append(child)
                waiting.append((child, f"{way}{name}"))
    return None


def _window_types() -> tuple[type, ...]:
    """Return what no thread may hold, of the modules that are imported already."""
    found: list[type] = []
    for module, name in (
        ("qtpy.QtCore", "QObject"),
        ("napari.layers", "Layer"),
        ("napari.components", "ViewerModel"),
        ("napari.components", "LayerList"),
    ):
        if module in sys.modules:
            found.append(getattr(sys.modules[module], name))
    return tuple(found)


def _children(thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, types.FunctionType):
        for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True):
            try:
                yield f" -> {name}", cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        yield ".__defaults__", (thing.__defaults__, thing.__kwdefaults__)
    elif isinstance(thing, types.MethodType):
        yield ".__self__", thing.__self__
        yield f".{thing.__name__}", thing.__func__
    elif isinstance(thing, partial):
        yield ".func", thing.func
        yield ".args", (thing.args, thing.keywords)
    elif isinstance(thing, types.GeneratorType):
        if thing.gi_frame is not None:
            yield f" {thing.__name__}()", dict(thing.gi_frame.f_locals)
    elif isinstance(thing, dict):
        for key, value in list(thing.items()):
            yield f"[{key!r:.40}]", value
            yield " key", key
    elif isinstance(thing, list | tuple | set | frozenset | deque):
        for i, value in enumerate(list(thing)):
            yield f"[{i}]", value
    elif hasattr(thing, "__dict__"):
        for name, value in list(vars(thing).items()):
            yield f".{name}", value
        yield from _slots(thing)
    else:
        for child in gc.get_referents(thing):
            yield "", child


def _slots(thing: Any) -> Iterator[tuple[str, Any]]:
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name) and name not in ("__dict__", "__weakref__"):
                yield f".{name}", getattr(thing, name)


class ThreadGuard:
    """Looks at every thread of ours when it starts, from `install` to `remove`."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._start = threading.Thread.start

    def install(self) -> None:
        """Begin."""
        guard, start = self, self._start

        def checked_start(thread: threading.Thread) -> None:
            guard.check(thread)
            start(thread)

        threading.Thread.start = checked_start  # type: ignore[method-assign]

    def check(self, thread: threading.Thread) -> None:
        """Look at one thread that has not started yet."""
        target = getattr(thread, "_target", None)
        if _is_ours(target):
            way = reached((target, getattr(thread, "_args", ()), getattr(thread, "_kwargs", {})))
            if way is not None:
                self.problems.append(f"{thread.name}: {way}")

    def remove(self) -> None:
        """End."""
        threading.Thread.start = self._start  # type: ignore[method-assign]


def _is_ours(target: Any) -> bool:
    module = getattr(target, "__module__", None) or ""
    return module.partition(".")[0] in ("napari_cellseg", "training")

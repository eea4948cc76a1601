"""Names of columns as names of members: each once, and none that is ours."""

from collections.abc import Collection, Sequence
from typing import Final

RESERVED_NAME: Final = "_meta"


def unique_names(stems: Sequence[str], *, reserved: Collection[str] = ()) -> tuple[str, ...]:
    """Return a name per stem: its own, or with the first free of _2, _3, ... appended.

    A name is taken when it occurred before or is reserved.
    """
    taken = set(reserved)
    names = []
    repetitions: dict[str, int] = {}
    for stem in stems:
        name, repetition = stem, repetitions.get(stem, 1)
        while name in taken:
            repetition += 1
            name = f"{stem}_{repetition}"
        repetitions[stem] = repetition
        taken.add(name)
        names.append(name)
    return tuple(names)

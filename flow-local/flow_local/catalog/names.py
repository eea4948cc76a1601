"""Names of captures, collections, materializations and tests."""

import re

NAME_CHARS_MAX = 512

_TOKEN = re.compile(r"[\w\-.]+")
_UNFIT = re.compile(r"[^\w\-.]+")


def name_mistake(name: str) -> tuple[str, str] | None:
    """Return why `name` can't be one, and what to do, or None when it is fine."""
    if len(name) > NAME_CHARS_MAX:
        return f"it has more than {NAME_CHARS_MAX} characters", "shorten it"
    rule = "use letters, digits, '-', '_' and '.', with single slashes between"
    for token in name.split("/"):
        if not token:
            return "a part of it is empty", rule
        if token in (".", ".."):
            return f"{token!r} can't be a part of it", rule
        if not _TOKEN.fullmatch(token):
            unfit = _UNFIT.search(token)
            assert unfit is not None
            return f"it contains {unfit[0]!r}", rule
    return None


def prefixes(name: str) -> list[str]:
    """Return every name that would be a directory above `name`, outermost first."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def normalized(recommended: str) -> str:
    """Turn a name that a connector recommends into one that a collection may have.

    Runs of characters that names can't hold become one underscore; parts that would be empty go.
    """
    parts = (_UNFIT.sub("_", part) for part in recommended.split("/"))
    kept = [part for part in parts if part and part not in (".", "..")]
    return "/".join(kept)[:NAME_CHARS_MAX] or "_"

"""The settings that every capture of files has: which files, how they are read, what befalls them.

A connector declares each with its function, so that they stand among its own in the order of its
form, and derives the model of its advanced settings from `Following`:

    class Config(EndpointConfig):
        bucket: str = setting(title="Bucket", description="Name of the bucket.")
        prefix: str = prefix_setting()
        prefixes: tuple[str, ...] = prefixes_setting()
        match_keys: Pattern | None = match_setting("matchKeys")
        parser: ParserOptions = parser_setting()
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, field_validator

from estuary_cdk.config import Settings, setting
from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.files.following import Selection
from estuary_cdk.kits.files.options import ParserOptions


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} isn't a regular expression: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression."""


class Following(Settings):
    """Rarely needed settings."""

    ascending_keys: bool = setting(
        False,
        alias="ascendingKeys",
        title="Ascending Keys",
        description="Files are only ever added, each with a key greater than all before: listing "
        "begins behind the last one read. Changes of older files aren't seen.",
    )
    minimum_modified: datetime | None = setting(
        None,
        alias="minimumModified",
        title="Minimum Modified Time",
        description="Files last modified before this time are left out, like 2026-01-31T00:00:00Z.",
    )
    on_delete: Literal["keep", "delete"] = setting(
        "keep",
        alias="onDelete",
        title="Deleted Files",
        description="Whether the documents of a file that was deleted are kept or deleted.",
    )
    on_error: Literal["stop", "skip"] = setting(
        "stop",
        alias="onError",
        title="Unreadable Files",
        description="Whether a file that can't be read stops the capture or is left out until it "
        "changes, which the status tells.",
    )

    @field_validator("minimum_modified")
    @classmethod
    def _has_offset(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("the time has no offset from UTC; write it like 2026-01-31T00:00:00Z")
        return moment


def prefix_setting() -> str:
    """Declare the setting `prefix: str`."""
    found = setting(
        "",
        title="Prefix",
        description="Only files whose names begin with this are captured, such as exports/. All "
        "of them when left out.",
    )
    return cast("str", found)


def prefixes_setting() -> tuple[str, ...]:
    """Declare the setting `prefixes: tuple[str, ...]`."""
    found = setting(
        default_factory=tuple,
        title="Prefixes",
        description="Several prefixes, each a stream of its own, instead of one.",
    )
    return cast("tuple[str, ...]", found)


def match_setting(alias: str) -> str | None:
    """Declare the setting of a pattern that whole names must contain: `Pattern | None`."""
    found = setting(
        None,
        alias=alias,
        title="Match Files" if alias == "matchFiles" else "Match Keys",
        format="regex",
        description="Only files whose whole name contains a match of this regular expression are "
        "captured, such as \\.csv$.",
    )
    return cast("str | None", found)


def parser_setting() -> ParserOptions:
    """Declare the setting `parser: ParserOptions`."""
    found = setting(
        default_factory=ParserOptions,
        title="Parser",
        description="How the files are read. Detected when left out.",
    )
    return cast("ParserOptions", found)


def prefix_of(stream: str, container: str, what: str) -> str:
    """Return the prefix that a stream's name has behind its container's; ConfigError otherwise."""
    found, _, prefix = stream.lstrip("/").partition("/")
    if found != container:
        raise ConfigError(
            f"can't capture stream {stream!r}: the config has {what} {container!r}",
            hint=f"a stream begins with {container + '/'!r}",
        )
    return prefix


def streams_of(container: str, prefix: str, prefixes: Sequence[str]) -> list[str]:
    """Return the names of the streams to discover: the container's, then a prefix."""
    return [f"{container}/{each.lstrip('/')}" for each in prefixes or (prefix,)]


def chosen(
    prefix: str, root: str, match: str | None, parser: ParserOptions, advanced: Following
) -> Selection:
    """Return the files below a prefix that the settings choose; `root` goes before their names."""
    return Selection(
        prefix=prefix,
        root=root,
        match=re.compile(match) if match else None,
        since=advanced.minimum_modified,
        parser=parser,
        on_delete=advanced.on_delete,
        on_error=advanced.on_error,
    )

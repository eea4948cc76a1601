"""The settings that every capture of files has: which files, how they are read, what befalls them.

A connector declares each with its function, so that they stand among its own in the order of its
form, and derives the model of its advanced settings from `Following`:

    class Config(EndpointConfig):
        bucket: str = setting(title="Bucket", description="Name of the bucket.")
        prefix: str = prefix_setting()
        prefixes: tuple[str, ...] = prefixes_setting()
        match_keys: Pattern | None = match_setting("matchKeys")
        parser: ParserOptions = parser_setting()
        advanced: Following = advanced_setting(Following)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, TypeVar, cast

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


FollowingT = TypeVar("FollowingT", bound=Following)


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


def advanced_setting(model: type[FollowingT]) -> FollowingT:
    """Declare the setting `advanced` of a model derived from `Following`."""
    found = setting(
        default_factory=model,
        title="Advanced",
        description="Rarely needed settings.",
        advanced=True,
    )
    return cast("FollowingT", found)


def streams_of(container: str, prefix: str, prefixes: Sequence[str]) -> list[str]:
    """Return the names of the streams to discover: the container's, then a prefix."""
    return [f"{container}/{each.lstrip('/')}" for each in prefixes or (prefix,)]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which files of a container are captured, and how: what all streams of a config share."""

    match: str | None
    parser: ParserOptions
    advanced: Following

    def within(self, stream: str, container: str, what: str) -> Selection:
        """Return the files of a stream, whose name has a prefix behind its container's.

        ConfigError for another container than the config's, which is a `what`.
        """
        found, _, prefix = stream.lstrip("/").partition("/")
        if found != container:
            raise ConfigError(
                f"can't capture stream {stream!r}: the config has {what} {container!r}",
                hint=f"a stream begins with {container + '/'!r}",
            )
        return self.below(prefix, f"{container}/")

    def below(self, prefix: str, root: str) -> Selection:
        """Return the files whose paths begin with a prefix; `root` goes before their names."""
        return Selection(
            prefix=prefix,
            root=root,
            match=re.compile(self.match) if self.match else None,
            since=self.advanced.minimum_modified,
            parser=self.parser,
            on_delete=self.advanced.on_delete,
            on_error=self.advanced.on_error,
        )

"""What users configure: the directory, which of its files, and how they are read."""

import os
from collections.abc import Sequence
from pathlib import Path

from estuary_cdk.config import EndpointConfig, setting
from estuary_cdk.kits.files import ParserOptions, Selection
from estuary_cdk.kits.files.choices import (
    Choice,
    Following,
    Pattern,
    advanced_setting,
    match_setting,
    parser_setting,
    prefix_setting,
    prefixes_setting,
    streams_of,
)

ROOT_NAME = "files"


class Config(EndpointConfig):
    """A directory and what is captured of it."""

    directory: str = setting(
        title="Directory",
        description="Path of the directory. Files in directories below it are captured too.",
    )
    prefix: str = prefix_setting()
    prefixes: tuple[str, ...] = prefixes_setting()
    match_files: Pattern | None = match_setting("matchFiles")
    parser: ParserOptions = parser_setting()
    advanced: Following = advanced_setting(Following)

    @property
    def name(self) -> str:
        """The directory's own name, which streams and files begin with."""
        return Path(os.path.abspath(self.directory)).name or ROOT_NAME  # noqa: PTH100 - keeps links


def streams(config: Config) -> Sequence[str]:
    """Return the names of the streams to discover: the directory's, then a prefix."""
    return streams_of(config.name, config.prefix, config.prefixes)


def selection(config: Config, stream: str) -> Selection:
    """Return which files a stream has; ConfigError for one of another directory."""
    choice = Choice(config.match_files, config.parser, config.advanced)
    return choice.within(stream, config.name, "directory")

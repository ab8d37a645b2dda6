"""What GitHub's successful answers hold. One that is not as documented is no answer at all."""

import base64
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import structlog

from bot.core.errors import DeadError, GitHubUnavailableError
from bot.core.ports import ConfigFile
from bot.core.records import Role

log = structlog.get_logger()

Parsed = TypeVar("Parsed")

LARGEST_CONFIG = 64 * 1024
"""Bytes of a config file that are read."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How a pointer to a file in Git LFS begins (github.com/git-lfs/git-lfs, docs/spec.md)."""

ROLES = {role.name.lower(): role for role in Role}
"""Roles by GitHub's `role_name`."""

UNREADABLE = (DeadError, LookupError, TypeError, ValueError, AttributeError)
"""What a parser raises for a value that is not as documented."""

NO_FILES = {"dir": "a directory", "symlink": "a symbolic link", "submodule": "a submodule"}
"""Kinds of entries of the contents API, in words."""

NO_FILE_SHA = "no-file"
"""Stands for the sha of what is no file: GitHub names none for a directory."""


def usable(parse: Callable[[], Parsed], *, sent: bool = False) -> Parsed:
    """What `parse` makes of an answer. Raises GitHubUnavailableError where it is not as documented.

    `sent` is for the answer to a write: it was done, only the answer tells us nothing.
    """
    try:
        return parse()
    except UNREADABLE as error:
        raise unusable(type(error).__name__, sent=sent) from None


def unusable(what: str, *, sent: bool = False) -> GitHubUnavailableError:
    """The error of an answer that is not as documented."""
    error = GitHubUnavailableError(f"200 an answer that is not as documented: {what}", status=200)
    error.sent = sent
    return error


def part(value: Any, *keys: str) -> Any:
    """What lies at the end of a path of keys. Raises GitHubUnavailableError where the path ends early."""
    for key in keys:
        if not isinstance(value, dict) or value.get(key) is None:
            raise unusable(f"no {key}")
        value = value[key]
    return value


def each(rows: Iterable[Any], parse: Callable[[Any], Parsed]) -> list[Parsed]:
    """Every row that can be read: one odd row among thousands does not stop the others."""
    parsed = []
    for row in rows:
        try:
            parsed.append(parse(row))
        except UNREADABLE as error:
            log.warning("github_row_skipped", reason=f"{type(error).__name__} {error}"[:200])
    return parsed


def role_from(answer: Any) -> Role:
    """The role in a repository; a custom role counts as the base permission that it inherits.

    docs.github.com, "get repository permissions for a user": `role_name` names custom roles, `permission` never does.
    """
    if not isinstance(answer, dict):
        raise unusable("no role")
    base = ROLES.get(str(answer.get("permission")), Role.NONE)
    return ROLES.get(str(answer.get("role_name")), base)


def config_file_from(answer: Any) -> ConfigFile:
    """A file of the contents API, or why it is none that can be read. Raises ValueError for base64 that is none."""
    if isinstance(answer, list):
        return ConfigFile(NO_FILE_SHA, b"", "it is a directory, not a file")
    sha = str(answer["sha"])
    problem = problem_of(answer)
    if problem is not None:
        return ConfigFile(sha, b"", problem)
    content = base64.b64decode(answer["content"])
    if content.startswith(LFS_POINTER):
        return ConfigFile(sha, b"", "it is stored in Git LFS; store it in the repository itself")
    return ConfigFile(sha, content)


def problem_of(answer: Any) -> str | None:
    """Why an entry of the contents API is no file that we read, in words; None where it is one."""
    kind = "submodule" if answer.get("submodule_git_url") else answer["type"]
    if kind != "file":
        return f"it is {NO_FILES.get(kind, 'something else')}, not a file"
    if answer["size"] > LARGEST_CONFIG:
        return f"it is larger than {LARGEST_CONFIG // 1024} KiB"
    if answer.get("encoding") != "base64":
        return "GitHub does not give its content"
    return None

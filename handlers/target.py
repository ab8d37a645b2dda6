"""Which account and repository an event is about, and whether anything may be done there."""

from dataclasses import dataclass
from typing import Any

from bot.core.context import Context
from bot.core.errors import DeadError, RetryError, SkipError
from bot.core.payload import repository_name_from
from bot.core.records import Installation, InstallationState, Repository, RepositoryState

UNKNOWN_WAITS = 3
"""Attempts to wait for an installation or repository whose own event may still be under way (order is not guaranteed)."""


@dataclass(frozen=True, slots=True)
class Target:
    """One repository of one account."""

    account_id: int
    repository: Repository


def installation_id_of(payload: dict[str, Any]) -> int:
    """The installation that an event came through. Raises DeadError where it names none."""
    installation = payload.get("installation")
    value = installation.get("id") if isinstance(installation, dict) else None
    if type(value) is not int or not 0 < value < 2**63:
        raise DeadError("the event names no installation")
    return value


async def installation_of(ctx: Context, payload: dict[str, Any]) -> Installation:
    """The installation, known and active. An unknown one is waited for, never created from an event like this."""
    installation_id = installation_id_of(payload)
    installation = await ctx.services.accounts.installation(installation_id)
    if installation is None:
        if ctx.job.attempt <= UNKNOWN_WAITS:
            raise RetryError(f"installation {installation_id} is not known yet", after=5.0 * ctx.job.attempt)
        raise SkipError(f"installation {installation_id} is not known")
    if installation.state is not InstallationState.ACTIVE:
        raise SkipError(f"the installation is {installation.state.value}")
    return installation


async def target_of(ctx: Context, payload: dict[str, Any], *, inactive: bool = False) -> Target:
    """The repository of an event, seen by the installation that sent it.

    Raises DeadError for a repository that is not the installation's, SkipError for one that is not worked on, unless the
    event concerns `inactive` ones too.
    """
    installation = await installation_of(ctx, payload)
    name = repository_name_from(payload.get("repository"))
    repository = await ctx.services.repositories.get(installation.account_id, name.id)
    if repository is None or repository.installation_id != installation.id:
        if ctx.job.attempt <= UNKNOWN_WAITS:
            raise RetryError(f"repository {name.id} is not known yet", after=5.0 * ctx.job.attempt)
        raise DeadError(f"repository {name.id} does not belong to installation {installation.id}")
    if repository.state is RepositoryState.INACTIVE and not inactive:
        raise SkipError(f"the repository is inactive: {repository.reason}")
    known = (repository.owner, repository.name, repository.private)
    # At a later attempt the event is old: GitHub may have told another name since.
    if ctx.job.attempt == 1 and known != (name.owner, name.name, name.private):
        await ctx.services.repositories.rename(installation.account_id, name)
        renamed = await ctx.services.repositories.get(installation.account_id, name.id)
        repository = renamed or repository
    return Target(installation.account_id, repository)

"""The jobs that follow a removal: what it leaves outside the rows goes too."""

from bot.core.records import Lane, NewJob

ERASE_AFTER = 300.0
"""Seconds from a removal to the rewrite of files: removals in between share one, and what was under way has ended."""

FOLLOW_AFTER = 120.0
"""Seconds from a change of what an installation sees to a look at all that it sees: events overtake each other."""


def purge_job(account_id: int, repository_id: int, collection: str, *, after: float, last: bool) -> NewJob:
    """Drops the collection of a repository whose rows are gone."""
    return NewJob(
        kind="purge_repository",
        lane=Lane.WEBHOOK,
        account_id=account_id,
        serial=f"index:{repository_id}",
        payload={"repository_id": repository_id, "collection": collection, "last": last},
        after=after,
    )


def erase_job(after: float = ERASE_AFTER) -> NewJob:
    """Makes what was deleted unreadable; of several that wait one is enough."""
    return NewJob(kind="erase", lane=Lane.WEBHOOK, serial="erase", dedupe="erase", after=after)


def follow_job(account_id: int, installation_id: int) -> NewJob:
    """Compares what an installation sees with what we think it does."""
    return NewJob(
        kind="follow_installation",
        lane=Lane.BACKFILL,
        account_id=account_id,
        serial=f"installation:{installation_id}",
        dedupe=f"follow:{installation_id}",
        payload={"installation_id": installation_id},
        after=FOLLOW_AFTER,
    )

"""The limits of a tier: what people are told about them, and how long what a downgrade leaves above them is kept."""

from datetime import UTC, datetime, timedelta

from bot.core.ports import Accounts, Issues
from bot.core.records import Repository, Tier

DEACTIVATED = "It was deactivated here: its index is kept, and nothing is done until it is activated."
"""Why a repository that people deactivated is inactive."""

CLEARED = "Its data was deleted: activate it to have its issues read again."
"""Why a repository is inactive whose data people had deleted."""

NOTICE = timedelta(days=30)
"""How long what a smaller tier has no room for is kept after a downgrade."""


def over_limit(tier: Tier, frozen_at: datetime | None = None) -> str:
    """Why a repository above the tier's limit is not indexed, what can be done about it, and until when."""
    noun = "repository" if tier.repositories == 1 else "repositories"
    reason = (
        f"The {tier.name.capitalize()} plan indexes {tier.repositories} {noun}; remove one here or upgrade."
    )
    if frozen_at is None:
        return reason
    return f"{reason} Its index is kept until {day_of(frozen_at + NOTICE)}."


def day_of(at: datetime) -> str:
    """A day in UTC, as people write it."""
    day = at.astimezone(UTC)
    return f"{day.day} {day:%B} {day.year}"


def noticed(tier: Tier, now: datetime) -> bool:
    """Whether the notice of a downgrade to fewer issues still runs."""
    return tier.shrunk_at is not None and now < tier.shrunk_at + NOTICE


def room(tier: Tier, held: int, now: datetime) -> int:
    """How many issues a repository may hold that holds so many: while a notice runs none leaves, and none more come."""
    return max(tier.issues, held) if noticed(tier, now) else tier.issues


async def room_in(accounts: Accounts, issues: Issues, repository: Repository, now: datetime) -> int:
    """How many issues a repository may hold now."""
    tier = await accounts.tier(repository.account_id)
    held = await issues.count(repository.account_id, repository.id) if noticed(tier, now) else 0
    return room(tier, held, now)


def kept_until(repository: Repository, now: datetime) -> datetime | None:
    """Until when something of a repository is kept that the tier has no room for: all of it, or some of its issues."""
    if repository.frozen_at is not None:
        return repository.frozen_at + NOTICE
    if repository.surplus_since is not None and now < repository.surplus_since + NOTICE:
        return repository.surplus_since + NOTICE
    return None

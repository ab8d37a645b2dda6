"""What people are told about the limits of their tier."""

from bot.core.records import Tier

DEACTIVATED = "It was deactivated here: its index is kept, and nothing is done until it is activated."
"""Why a repository that people deactivated is inactive."""

CLEARED = "Its data was deleted: activate it to have its issues read again."
"""Why a repository is inactive whose data people had deleted."""


def over_limit(tier: Tier) -> str:
    """Why a repository above the tier's limit is not indexed, and what can be done about it."""
    noun = "repository" if tier.repositories == 1 else "repositories"
    return (
        f"The {tier.name.capitalize()} plan indexes {tier.repositories} {noun}; remove one here or upgrade."
    )

"""What a verified delivery becomes: which job, in which lane, behind which others."""

from typing import Any
from uuid import UUID

from bot.core.records import Lane, NewJob

DELIVERY = "delivery"
"""The kind of the job that handles one delivery."""


def serial_of(
    event: str, payload: dict[str, Any], installation_id: int | None, repository_id: int | None
) -> str | None:
    """What must not run at the same time: one issue's events, or one installation's."""
    issue = payload.get("issue")
    number = issue.get("number") if isinstance(issue, dict) else None
    if repository_id is not None and type(number) is int:
        return f"issue:{repository_id}:{number}"
    # What becomes of a repository and what the installation sees of it must not be worked on side by side.
    if event.startswith(("installation", "repository")) and installation_id is not None:
        return f"installation:{installation_id}"
    return None


def job_for(
    event: str,
    payload: dict[str, Any],
    installation_id: int | None,
    repository_id: int | None,
    delivery_id: UUID,
) -> NewJob:
    """The job of a delivery; commands wait for webhooks, because an index that is behind answers wrong."""
    return NewJob(
        kind=DELIVERY,
        lane=Lane.COMMAND if event == "issue_comment" else Lane.WEBHOOK,
        serial=serial_of(event, payload, installation_id, repository_id),
        delivery_id=delivery_id,
    )


def ignored(event: str, payload: dict[str, Any], app_id: int | None) -> str | None:
    """Why a routed delivery needs no job, in words; None where it does.

    Comments by bots never hold commands, ours least of all: answering them is how bots talk to each other for ever.
    """
    if event == "issues" and is_ours(payload.get("issue"), app_id):
        return "our own issue"
    if event != "issue_comment":
        return None
    sender = payload.get("sender")
    if isinstance(sender, dict) and sender.get("type") == "Bot":
        return "a bot's comment"
    ours = is_ours(payload.get("comment"), app_id)
    if payload.get("action") == "deleted":
        # That somebody deletes ours is a refusal. What others delete is not kept, least of all because they do.
        return None if ours else "a deleted comment"
    return "our own comment" if ours else None


def is_ours(written: Any, app_id: int | None) -> bool:
    """Whether our App wrote a comment or an issue."""
    via = written.get("performed_via_github_app") if isinstance(written, dict) else None
    return isinstance(via, dict) and app_id is not None and via.get("id") == app_id

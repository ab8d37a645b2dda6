"""GitHub's JSON, as far as documented fields are concerned that an App may rely on."""

from datetime import UTC, datetime
from typing import Any

from bot.sandbox.state import Account, App, Comment, Installation, Issue, Repository

Json = dict[str, Any]


def stamp(moment: datetime | None) -> str | None:
    """Times as GitHub writes them: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def account(item: Account | None) -> Json | None:
    """A `simple-user`; null for a ghost."""
    if item is None:
        return None
    return {
        "login": item.login,
        "id": item.id,
        "node_id": f"U_{item.id}",
        "type": item.kind,
        "site_admin": False,
    }


def repository(item: Repository, url: str) -> Json:
    """A `repository`, short."""
    return {
        "id": item.id,
        "node_id": f"R_{item.id}",
        "name": item.name,
        "full_name": item.full_name,
        "private": item.private,
        "owner": account(item.owner),
        "archived": item.archived,
        "default_branch": "main",
        "url": f"{url}/repos/{item.full_name}",
        "visibility": "private" if item.private else "public",
    }


def listed_repository(item: Repository) -> Json:
    """How `installation` events list a repository: these five fields and no owner."""
    return {
        "id": item.id,
        "node_id": f"R_{item.id}",
        "name": item.name,
        "full_name": item.full_name,
        "private": item.private,
    }


def issue(item: Issue, home: Repository, app: App | None, url: str) -> Json:
    """An `issue`."""
    address = f"{url}/repos/{home.full_name}/issues/{item.number}"
    found = {
        "id": item.id,
        "node_id": item.node_id,
        "number": item.number,
        "url": address,
        "comments_url": f"{address}/comments",
        "html_url": f"{url}/{home.full_name}/issues/{item.number}",
        "title": item.title,
        "body": item.body,
        "user": account(item.author),
        "labels": [{"name": name, "color": "ededed", "default": False} for name in item.labels],
        "state": item.state,
        "state_reason": item.state_reason,
        "locked": item.locked,
        "comments": len(item.comments),
        "reactions": {"+1": item.thumbs_up, "-1": 0, "total_count": item.thumbs_up},
        "created_at": stamp(item.created_at),
        "updated_at": stamp(item.updated_at),
        "closed_at": stamp(item.closed_at),
        "author_association": "NONE",
        "performed_via_github_app": via(app) if item.app_id else None,
    }
    return found | (
        {"pull_request": {"url": f"{url}/repos/{home.full_name}/pulls/{item.number}"}}
        if item.is_pull_request
        else {}
    )


def comment(item: Comment, parent: Issue, home: Repository, app: App | None, url: str) -> Json:
    """An `issue-comment`."""
    return {
        "id": item.id,
        "node_id": f"IC_{item.id}",
        "url": f"{url}/repos/{home.full_name}/issues/comments/{item.id}",
        "issue_url": f"{url}/repos/{home.full_name}/issues/{parent.number}",
        "body": item.body,
        "user": account(item.author),
        "created_at": stamp(item.created_at),
        "updated_at": stamp(item.updated_at),
        "author_association": "NONE",
        "performed_via_github_app": via(app) if item.app_id else None,
    }


def via(app: App | None) -> Json | None:
    """`performed_via_github_app`."""
    return None if app is None else {"id": app.id, "slug": app.slug, "name": app.slug}


def installation(item: Installation) -> Json:
    """An `installation`."""
    return {
        "id": item.id,
        "app_id": item.app.id,
        "app_slug": item.app.slug,
        "account": account(item.account),
        "target_type": item.account.kind,
        "repository_selection": "selected",
        "permissions": item.permissions,
        "events": sorted(item.app.events),
        "suspended_at": stamp(datetime.now(UTC)) if item.suspended else None,
    }

"""What people and the App do on GitHub. Every change happens here, and sends the webhooks that it sends there."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bot.sandbox import views
from bot.sandbox.actions import Issuer
from bot.sandbox.hooks import Hooks
from bot.sandbox.people import People
from bot.sandbox.state import (
    Account,
    App,
    Comment,
    Discussion,
    Installation,
    Issue,
    Membership,
    NoSuchError,
    Reaction,
    Repository,
    World,
)
from bot.sandbox.tokens import Tokens

PERMISSIONS = {
    "issues": "write",
    "metadata": "read",
    "pull_requests": "read",
    "discussions": "read",
    "contents": "read",
    "members": "read",
}
EVENTS = ("issues", "issue_comment", "repository", "installation_target")

Json = dict[str, Any]


def now() -> datetime:
    """The time, whole seconds as GitHub keeps it."""
    return datetime.now(UTC).replace(microsecond=0)


class GitHub:
    """One GitHub. `clock` says when things happen; `url` is where its API answers."""

    def __init__(self, clock: Callable[[], datetime] = now) -> None:
        """Empty."""
        self.clock = clock
        self.url = ""
        self.world = World()
        self.hooks = Hooks()
        self.tokens = Tokens()
        self.people = People()
        self.actions = Issuer()

    def create_app(
        self,
        slug: str,
        webhook_url: str | None,
        webhook_secret: str,
        permissions: Mapping[str, str] | None = None,
        events: Iterable[str] = EVENTS,
        callback_urls: Iterable[str] = (),
    ) -> App:
        """Register an App, with a new private key and a new client secret."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        bot = self.world.account(f"{slug}[bot]", "Bot")
        app = App(
            next(self.world.ids),
            slug,
            bot,
            pem,
            webhook_url,
            webhook_secret,
            dict(permissions or PERMISSIONS),
            frozenset(events),
            "Iv23" + secrets.token_hex(8),
            secrets.token_hex(20),
            list(callback_urls),
        )
        self.world.apps[app.id] = app
        return app

    def create_repository(
        self, owner: str, name: str, *, private: bool = False, kind: str = "Organization"
    ) -> Repository:
        """A repository of an account; its owner may do everything in it."""
        account = self.world.account(owner, kind)
        repository = Repository(next(self.world.ids), account, name, private)
        repository.roles[account.login] = "admin"
        self.world.repositories[repository.id] = repository
        return repository

    def seed_issue(
        self,
        repository: Repository,
        title: str,
        body: str | None = "",
        author: str | None = "someone",
        **more: Any,
    ) -> Issue:
        """An issue that was there before anybody installed anything: no webhook. `more` sets fields of `Issue`."""
        created = more.pop("created_at", None) or self.clock()
        issue = Issue(
            id=next(self.world.ids),
            number=next(repository.numbers),
            title=title,
            body=body,
            author=self.world.account(author) if author else None,
            created_at=created,
            updated_at=more.pop("updated_at", created),
            **more,
        )
        repository.issues[issue.number] = issue
        return issue

    def seed_discussion(
        self, repository: Repository, title: str, author: str | None = "someone", **more: Any
    ) -> Discussion:
        """A discussion; `more` sets fields of `Discussion`."""
        made = Discussion(
            id=next(self.world.ids),
            number=next(repository.numbers),
            title=title,
            author=self.world.account(author) if author else None,
            created_at=more.pop("created_at", None) or self.clock(),
            **more,
        )
        repository.discussions.append(made)
        return made

    # --- people

    def sign_in_as(self, login: str) -> Account:
        """Whoever's browser comes next is that person's, who lets every App know who they are."""
        self.people.signed_in, self.people.denies = self.world.account(login), False
        return self.people.signed_in

    def deny(self, login: str) -> Account:
        """As `sign_in_as`, but the person lets no App know."""
        account = self.sign_in_as(login)
        self.people.denies = True
        return account

    def join(self, organisation: Account, login: str, role: str = "member", state: str = "active") -> Account:
        """Make somebody a member of an organisation, or an owner (`admin`)."""
        user = self.world.account(login)
        self.world.memberships.setdefault(organisation.id, {})[user.id] = Membership(role, state)
        return user

    def leave(self, organisation: Account, login: str) -> None:
        """Somebody is a member no more."""
        self.world.memberships[organisation.id].pop(self.world.account(login).id)

    # --- installations

    def install(self, app: App, account: Account, repositories: Sequence[Repository]) -> Installation:
        """Install an App on some repositories of an account."""
        chosen = {item.id: item for item in repositories}
        installation = Installation(next(self.world.ids), app, account, chosen, dict(app.permissions))
        self.world.installations[installation.id] = installation
        listed = [views.listed_repository(item) for item in repositories]
        self._about_installation(installation, "installation", "created", {"repositories": listed})
        return installation

    def uninstall(self, installation: Installation) -> None:
        """Remove an installation; its tokens end at once."""
        listed = [views.listed_repository(item) for item in installation.repositories.values()]
        self.tokens.revoke(installation.id)
        del self.world.installations[installation.id]
        self._about_installation(installation, "installation", "deleted", {"repositories": listed})

    def suspend(self, installation: Installation) -> None:
        """Suspend it: tokens stop working."""
        installation.suspended = True
        self._about_installation(installation, "installation", "suspend", {})

    def unsuspend(self, installation: Installation) -> None:
        """End the suspension."""
        installation.suspended = False
        self._about_installation(installation, "installation", "unsuspend", {})

    def accept_permissions(self, installation: Installation, permissions: Mapping[str, str]) -> None:
        """The account accepts what the App now asks for."""
        installation.permissions = dict(permissions)
        self._about_installation(installation, "installation", "new_permissions_accepted", {})

    def add_repositories(self, installation: Installation, repositories: Sequence[Repository]) -> None:
        """Let it see more."""
        installation.repositories.update({item.id: item for item in repositories})
        listed = [views.listed_repository(item) for item in repositories]
        change = {
            "repositories_added": listed,
            "repositories_removed": [],
            "repository_selection": "selected",
        }
        self._about_installation(installation, "installation_repositories", "added", change)

    def remove_repositories(self, installation: Installation, repositories: Sequence[Repository]) -> None:
        """Let it see less."""
        for item in repositories:
            installation.repositories.pop(item.id, None)
        listed = [views.listed_repository(item) for item in repositories]
        change = {
            "repositories_added": [],
            "repositories_removed": listed,
            "repository_selection": "selected",
        }
        self._about_installation(installation, "installation_repositories", "removed", change)

    def rename_repository(self, repository: Repository, name: str, *, told: bool = True) -> None:
        """Rename; the old name redirects until somebody takes it. The event may get lost (`told`)."""
        before = repository.name
        self.world.old_names[repository.full_name.casefold()] = repository.id
        repository.name = name
        if told:
            change = {"changes": {"repository": {"name": {"from": before}}}}
            self._about_repository(repository, "renamed", change)

    def archive_repository(self, repository: Repository) -> None:
        """Make it read-only."""
        repository.archived = True
        self._about_repository(repository, "archived")

    def unarchive_repository(self, repository: Repository) -> None:
        """Make it writable again."""
        repository.archived = False
        self._about_repository(repository, "unarchived")

    def set_private(self, repository: Repository, *, private: bool) -> None:
        """Change who may see it."""
        repository.private = private
        self._about_repository(repository, "privatized" if private else "publicized")

    def delete_repository(self, repository: Repository) -> None:
        """Delete for good; every installation that saw it loses it."""
        del self.world.repositories[repository.id]
        self._about_repository(repository, "deleted")
        for installation in self.world.installed_on(repository):
            self.remove_repositories(installation, [repository])

    def transfer_repository(self, repository: Repository, to: Account) -> None:
        """Give it to another owner. Installations of the old one lose it, those of the new one see it.

        The event goes to the new owner's installations alone.
        """
        before = repository.owner
        self.world.old_names[repository.full_name.casefold()] = repository.id
        repository.owner = to
        for installation in self.world.installed_on(repository):
            self.remove_repositories(installation, [repository])
        for installation in self.world.installations.values():
            if installation.account.id == to.id:
                installation.repositories[repository.id] = repository
        kind = "organization" if before.kind == "Organization" else "user"
        change = {"changes": {"owner": {"from": {kind: views.account(before)}}}}
        self._about_repository(repository, "transferred", change)

    def rename_account(self, account: Account, login: str) -> None:
        """Rename a user or an organisation; the old names of its repositories redirect."""
        for repository in self.world.repositories.values():
            if repository.owner.id == account.id:
                self.world.old_names[repository.full_name.casefold()] = repository.id
        before, account.login = account.login, login
        del self.world.accounts[before.casefold()]
        self.world.accounts[login.casefold()] = account
        for installation in self.world.installations.values():
            if installation.account.id == account.id and "installation_target" in installation.app.events:
                change = {
                    "account": views.account(account),
                    "changes": {"login": {"from": before}},
                    "target_type": account.kind,
                }
                self._about_installation(installation, "installation_target", "renamed", change)

    # --- issues

    def open_issue(
        self, repository: Repository, author: str, title: str, body: str | None = "", **more: Any
    ) -> Issue:
        """Somebody opens an issue."""
        issue = self.seed_issue(repository, title, body, author, **more)
        self._about_issue(repository, issue, "opened", issue.author)
        return issue

    def edit_issue(
        self, repository: Repository, issue: Issue, *, title: str | None = None, body: str | None = None
    ) -> None:
        """Its author changes title or body."""
        changes: Json = {}
        if title is not None:
            changes["title"], issue.title = {"from": issue.title}, title
        if body is not None:
            changes["body"], issue.body = {"from": issue.body}, body
        self._touch(issue)
        self._about_issue(repository, issue, "edited", issue.author, {"changes": changes})

    def close_issue(
        self, repository: Repository, issue: Issue, by: Account | None = None, reason: str = "completed"
    ) -> None:
        """Close."""
        issue.state, issue.state_reason, issue.closed_at = "closed", reason, self.clock()
        self._touch(issue)
        self._about_issue(repository, issue, "closed", by or issue.author)

    def reopen_issue(self, repository: Repository, issue: Issue, by: Account | None = None) -> None:
        """Open again."""
        issue.state, issue.state_reason, issue.closed_at = "open", "reopened", None
        self._touch(issue)
        self._about_issue(repository, issue, "reopened", by or issue.author)

    def add_labels(
        self, repository: Repository, issue: Issue, names: Iterable[str], by: Account | None = None
    ) -> None:
        """Add labels, each with its event."""
        for name in names:
            if name not in issue.labels:
                issue.labels.append(name)
                self._touch(issue)
                self._about_issue(repository, issue, "labeled", by or issue.author, {"label": {"name": name}})

    def remove_label(
        self, repository: Repository, issue: Issue, name: str, by: Account | None = None
    ) -> None:
        """Take a label off. Raises NoSuchError where it is not there."""
        if name not in issue.labels:
            raise NoSuchError(name)
        issue.labels.remove(name)
        self._touch(issue)
        self._about_issue(repository, issue, "unlabeled", by or issue.author, {"label": {"name": name}})

    def lock_issue(self, repository: Repository, issue: Issue) -> None:
        """Let only collaborators comment."""
        issue.locked = True
        self._touch(issue)
        self._about_issue(repository, issue, "locked", repository.owner)

    def unlock_issue(self, repository: Repository, issue: Issue) -> None:
        """Let everybody comment again."""
        issue.locked = False
        self._touch(issue)
        self._about_issue(repository, issue, "unlocked", repository.owner)

    def pin_issue(self, repository: Repository, issue: Issue) -> None:
        """Show it above the list: an event that changes nothing of the issue."""
        self._about_issue(repository, issue, "pinned", repository.owner)

    def delete_issue(self, repository: Repository, issue: Issue) -> None:
        """Delete for good."""
        del repository.issues[issue.number]
        repository.gone.add(issue.number)
        self._about_issue(repository, issue, "deleted", repository.owner)

    def transfer_issue(self, repository: Repository, issue: Issue, to: Repository) -> Issue:
        """Move to another repository, where it is a new issue with the old text."""
        del repository.issues[issue.number]
        moved = self.seed_issue(
            to,
            issue.title,
            issue.body,
            issue.author.login if issue.author else None,
            created_at=issue.created_at,
        )
        repository.moved[issue.number] = f"{self.url}/repos/{to.full_name}/issues/{moved.number}"
        self._about_issue(repository, issue, "transferred", repository.owner)
        self._about_issue(to, moved, "opened", repository.owner)
        return moved

    # --- comments

    def comment(
        self, repository: Repository, issue: Issue, author: Account | str, body: str, app: App | None = None
    ) -> Comment:
        """Somebody, or an App, comments."""
        who = self.world.account(author) if isinstance(author, str) else author
        moment = self.clock()
        comment = Comment(next(self.world.ids), who, body, moment, moment, app.id if app else None)
        issue.comments.append(comment)
        self._touch(issue)
        self._about_comment(repository, issue, comment, "created", who)
        return comment

    def edit_comment(
        self, repository: Repository, issue: Issue, comment: Comment, body: str, by: Account | None = None
    ) -> None:
        """Change a comment; its author, or somebody with write access."""
        before, comment.body, comment.updated_at = comment.body, body, self.clock()
        change = {"changes": {"body": {"from": before}}}
        self._about_comment(repository, issue, comment, "edited", by or comment.author, change)

    def delete_comment(
        self, repository: Repository, issue: Issue, comment: Comment, by: Account | None = None
    ) -> None:
        """Delete a comment; its author, or somebody with write access."""
        issue.comments.remove(comment)
        self._about_comment(repository, issue, comment, "deleted", by or comment.author)

    def react(self, comment: Comment, user: Account | str, content: str) -> Reaction:
        """React; the same reaction again is the one there is. GitHub sends no webhook for it."""
        who = self.world.account(user) if isinstance(user, str) else user
        for known in comment.reactions:
            if known.user.id == who.id and known.content == content:
                return known
        comment.reactions.append(Reaction(next(self.world.ids), who, content))
        return comment.reactions[-1]

    # --- webhooks

    def _touch(self, issue: Issue) -> None:
        issue.updated_at = max(self.clock(), issue.updated_at)

    def _about_installation(self, installation: Installation, event: str, action: str, more: Json) -> None:
        payload = {
            "action": action,
            "installation": views.installation(installation),
            "sender": views.account(installation.account),
        }
        self.hooks.emit(installation.app, event, payload | more)

    def _about_repository(self, repository: Repository, action: str, more: Json | None = None) -> None:
        """Tell every installation that sees the repository and whose App listens."""
        for installation in self.world.installed_on(repository):
            if installation.suspended or "repository" not in installation.app.events:
                continue
            payload = {
                "action": action,
                "repository": views.repository(repository, self.url),
                "installation": {"id": installation.id, "node_id": f"IN_{installation.id}"},
                "sender": views.account(repository.owner),
            }
            self.hooks.emit(installation.app, "repository", payload | (more or {}))

    def _about_issue(
        self,
        repository: Repository,
        issue: Issue,
        action: str,
        sender: Account | None,
        more: Json | None = None,
    ) -> None:
        self._tell(repository, "issues", action, issue, sender, more or {})

    def _about_comment(
        self,
        repository: Repository,
        issue: Issue,
        comment: Comment,
        action: str,
        sender: Account | None,
        more: Json | None = None,
    ) -> None:
        app = self.world.apps.get(comment.app_id or 0)
        shown = {"comment": views.comment(comment, issue, repository, app, self.url)}
        self._tell(repository, "issue_comment", action, issue, sender, shown | (more or {}))

    def _tell(
        self,
        repository: Repository,
        event: str,
        action: str,
        issue: Issue,
        sender: Account | None,
        more: Json,
    ) -> None:
        """Send an event to every installation that sees the repository and whose App listens."""
        for installation in self.world.installed_on(repository):
            if installation.suspended or event not in installation.app.events:
                continue
            app = self.world.apps.get(issue.app_id or 0)
            payload = {
                "action": action,
                "issue": views.issue(issue, repository, app, self.url),
                "repository": views.repository(repository, self.url),
                "installation": {"id": installation.id, "node_id": f"IN_{installation.id}"},
                "sender": views.account(sender or repository.owner),
            }
            self.hooks.emit(installation.app, event, payload | more)

"""Canaries: secrets put where they do not belong come out nowhere."""

import json
import re

import aiohttp
import pytest

from bot.core.api_keys import mint, parse
from bot.core.errors import TellError
from bot.core.principal import Scope
from bot.core.redaction import HIDDEN
from bot.credentials import WantedKey, create_key
from bot.sandbox.faults import Fault
from handlers import issue_comment
from storage.audit import Audit

from .conftest import REPORTS

COMMENTS = r"/issues/\d+/comments$"
CANARIES = {
    "installation": "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
    "user": "ghu_26C7e42F292c6912E7710c838347Ae178B4a",
    "ours": mint().text,
    "jwt": "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0NzExIn0.c2lnbmF0dXJl-_",
    "stripe": "sk_live_51H8secretsecret",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAsecret\n-----END RSA PRIVATE KEY-----",
}
ALL = " ".join(CANARIES.values())


def leaks(text):
    """Which canaries stand in a text, whole or in their middle, however it was escaped."""
    bare = text.replace("\u2060", "").replace("\\\\n", "\n").replace("\\n", "\n").replace("\\", "")
    return [name for name, secret in CANARIES.items() if secret in bare or secret[8:24] in bare]


async def everything(stage, tmp_path):
    """All that the service said: logs, comments, what became of each job, what it intends to write."""
    async with stage.database.system() as connection:
        jobs = await connection.fetch("SELECT kind, state, reason FROM jobs")
    notes = [item.body for issue in stage.repository.issues.values() for item in stage.ours(issue)]
    opened = [issue.body for issue in stage.repository.issues.values() if issue.app_id is not None]
    log = (tmp_path / "service.log").read_text(encoding="utf-8")
    return "\n".join([log, *map(str, map(tuple, jobs)), *notes, *opened])


@pytest.mark.parametrize("status", [403, 422, 500])
async def test_what_github_answers_is_told_without_secrets(stage, tmp_path, status):
    body = json.dumps({"message": f"Bad value {CANARIES['installation']}", "errors": [{"message": ALL}]})
    stage.sandbox.faults.append(Fault("POST", COMMENTS, status=status, body=body, times=50))
    stage.github.open_issue(stage.repository, "rita", f"{REPORTS[0][0]} again", REPORTS[0][1])
    await stage.github.hooks.settled()

    async def told():
        return str(status) in str([job[2] for job in await stage.ended()])

    await stage.until(told, "the failure")
    shown = await everything(stage, tmp_path)
    assert leaks(shown) == []
    assert HIDDEN in shown


async def test_bugs_that_put_secrets_into_errors_tell_none(stage, tmp_path, monkeypatch):
    async def fails(_ctx, _call):
        local = ALL
        raise ValueError(f"it was {local}")

    issue = await stage.report_again(0)
    monkeypatch.setattr(issue_comment, "COMMANDS", {"help": fails})
    stage.github.comment(stage.repository, issue, "tess", "/dejaview help")
    await stage.quiet_but_for("delivery")
    shown = await everything(stage, tmp_path)
    assert "ValueError: it was ***" in shown
    assert leaks(shown) == []


async def test_a_comment_holds_no_secret(stage, tmp_path, monkeypatch):
    """As happened to the Odoo community's bot, which wrote its token into a comment."""

    async def tells(_ctx, _call):
        raise TellError(f"cannot push to https://x-access-token:{CANARIES['installation']}@h: {ALL}")

    issue = await stage.report_again(0)
    monkeypatch.setattr(issue_comment, "COMMANDS", {"help": tells})
    _, (reply,) = await stage.command(issue, "tess", "/dejaview help")
    assert f"cannot push to https://x-access-token:{HIDDEN}" in reply
    assert leaks(await everything(stage, tmp_path)) == []
    assert "secret_kept_back" in (tmp_path / "service.log").read_text(encoding="utf-8")


async def test_secrets_of_others_are_not_repeated(open_stage, tmp_path):
    """In a title that we would quote, a command, and a config file whose problems we tell."""
    stage = await open_stage()
    title = f"{REPORTS[0][0]} {CANARIES['installation']}"
    config = f"{CANARIES['user']}: 1\n{CANARIES['stripe']}: 2\n".encode()
    await stage.install(stage.new_repository(reports=[(title, REPORTS[0][1]), *REPORTS[1:]], config=config))
    issue = await stage.report_again(0, title=f"{REPORTS[0][0]} again")
    (comment,) = stage.ours(issue)
    assert "Crash when opening the settings dialog on Wayland" in comment.body
    await stage.command(issue, "tess", f"/dejaview duplicate {CANARIES['ours']}")
    notice = next(item for item in stage.repository.issues.values() if item.app_id is not None)
    assert leaks(notice.body) == []
    assert leaks(await everything(stage, tmp_path)) == []


async def operations(session, url):
    """Every method and path that the API describes, with a canary for each text in it."""
    async with session.get(f"{url}/v1/openapi.json") as response:
        described = (await response.json())["paths"]
    for path, methods in described.items():
        for method in methods.keys() & {"get", "post", "put", "patch", "delete"}:
            yield method, re.sub(r"\{[^}]*\}", CANARIES["ours"], path)
            yield method, re.sub(r"\{[^}]*\}", "1", path)


@pytest.mark.parametrize("known", [False, True], ids=["stranger", "caller"])
async def test_no_route_of_the_api_repeats_a_secret(stage, tmp_path, known):
    """P09 and T119: in the query, the path, the headers, the cookies and the body, with a key that is good and without."""
    url = f"http://127.0.0.1:{stage.process.port}"
    key = await create_key(stage.process.base.settings, WantedKey("octo", Scope.ADMIN))
    body = {
        "issuer": ALL,
        "token": CANARIES["jwt"],
        "name": CANARIES["user"],
        CANARIES["stripe"]: 1,
        "api_key": key,
    }
    # A credential in the query is refused at once: the caller has other things there, so that more is looked at.
    query = (
        {"cursor": ALL, CANARIES["user"]: "1"} if known else {"api_key": key, "access_token": CANARIES["jwt"]}
    )
    headers = {
        "Authorization": f"Bearer {key if known else CANARIES['jwt']}",
        "X-Other": CANARIES["installation"],
    }
    seen = []
    async with aiohttp.ClientSession(cookies={"other": CANARIES["ours"]}) as session:
        async for method, path in operations(session, url):
            for more in ({"json": body}, {"data": ALL}):
                async with session.request(
                    method, url + path, params=query, headers=headers, **more
                ) as response:
                    seen.append((response.status, await response.text(), str(response.headers)))
    log = (tmp_path / "service.log").read_text(encoding="utf-8")
    told = "\n".join([log, *(text + headers for _, text, headers in seen)])
    assert len(seen) > 60
    assert {status for status, *_ in seen} <= ({401, 404, 422, 429} if known else {401, 429})
    assert HIDDEN in told or not known  # a field whose name looks like a secret
    assert leaks(told) == []
    assert key not in told
    assert key[20:40] not in told
    assert parse(key).id in (await dumped_audit(stage))  # its id may be known


async def dumped_audit(stage):
    lines = await Audit(stage.database).list(stage.repository.owner.id, None, 100)
    return "\n".join(line.act.subject for line in lines)

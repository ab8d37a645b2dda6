import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from bot.core.errors import GitHubUnavailableError
from bot.github.tokens import Purpose, Scope, Token, Tokens, token_from

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
SCOPE = Scope(7, 42, Purpose.WORK)


class Mint:
    """Mints tokens of an hour, slowly, and counts them."""

    def __init__(self):
        self.scopes, self.now, self.error = [], NOW, None

    def clock(self):
        return self.now

    async def __call__(self, scope):
        self.scopes.append(scope)
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        ends = (self.now + timedelta(hours=1)).isoformat()
        return token_from({"token": f"ghs_{len(self.scopes)}", "expires_at": ends}, self.now)


@pytest.fixture
def mint():
    return Mint()


@pytest.fixture
def tokens(mint):
    return Tokens(mint, mint.clock, capacity=3)


@pytest.mark.parametrize(
    ("scope", "body"),
    [
        (SCOPE, {"repository_ids": [42], "permissions": {"issues": "write", "metadata": "read"}}),
        (
            Scope(7, 42, Purpose.HISTORY),
            {
                "repository_ids": [42],
                "permissions": {"issues": "read", "metadata": "read", "pull_requests": "read"},
            },
        ),
        (
            Scope(7, 42, Purpose.CONFIG),
            {"repository_ids": [42], "permissions": {"contents": "read", "metadata": "read"}},
        ),
        (Scope(7, None, Purpose.LISTING), {"permissions": {"metadata": "read"}}),
    ],
)
def test_a_token_opens_no_more_than_its_purpose_needs(scope, body):
    assert scope.request() == body


async def test_fifty_at_once_ask_github_once(tokens, mint):
    found = await asyncio.gather(*(tokens.get(SCOPE) for _ in range(50)))
    assert {token.value for token in found} == {"ghs_1"}
    assert mint.scopes == [SCOPE]


async def test_scopes_do_not_share_tokens(tokens, mint):
    scopes = [SCOPE, Scope(7, 43, Purpose.WORK), Scope(8, 42, Purpose.WORK), Scope(7, 42, Purpose.CONFIG)]
    values = {(await tokens.get(scope)).value for scope in scopes}
    assert len(values) == 4
    assert mint.scopes == scopes


async def test_a_token_is_renewed_five_minutes_early(tokens, mint):
    await tokens.get(SCOPE)
    mint.now = NOW + timedelta(minutes=54, seconds=59)
    assert (await tokens.get(SCOPE)).value == "ghs_1"
    mint.now = NOW + timedelta(minutes=55)
    assert (await tokens.get(SCOPE)).value == "ghs_2"


def test_a_short_token_is_used_for_half_its_life():
    token = token_from({"token": "ghs_x", "expires_at": (NOW + timedelta(seconds=30)).isoformat()}, NOW)
    assert token.renew_at == NOW + timedelta(seconds=15)


async def test_whoever_asked_first_may_leave(tokens, mint):
    first = asyncio.create_task(tokens.get(SCOPE))
    await asyncio.sleep(0)
    second = asyncio.create_task(tokens.get(SCOPE))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).value == "ghs_1"
    assert len(mint.scopes) == 1


async def test_a_failure_is_everybody_s_and_is_not_kept(tokens, mint):
    mint.error = GitHubUnavailableError("no")
    found = await asyncio.gather(*(tokens.get(SCOPE) for _ in range(5)), return_exceptions=True)
    assert {type(error) for error in found} == {GitHubUnavailableError}
    assert len(mint.scopes) == 1
    mint.error = None
    assert (await tokens.get(SCOPE)).value == "ghs_2"


async def test_a_refused_token_is_forgotten_unless_it_was_replaced(tokens, mint):
    first = await tokens.get(SCOPE)
    tokens.refused(SCOPE, first)
    second = await tokens.get(SCOPE)
    tokens.refused(SCOPE, first)
    assert await tokens.get(SCOPE) is second


async def test_the_least_recently_used_is_forgotten(tokens, mint):
    scopes = [Scope(7, number, Purpose.WORK) for number in range(4)]
    for scope in (*scopes[:3], scopes[0], scopes[3]):
        await tokens.get(scope)
    await tokens.get(scopes[0])
    assert len(mint.scopes) == 4
    await tokens.get(scopes[1])
    assert len(mint.scopes) == 5


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"token": "ghs_x"},
        {"token": "", "expires_at": "2024-05-01T13:00:00Z"},
        {"token": 5, "expires_at": "2024-05-01T13:00:00Z"},
        {"token": "ghs_x", "expires_at": "soon"},
        {"token": "ghs_x", "expires_at": "2024-05-01T13:00:00"},
    ],
)
def test_an_answer_without_a_token(answer):
    with pytest.raises(GitHubUnavailableError) as raised:
        token_from(answer, NOW)
    assert "ghs_x" not in str(raised.value)


def test_a_token_is_not_shown():
    assert "ghs_x" not in repr(Token("ghs_x", NOW, 0.0))

import time

import aiohttp
import pytest

from bot.sandbox.faults import Fault, truncated

COMMENTS = "/repos/ann/tool/issues/1/comments"


@pytest.fixture(autouse=True)
def issue(play):
    return play.github.seed_issue(play.open, "It crashes")


async def write(play):
    return await play.status("POST", COMMENTS, body={"body": "x"})


async def test_a_fault_takes_the_calls_that_it_is_for_and_no_others(play, issue):
    play.sandbox.faults.append(Fault("POST", "/comments$", times=2, skip=1, status=502))
    assert await play.status("GET", COMMENTS) == 200
    assert await play.status("POST", "/repos/ann/tool/issues/1/labels", body={"labels": ["a"]}) == 200
    assert [await write(play) for _ in range(4)] == [201, 502, 502, 201]
    assert len(issue.comments) == 2


async def test_faults_follow_each_other(play):
    play.sandbox.faults += [Fault("POST", "comments", status=500), Fault("POST", "comments", status=503)]
    assert [await write(play) for _ in range(3)] == [500, 503, 201]


async def test_a_fault_says_what_it_was_told_to(play):
    play.sandbox.faults.append(
        Fault("GET", COMMENTS, status=429, headers={"Retry-After": "7"}, body='{"message": "slow down"}')
    )
    status, body, headers = await play.call("GET", COMMENTS)
    assert (status, body, headers["Retry-After"]) == (429, {"message": "slow down"}, "7")
    assert [call.status for call in play.sandbox.calls] == [429]


async def test_a_lost_answer_has_its_effect(play, issue):
    play.sandbox.faults.append(Fault("POST", "comments", status=502, accepted=True))
    assert await write(play) == 502
    assert len(issue.comments) == 1


@pytest.mark.parametrize("accepted", [False, True])
async def test_a_connection_that_breaks(play, issue, accepted):
    play.sandbox.faults.append(Fault("POST", "comments", hang_up=True, accepted=accepted))
    with pytest.raises(aiohttp.ClientError):
        await write(play)
    assert len(issue.comments) == accepted
    assert await write(play) == 201


@pytest.mark.parametrize(("passes", "status"), [(True, 201), (False, 500)])
async def test_a_slow_answer(play, issue, passes, status):
    play.sandbox.faults.append(Fault("POST", "comments", delay=0.2, passes=passes))
    started = time.monotonic()
    assert await write(play) == status
    assert time.monotonic() - started >= 0.2
    assert len(issue.comments) == passes


async def test_an_answer_that_breaks_off(play):
    play.sandbox.faults.append(truncated())
    headers = {"Authorization": f"Bearer {play.token()}"}
    async with play.session.get(play.url + COMMENTS, headers=headers) as response:
        assert response.status == 200
        with pytest.raises(ValueError, match="Unterminated string"):
            await response.json()


async def test_a_call_that_is_refused_is_a_fault_that_was_used_up(play):
    """A fault stands before everything else, as a proxy in front of GitHub does."""
    play.sandbox.faults.append(Fault("GET", "/none", status=418))
    assert [await play.status("GET", "/none") for _ in range(2)] == [418, 501]

import asyncio
import gzip
import hmac
import io
import time
from uuid import uuid4

import asyncpg
from structlog.testing import capture_logs

from bot.core.errors import StorageUnavailableError
from bot.web import hooks
from bot.web.server import HOOK_PATH
from storage.database import Database
from storage.inbox import Inbox
from tests.pace import allowed
from tests.web.conftest import APP_ID, ISSUE, OLD_SECRET, SECRET, body_of, headers, raw, served, signed

BODY = body_of()
GUID = str(uuid4())


def sha1(body):
    return "sha1=" + hmac.new(SECRET, body, "sha1").hexdigest()


def request(*lines, **changes):
    """The bytes of a delivery's head, signed for `BODY`."""
    given = [f"{name}: {value}" for name, value in headers(BODY, **changes).items()]
    return "\r\n".join([f"POST {HOOK_PATH} HTTP/1.1", "Host: h", *lines, *given, "", ""]).encode()


FORM = b"payload=%7B%7D"
REFUSED = {
    "W01-unsigned": (BODY, {"X_Hub_Signature_256": None}, 401),
    "W03-empty-secret": (BODY, {"X_Hub_Signature_256": signed(BODY, b"")}, 401),
    "W04-sha1-alone": (BODY, {"X_Hub_Signature_256": None, "X_Hub_Signature": sha1(BODY)}, 401),
    "W05-sha1-in-its-place": (BODY, {"X_Hub_Signature_256": sha1(BODY)}, 401),
    "W06-not-ascii": (BODY, {"X_Hub_Signature_256": "sha256=é"}, 401),
    "W07-upper-case": (BODY, {"X_Hub_Signature_256": "sha256=" + signed(BODY)[7:].upper()}, 401),
    "W08-other-bytes": (BODY + b" ", {"X_Hub_Signature_256": signed(BODY)}, 401),
    "another-secret": (BODY, {"X_Hub_Signature_256": signed(BODY, b"x" * 32)}, 401),
    "W10-odd-charset": (BODY, {"Content_Type": "application/json; charset=x-bogus"}, 415),
    "W11-utf-16": (BODY, {"Content_Type": "application/json; charset=utf-16"}, 415),
    "W11-text": (BODY, {"Content_Type": "text/plain"}, 415),
    "W12-form": (FORM, {"Content_Type": "application/x-www-form-urlencoded"}, 415),
    "W14-broken-json": (b"{", {}, 400),
    "W15-empty": (b"", {}, 400),
    "W16-null": (b"null", {}, 400),
    "W16-number": (b"5", {}, 400),
    "W16-string": (b'"action"', {}, 400),
    "W17-array": (b"[]", {}, 400),
    "W18-action-array": (b'{"action": ["x"]}', {}, 400),
    "W18-action-object": (b'{"action": {}}', {}, 400),
    "W19-deep": (b"[" * 200_000, {}, 400),
    "W20-long-integer": (b'{"a": ' + b"9" * 5_000 + b"}", {}, 400),
    "W21-nan": (b'{"a": NaN}', {}, 400),
    "W21-infinite": (b'{"a": 1e999}', {}, 400),
    "W23-not-utf-8": (b'{"a": "\xff"}', {}, 400),
    "W23-bom": (b"\xef\xbb\xbf{}", {}, 400),
    "W26-no-event": (BODY, {"X_GitHub_Event": None}, 400),
    "W27-no-guid": (BODY, {"X_GitHub_Delivery": None}, 400),
    "W27-other-guid": (BODY, {"X_GitHub_Delivery": "1234"}, 400),
    "W27-long-guid": (BODY, {"X_GitHub_Delivery": "a" * 7_000}, 400),
    "W32-gzip": (gzip.compress(BODY), {"Content_Encoding": "gzip"}, 415),
    "W32-gzip-bomb": (gzip.compress(b" " * 30_000_000), {"Content_Encoding": "gzip"}, 415),
}  # fmt: skip
"""Requests that are refused: body, headers that differ, status (numbers are those of the hostile inputs' table)."""


async def test_what_is_refused_leaves_nothing(site, rows):
    # One database for all of them: what is refused must leave no row in it.
    for name, (body, changes, status) in REFUSED.items():
        before = site.counted("unverified", status) or 0
        answered, outcome = await site.post(body, **changes)
        assert (name, answered) == (name, status)
        assert 0 < len(outcome) < 60
        assert site.counted("unverified", status) == before + 1
        assert site.intake._in_flight == 0
        assert (name, await rows()) == (name, (0, 0))


async def test_two_signatures_are_none(site, rows):
    given = [(name, value) for name, value in headers(BODY).items()] + [
        ("X-Hub-Signature-256", "sha256=" + "0" * 64)
    ]
    assert (await site.send(BODY, given))[0] == 401
    assert await rows() == (0, 0)


async def test_no_content_type_is_refused(site, rows):
    answer = await raw(site.port, request(f"Content-Length: {len(BODY)}", Content_Type=None) + BODY)
    assert answer.startswith("HTTP/1.1 415")
    assert await rows() == (0, 0)


# --- what is taken


STORED = {
    "plain": {},
    "W24-nul": {"action": "opened", "issue": {"number": 7, "title": "a\0b"}},
    "W25-lone-surrogate": {"issue": {"number": 7, "title": "\ud800"}},
    "W33-large-number": {"issue": {"number": 2**63}},
    "W33-true": {"issue": {"number": True}},
    "W33-text": {"issue": {"number": "1"}},
    "W33-negative": {"issue": {"number": -1}},
    "no-issue": {"issue": None},
    "W35-no-installation": {"installation": None},
    "W35-odd-installation": {"installation": {"id": "77"}},
    "W35-large-installation": {"installation": {"id": 2**63}},
    "W36-odd-repository": {"repository": []},
    "W37-long": {"issue": {"number": 7, "title": "x" * 10_000, "body": "y" * 1_000_000}},
    "W38-odd-title": {"issue": {"number": 7, "title": "\u202e👨\u200d👩\u200d👧 "}},
    "W39-ghost": {"issue": {"number": 7, "user": None, "body": None, "labels": None}},
    "W40-pull-request": {"issue": {"number": 7, "pull_request": {}}},
}
"""Signed events that are stored: what differs from an ordinary one."""


async def test_a_signed_event_is_stored_whatever_it_holds(site, database, rows):
    for n, (name, change) in enumerate(STORED.items(), 1):
        body, guid = body_of(ISSUE | change), uuid4()
        assert (name, *await site.post(body, X_GitHub_Delivery=str(guid))) == (name, 202, "stored")
        assert (name, *await rows()) == (name, n, n)
        async with database.system() as connection:
            row = await connection.fetchrow("SELECT event, body FROM deliveries WHERE id = $1", guid)
        assert (row["event"], row["body"]) == ("issues", body)
    assert site.counted("issues", 202) == len(STORED)


async def test_either_secret_signs_while_one_is_replaced(site, rows):
    for secret in (SECRET, OLD_SECRET):
        assert (await site.post(BODY, X_Hub_Signature_256=signed(BODY, secret)))[0] == 202
    assert await rows() == (2, 2)


async def test_a_large_installation_is_acknowledged_at_once(site, rows):
    """W46: what it means is the worker's business."""
    listed = [{"id": n, "full_name": f"ann/repository-{n}", "private": False} for n in range(1, 5_001)]
    body = body_of({"action": "created", "installation": {"id": 77}, "repositories": listed})
    started = time.monotonic()
    assert await site.post(body, event="installation") == (202, "stored")
    assert time.monotonic() - started < allowed(1)
    assert await rows() == (1, 1)


async def test_no_header_says_where_github_is(site, rows):
    """W48: deliveries of another server are signed with a secret that we do not have, or are ours."""
    foreign = {"X_GitHub_Enterprise_Host": "evil.example", "X_GitHub_Enterprise_Version": "3.1"}
    assert (await site.post(BODY, X_Hub_Signature_256=signed(BODY, b"e" * 32), **foreign))[0] == 401
    assert await site.post(BODY, **foreign) == (202, "stored")
    assert await rows() == (1, 1)


async def test_of_two_keys_the_last_counts(site, rows):
    body = b'{"action": "deleted", "action": "opened", "issue": {"number": 1}}'  # W22
    assert await site.post(body) == (202, "stored")
    assert await rows() == (1, 1)


async def test_a_ping_is_answered_and_not_stored(site, rows):
    assert await site.post(b'{"zen": "x", "hook_id": 1}', event="ping") == (200, "pong")
    assert await rows() == (0, 0)


async def test_what_nothing_handles_is_acknowledged_and_counted_as_one_kind(site, rows):
    unhandled = [("push", None), ("issues", "pinned"), ("made_up", "x"), ("star", "created")]
    for event, action in unhandled:
        status, outcome = await site.post(body_of({"action": action}), event=event)
        assert (event, status, outcome) == (event, 202, "ignored: nothing handles this event")
        assert site.counted(event, 202) is None  # no label that a stranger chooses
    assert site.counted("unrouted", 202) == len(unhandled)
    assert await rows() == (0, 0)


COMMENTS = [
    ({"sender": {"type": "Bot"}}, "ignored: a bot's comment", 0),
    ({"comment": {"performed_via_github_app": {"id": APP_ID}}}, "ignored: our own comment", 0),
    ({"comment": {"performed_via_github_app": {"id": 1}}}, "stored", 1),
    ({"comment": {"performed_via_github_app": None}}, "stored", 2),
    ({"comment": []}, "stored", 3),
]


async def test_bots_comments_are_no_work(site, rows):
    for change, outcome, stored in COMMENTS:
        body = body_of(ISSUE | {"action": "created", "comment": {"id": 1}} | change)
        assert await site.post(body, event="issue_comment") == (202, outcome)
        assert await rows() == (stored, stored)


# --- the same again


async def test_a_known_delivery_is_acknowledged_and_not_done_again(site, rows):
    assert await site.post(BODY, X_GitHub_Delivery=GUID) == (202, "stored")
    assert await site.post(BODY, X_GitHub_Delivery=GUID.upper()) == (200, "known")
    assert await rows() == (1, 1)


async def test_the_same_delivery_a_hundred_times_at_once_is_one_job(site, rows):
    given = headers(BODY)
    answers = await asyncio.gather(*(site.send(BODY, given) for _ in range(100)))
    assert sorted(status for status, _ in answers) == [200] * 99 + [202]
    assert await rows() == (1, 1)


async def test_of_two_bodies_under_one_id_the_first_is_kept(site, database, rows):
    assert (await site.post(BODY, X_GitHub_Delivery=GUID))[0] == 202
    assert await site.post(body_of(ISSUE | {"action": "deleted"}), X_GitHub_Delivery=GUID) == (200, "known")
    assert await rows() == (1, 1)
    async with database.system() as connection:
        assert await connection.fetchval("SELECT body FROM deliveries") == BODY


async def test_nobody_can_take_an_id_away_without_a_signature(site, rows):
    assert (await site.post(BODY, X_GitHub_Delivery=GUID, X_Hub_Signature_256=None))[0] == 401
    assert await site.post(BODY, X_GitHub_Delivery=GUID) == (202, "stored")
    assert await rows() == (1, 1)


async def test_a_burst_is_acknowledged_whole(site, rows):
    bodies = [body_of(ISSUE | {"n": n}) for n in range(2_000)]
    answers = await asyncio.gather(*(site.post(body) for body in bodies))
    assert {status for status, _ in answers} == {202}
    assert await rows() == (2_000, 2_000)


# --- size and time


async def test_the_largest_body_that_github_sends_is_taken(site, rows):
    body = b'{"action": "opened", "x": "' + b"x" * (25 * 1024 * 1024 - 29) + b'"}'
    assert len(body) == hooks.MAX_BODY
    async with site.session.post(
        site.url + HOOK_PATH, data=io.BytesIO(body), headers=headers(body)
    ) as response:
        assert response.status == 202
    assert await rows() == (1, 1)


async def test_a_larger_one_is_refused(site, rows):
    body = b" " * (hooks.MAX_BODY + 1)
    answer = await raw(site.port, [request(f"Content-Length: {len(body)}"), body])
    assert answer.startswith("HTTP/1.1 413")
    assert await rows() == (0, 0)
    assert site.intake._in_flight == 0


async def test_a_body_without_end_is_cut_off(site, rows, monkeypatch):
    monkeypatch.setattr(hooks, "MAX_BODY", 1024 * 1024)
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    given = headers(b"")
    try:
        async with site.session.post(site.url + HOOK_PATH, data=endless(), headers=given) as response:
            assert response.status == 413
    except OSError:  # the server hung up while we were still sending
        pass
    assert sent < 16 * 1024 * 1024
    assert site.counted("unverified", 413) == 1
    assert site.intake._in_flight == 0
    assert await rows() == (0, 0)


async def test_a_length_that_lies_does_not_help(site, rows, monkeypatch):
    monkeypatch.setattr(hooks, "READ_TIMEOUT", 0.2)
    for length, status in (("5000000000", "408"), ("-1", "400"), ("x", "400"), ("1", "400")):
        answer = await raw(site.port, request(f"Content-Length: {length}", "Connection: close") + BODY)
        assert (length, answer[9:12]) == (length, status)
        assert await rows() == (0, 0)


async def test_a_slow_body_is_given_up(site, rows, monkeypatch):
    monkeypatch.setattr(hooks, "READ_TIMEOUT", 0.2)
    answer = await raw(site.port, request(f"Content-Length: {len(BODY)}") + BODY[:10])
    assert answer.startswith("HTTP/1.1 408")
    assert site.counted("unverified", 408) == 1
    assert site.intake._in_flight == 0
    assert await rows() == (0, 0)


async def test_slow_storing_is_not_a_slow_body(site, rows, monkeypatch):
    """What may have been stored must not be answered with "the body did not arrive"."""
    monkeypatch.setattr(hooks, "READ_TIMEOUT", 0.2)
    accept = site.intake.inbox.accept

    async def slow(delivery, job):
        await asyncio.sleep(0.5)
        return await accept(delivery, job)

    monkeypatch.setattr(site.intake.inbox, "accept", slow)
    assert await site.post(BODY) == (202, "stored")
    assert await rows() == (1, 1)


async def test_a_flood_of_large_bodies_is_pushed_back(site, rows, monkeypatch):
    monkeypatch.setattr(hooks, "MAX_IN_FLIGHT", 1024 * 1024)
    body = b" " * 700_000
    gate = asyncio.Event()

    async def held():
        yield body[:-1]
        await gate.wait()
        yield body[-1:]

    async def send(data):
        async with site.session.post(site.url + HOOK_PATH, data=data, headers=headers(body)) as response:
            return response.status

    first = asyncio.create_task(send(held()))
    while site.intake._in_flight < 600_000:
        await asyncio.sleep(0.01)
    assert await send(body) == 503
    gate.set()
    assert await first == 400  # read whole and verified: it is only not JSON
    assert site.intake._in_flight == 0


async def test_a_sender_that_hangs_up_leaves_nothing(site, rows):
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request(f"Content-Length: {len(BODY)}") + BODY[:50])
    await writer.drain()
    with capture_logs() as logs:
        async with asyncio.timeout(5):
            while site.intake._in_flight != 50:
                await asyncio.sleep(0.01)
            writer.close()
            while site.intake._in_flight:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == []  # it is no fault of ours
    assert await rows() == (0, 0)
    assert (await site.post(BODY))[0] == 202


async def test_chunks_that_are_none_are_refused(site, rows, monkeypatch):
    monkeypatch.setattr(hooks, "READ_TIMEOUT", 0.2)
    start = request("Transfer-Encoding: chunked", "Connection: close")
    with capture_logs() as logs:
        for chunk in (b"zz\r\n", b"-1\r\n", b"5\r\nhello!!\r\n", b"ffffffffffffffffff\r\nx"):
            for sent in (start + chunk, [start, chunk], [start, b"2\r\n{}\r\n", chunk]):
                # aiohttp keeps what is wrong with later chunks from us: they do not arrive.
                assert (await raw(site.port, sent))[9:12] in ("400", "408")
    assert [line["event"] for line in logs if line["log_level"] == "error"] == []
    assert await rows() == (0, 0)
    assert site.intake._in_flight == 0


# --- when something is broken

DISK_FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON deliveries FOR EACH STATEMENT EXECUTE FUNCTION full_disk();
"""


async def test_a_database_that_is_gone_is_503_and_heals(database_url, database, rows):
    mine = await Database.connect(database_url, size=2)
    async with served(Inbox(mine)) as site:
        mine._pool.terminate()
        status, outcome = await site.post(BODY, X_GitHub_Delivery=GUID)
        assert (status, outcome) == (503, "not stored, deliver it again")
        assert site.counted("issues", 503) == 1
        assert await rows() == (0, 0)
        site.intake.inbox = Inbox(database)
        assert await site.post(BODY, X_GitHub_Delivery=GUID) == (202, "stored")


async def test_a_disk_that_is_full_is_503_told_once_and_heals(site, database_url, rows):
    owner = await asyncpg.connect(database_url)
    await owner.execute(DISK_FULL)
    with capture_logs() as logs:
        assert await site.post(BODY, X_GitHub_Delivery=GUID) == (503, "not stored, deliver it again")
    assert [(line["log_level"], line.get("reason")) for line in logs if line["event"] == "deliveries_not_stored"] == [
        ("error", "PostgreSQL does not answer: DiskFullError")
    ]  # fmt: skip
    assert site.counted("issues", 503) == 1
    assert await rows() == (0, 0)
    await owner.execute("DROP FUNCTION full_disk CASCADE")
    await owner.close()
    assert await site.post(BODY, X_GitHub_Delivery=GUID) == (202, "stored")
    assert await rows() == (1, 1)


async def test_connections_that_break_are_replaced(site, database, database_url, rows):
    assert (await site.post(BODY))[0] == 202
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await owner.close()
    statuses = [(await site.post(BODY))[0] for _ in range(8)]
    assert set(statuses) <= {202, 503}
    assert statuses[-1] == 202
    assert await rows() == (1 + statuses.count(202),) * 2


async def test_a_bug_is_told_without_its_details():
    class Broken:
        async def accept(self, delivery, job):
            raise RuntimeError("hunter22 stands here")

    async with served(Broken()) as site:
        async with site.session.post(site.url + HOOK_PATH, data=BODY, headers=headers(BODY)) as response:
            assert (response.status, await response.json()) == (500, {"error": "internal error"})
            assert response.content_type == "application/json"
        assert site.intake._in_flight == 0


async def test_storage_that_says_no_is_503():
    class Full:
        async def accept(self, delivery, job):
            raise StorageUnavailableError("hunter22")

    async with served(Full()) as site:
        assert await site.post(BODY) == (503, "not stored, deliver it again")


def test_the_limits_are_githubs():
    assert hooks.MAX_BODY == 25 * 1024 * 1024
    assert hooks.READ_TIMEOUT <= 10

import hashlib
import hmac
import json
import time
from uuid import UUID

import pytest
from multidict import CIMultiDict

from bot.core.errors import BadDeliveryError
from bot.core.webhook import MAX_DEPTH, event_payload, is_deeper, verify
from tests.pace import allowed

SECRET = b"It's a Secret to Everybody"
GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
BODY = b'{"action":"opened","installation":{"id":7},"repository":{"id":8}}'


def signature(body, secret=SECRET, name="sha256"):
    return f"{name}={hmac.new(secret, body, name).hexdigest()}"


def headers(body=BODY, **changes):
    """Headers as GitHub sends them; a change to None leaves one out, a list repeats it."""
    sent = {
        "X-Hub-Signature-256": signature(body), "X-GitHub-Event": "issues", "X-GitHub-Delivery": GUID, "Content-Type": "application/json",
    }  # fmt: skip
    for name, value in changes.items():
        sent[name.replace("_", "-")] = value
    found = CIMultiDict()
    for name, value in sent.items():
        for each in value if isinstance(value, list) else [] if value is None else [value]:
            found.add(name, each)
    return found


def refused(status, body=BODY, secrets=(SECRET,), **changes):
    with pytest.raises(BadDeliveryError) as caught:
        verify(headers(body, **changes), body, secrets)
    assert caught.value.status == status
    return caught.value.reason


def test_what_is_read_of_a_delivery():
    event = verify(headers(), BODY, [SECRET])
    assert (event.event, event.action, event.delivery_id) == ("issues", "opened", UUID(GUID))
    assert (event.installation_id, event.repository_id, event.body) == (7, 8, BODY)
    assert event.payload == json.loads(BODY)


def test_github_s_own_example_of_a_signature():
    # docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries: the signature is right, the body no JSON
    body = b"Hello, World!"
    value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    refused(400, body, X_Hub_Signature_256=value)
    refused(401, body, X_Hub_Signature_256=value[:-1] + "6")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"X_Hub_Signature_256": None}, id="W01"),
        pytest.param({"X_Hub_Signature_256": signature(BODY, b""), "secrets": [b""]}, id="W03"),
        pytest.param({"X_Hub_Signature_256": None, "X_Hub_Signature": signature(BODY, name="sha1")}, id="W04"),
        pytest.param({"X_Hub_Signature_256": signature(BODY, name="sha1")}, id="W05"),
        pytest.param({"X_Hub_Signature_256": "sha256=é" + "a" * 63}, id="W06"),
        pytest.param({"X_Hub_Signature_256": "sha256=\udce9" + "a" * 63}, id="W06-surrogate"),
        pytest.param({"X_Hub_Signature_256": "sha256=" + signature(BODY)[7:].upper()}, id="W07"),
        pytest.param({"X_Hub_Signature_256": signature(BODY.replace(b":", b": "))}, id="W08"),
        pytest.param({"X_Hub_Signature_256": [signature(BODY), "sha256=" + "0" * 64]}, id="W09"),
        pytest.param({"X_Hub_Signature_256": [signature(BODY)] * 2}, id="W09-same"),
        pytest.param({"X_Hub_Signature_256": signature(BODY) + " "}, id="blank"),
        pytest.param({"X_Hub_Signature_256": signature(BODY) + "\n"}, id="newline"),
        pytest.param({"X_Hub_Signature_256": signature(BODY), "secrets": []}, id="W02-no-secret"),
        pytest.param({"X_Hub_Signature_256": signature(BODY, b"another")}, id="another-secret"),
        pytest.param({"X_Hub_Signature_256": None, "X_GitHub_Event": None, "Content_Type": "text/plain"}, id="first-of-all"),
    ],
)  # fmt: skip
def test_a_delivery_without_the_right_signature_is_refused(given):
    refused(401, **given)


def test_an_unsigned_body_is_not_parsed(monkeypatch):
    monkeypatch.setattr("bot.core.webhook.event_payload", lambda _body: pytest.fail("parsed"))
    refused(401, b"[" * 200_000, X_Hub_Signature_256="sha256=" + "0" * 64)


@pytest.mark.parametrize(("signed_with", "known"), [(b"old", True), (b"new", True), (b"older", False)])
def test_either_of_two_secrets_may_sign(signed_with, known):
    found = headers(X_Hub_Signature_256=signature(BODY, signed_with))
    if known:
        assert verify(found, BODY, [b"new", b"old"]).event == "issues"
    else:
        refused(401, X_Hub_Signature_256=found["X-Hub-Signature-256"], secrets=[b"new", b"old"])


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"Content_Type": "application/json; charset=x-bogus"}, id="W10"),
        pytest.param({"Content_Type": "application/json; charset=utf-16"}, id="W11-utf16"),
        pytest.param({"Content_Type": "text/plain"}, id="W11-text"),
        pytest.param({"Content_Type": None}, id="W11-none"),
        pytest.param(
            {"Content_Type": "application/x-www-form-urlencoded", "body": b"payload=%7B%7D"}, id="W12"
        ),
        pytest.param({"Content_Type": "application/x-www-form-urlencoded", "body": b"a=b"}, id="W13"),
        pytest.param({"Content_Encoding": "gzip"}, id="W32"),
        pytest.param({"Content_Encoding": "identity"}, id="W32-identity"),
        pytest.param({"Content_Type": ["application/json", "text/plain"]}, id="two-types"),
        pytest.param({"Content_Type": "application/jsonp"}, id="longer-type"),
    ],
)
def test_anything_but_json_in_utf8_is_refused(given):
    refused(415, **given)


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/json;",
    ],
)
def test_json_in_utf8_is_taken(kind):
    assert verify(headers(Content_Type=kind), BODY, [SECRET]).event == "issues"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":', id="W14"),
        pytest.param(b"", id="W15"),
        pytest.param(b"null", id="W16-null"),
        pytest.param(b"5", id="W16-number"),
        pytest.param(b'"action"', id="W16-text"),
        pytest.param(b"[]", id="W17"),
        pytest.param(b'{"action":["x"]}', id="W18-list"),
        pytest.param(b'{"action":{}}', id="W18-object"),
        pytest.param(b'{"action":5}', id="W18-number"),
        pytest.param(b"[" * 200_000, id="W19"),
        pytest.param(b'{"a":' * 200_000, id="W19-objects"),
        pytest.param(b'{"a":' + b"9" * 5_000 + b"}", id="W20"),
        pytest.param(b'{"a":NaN}', id="W21-nan"),
        pytest.param(b'{"a":-Infinity}', id="W21-infinity"),
        pytest.param(b'{"a":1e999}', id="W21-1e999"),
        pytest.param(b'{"a":"\xff"}', id="W23-ff"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', id="W23-bom"),
        pytest.param('{"a":1}'.encode("utf-16"), id="W23-utf16"),
        pytest.param(b'{"a":1}x', id="rest"),
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(body):
    began = time.perf_counter()
    refused(400, body)
    assert time.perf_counter() - began < allowed(0.1)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"X_GitHub_Event": None}, id="W26"),
        pytest.param({"X_GitHub_Event": "x" * 101}, id="W26-long"),
        pytest.param({"X_GitHub_Event": "issues\n"}, id="W26-newline"),
        pytest.param({"X_GitHub_Event": "ıssues"}, id="W26-letter"),
        pytest.param({"X_GitHub_Event": ["issues", "ping"]}, id="W26-two"),
        pytest.param({"X_GitHub_Delivery": None}, id="W27-none"),
        pytest.param({"X_GitHub_Delivery": "5"}, id="W27-odd"),
        pytest.param({"X_GitHub_Delivery": "a" * 10_000}, id="W27-long"),
        pytest.param({"X_GitHub_Delivery": "{" + GUID + "}"}, id="W27-braces"),
        pytest.param({"X_GitHub_Delivery": GUID.replace("0", "٠")}, id="W27-digits"),
    ],
)
def test_headers_that_name_no_event_are_refused(given):
    refused(400, **given)


@pytest.mark.parametrize(
    ("body", "action"),
    [
        pytest.param(b'{"zen":"x"}', None, id="W28"),
        pytest.param(b'{"action":"typed_2030"}', "typed_2030", id="W29"),
        pytest.param(b'{"action":"a","action":"b"}', "b", id="W22"),
        pytest.param(b'{"action":null}', None, id="null"),
        pytest.param(b'{"action":"a","issue":{"title":"\\u0000 \\ud800"}}', "a", id="W24-W25"),
        pytest.param(b'{"action":"a","issue":{"number":9223372036854775808}}', "a", id="W33"),
        pytest.param(b'{"action":"' + b"[" * 1_000 + b'\\""}', "[" * 1_000 + '"', id="brackets-in-text"),
        pytest.param(b'{"action":"a","x":' + b"[" * 99 + b"]" * 99 + b"}", "a", id="depth-100"),
        pytest.param(b'{"action":"a","x":[' + b"[],{}," * 500 + b"0]}", "a", id="wide"),
    ],
)
def test_odd_but_signed_events_are_taken(body, action):
    assert verify(headers(body), body, [SECRET]).action == action


def test_a_large_body_is_taken():  # W30
    body = b'{"x":"' + b"a" * (25 * 1024 * 1024 - 8) + b'"}'
    began = time.perf_counter()
    assert len(event_payload(body)["x"]) == len(body) - 8
    assert time.perf_counter() - began < allowed(2)


def test_another_host_changes_nothing():  # W48
    found = headers()
    plain = verify(found, BODY, [SECRET])
    found.add("X-GitHub-Enterprise-Host", "evil.example")
    assert verify(found, BODY, [SECRET]) == plain


@pytest.mark.parametrize("value", ["true", "1.0", "0", "-1", '"7"', "null", "[7]", "9223372036854775808"])
def test_an_id_that_is_none_of_github_s_is_no_id(value):  # W35
    body = f'{{"installation":{{"id":{value}}},"repository":{{"id":{value}}}}}'.encode()
    event = verify(headers(body), body, [SECRET])
    assert (event.installation_id, event.repository_id) == (None, None)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"installation":null,"repository":5}', b'{"installation":[],"repository":"x"}']
)
def test_ids_may_be_missing(body):  # W35
    event = verify(headers(body), body, [SECRET])
    assert (event.installation_id, event.repository_id) == (None, None)


@pytest.mark.parametrize(
    ("body", "deeper"),
    [
        (b"[" * MAX_DEPTH, False),
        (b"[" * (MAX_DEPTH + 1), True),
        (b'"' + b"[" * 500, False),
        (b'"\\"' + b"[" * 500 + b'"', False),
        (b'"\\\\"' + b"[" * 500, True),
        (b'"a"' * 300 + b"{" * 101, True),
    ],
)
def test_depth_counts_outside_of_text(body, deeper):
    assert is_deeper(body, MAX_DEPTH) is deeper


@pytest.mark.parametrize("part", [b'"\\', b'"', b'\\"', b'"\\"', b"[", b"[]", b'"a'])
def test_depth_is_found_in_linear_time(part):
    body = part * (4_000_000 // len(part))
    began = time.perf_counter()
    is_deeper(body, MAX_DEPTH)
    assert time.perf_counter() - began < allowed(1.5)


def test_a_reason_holds_no_digest():
    reason = refused(401, X_Hub_Signature_256=signature(BODY, b"another"))
    assert hashlib.sha256(BODY).hexdigest()[:8] not in reason
    assert signature(BODY)[7:15] not in reason

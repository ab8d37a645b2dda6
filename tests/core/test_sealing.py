import base64
import os
from itertools import permutations

import pytest

from bot.core.errors import SealError
from bot.core.sealing import Place, Sealer, key_id, key_of

OLD, NEW = "0123456789abcdef" * 4, base64.urlsafe_b64encode(bytes(range(32))).decode()
PLACE = Place("sessions", "access_token", "7")
TOKEN = b"ghu_16C7e42F292c6912E7710c838347Ae178B4a"
OTHERS = [
    Place("sessions", "access_token", "8"),
    Place("sessions", "refresh_token", "7"),
    Place("users", "access_token", "7"),
    Place("sessions", 'access_token", "7', ""),
    Place("sessionsaccess_token", "", "7"),
]


@pytest.mark.parametrize(
    "plain", [b"", b"x", TOKEN, os.urandom(100_000)], ids=["empty", "one", "token", "long"]
)
def test_what_was_sealed_opens(plain):
    sealer = Sealer([NEW])
    sealed = sealer.seal(plain, PLACE)
    assert sealer.open(sealed, PLACE) == plain
    assert len(sealed) == len(plain) + 37
    assert len(plain) < 2 or plain not in sealed


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_a_value_moved_elsewhere_does_not_open(other):
    sealer = Sealer([NEW])
    sealed = sealer.seal(TOKEN, PLACE)
    with pytest.raises(SealError, match="not sealed for"):
        sealer.open(sealed, other)


def test_two_rows_that_swap_their_values_are_both_refused():
    sealer = Sealer([NEW])
    rows = [Place("sessions", "access_token", str(row)) for row in range(2)]
    values = [sealer.seal(TOKEN + b"%d" % row, place) for row, place in enumerate(rows)]
    assert [sealer.open(value, place) for value, place in zip(values, rows, strict=True)] == [
        TOKEN + b"0",
        TOKEN + b"1",
    ]
    for value, place in zip(reversed(values), rows, strict=True):
        with pytest.raises(SealError):
            sealer.open(value, place)


def test_every_bit_counts():
    sealer = Sealer([NEW])
    sealed = sealer.seal(b"secret", PLACE)
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(SealError):
            sealer.open(bytes(changed), PLACE)


@pytest.mark.parametrize("length", [0, 1, 9, 20, 36])
def test_a_cut_value_does_not_open(length):
    sealer = Sealer([NEW])
    with pytest.raises(SealError, match="no sealed value"):
        sealer.open(sealer.seal(b"", PLACE)[:length], PLACE)


def test_the_same_text_is_sealed_differently_each_time():
    sealer = Sealer([NEW])
    assert len({sealer.seal(TOKEN, PLACE)[9:21] for _ in range(200)}) == 200


def test_keys_are_rotated():
    before, during, after = Sealer([OLD]), Sealer([NEW, OLD]), Sealer([NEW])
    old = before.seal(TOKEN, PLACE)
    assert during.open(old, PLACE) == TOKEN
    assert during.needs_resealing(old)
    new = during.seal(TOKEN, PLACE)
    assert not during.needs_resealing(new)
    assert not before.needs_resealing(old)
    assert after.open(new, PLACE) == TOKEN
    with pytest.raises(SealError, match="no key of ENCRYPTION_KEYS"):
        after.open(old, PLACE)


def test_a_key_in_base64url_is_taken_as_it_is_and_others_are_derived():
    assert key_of(NEW) == key_of(NEW.rstrip("=")) == bytes(range(32))
    keys = [
        key_of(secret)
        for secret in (OLD, OLD[:-1] + "e", OLD[:43], "pass phrases are fine: forty-three letters!")
    ]
    assert [len(key) for key in keys] == [32] * 4
    assert len(set(keys)) == 4
    assert all(one not in two for one, two in permutations([*keys, OLD.encode()], 2))


def test_a_derived_key_stays():
    assert key_id(key_of(OLD)).hex() == "59f7addd9626abdc"


def test_without_a_key_nothing_is_sealed():
    with pytest.raises(SealError, match="ENCRYPTION_KEYS is missing"):
        Sealer([]).seal(TOKEN, PLACE)
    with pytest.raises(SealError):
        Sealer([]).open(Sealer([NEW]).seal(TOKEN, PLACE), PLACE)


def test_no_error_tells_what_it_is_about():
    sealer = Sealer([NEW])
    with pytest.raises(SealError) as caught:
        Sealer([NEW]).open(sealer.seal(TOKEN, PLACE), OTHERS[0])
    assert TOKEN.decode() not in str(caught.value)
    assert caught.value.__suppress_context__
    assert TOKEN.decode() not in repr(vars(sealer))

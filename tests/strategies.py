"""Anything that an export can hold."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from bot.core.exchange import Mark, Recorded, Settings
from bot.core.records import Issue, Outcome, OutcomeKind, Suggestion
from bot.core.text import sanitise

numbers = st.integers(1, 2**31 - 1)
ids = st.integers(1, 2**63 - 1)
moments = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
texts = st.text(max_size=60).map(sanitise)
names = st.text(min_size=1, max_size=30).map(sanitise)
issues = st.builds(
    Issue, st.just(0), numbers, st.integers(0, 2**63 - 1), texts, texts, st.sampled_from(["open", "closed"]),
    st.none() | names, st.none() | names, st.none() | ids, st.booleans(),
    st.lists(names, max_size=3).map(tuple), st.booleans(), st.booleans(), st.integers(0, 2**31 - 1), moments, moments,
    st.none() | moments,
)  # fmt: skip
suggestions = st.builds(
    Suggestion, st.just(0), st.just(0), numbers, st.booleans(), texts, st.floats(allow_nan=False), texts,
    st.lists(numbers, max_size=3).map(tuple), st.lists(numbers, max_size=3).map(tuple),
    st.dictionaries(names, st.floats(-1e15, 1e15) | st.none() | names, max_size=3),
    st.binary(min_size=32, max_size=32), moments, st.none() | texts,
)  # fmt: skip
outcomes = st.builds(
    Recorded,
    st.builds(Outcome, st.just(0), st.just(0), numbers, st.none() | numbers, st.sampled_from(OutcomeKind), st.none() | ids, texts),
    moments,
)  # fmt: skip
marks = st.lists(numbers, min_size=2, max_size=2, unique=True).map(lambda pair: Mark(*pair))
settings = st.just(Settings("comment", None)) | moments.map(lambda at: Settings("shadow", at))

"""How far a sweep of GitHub's delivery log got, and whom it asks how often: pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bot.core.records import HookAttempt

KEPT = timedelta(days=3)
"""How long GitHub keeps deliveries for redelivery."""

SETTLING = timedelta(minutes=1)
"""A younger delivery may still be under way."""

OVERLAP = timedelta(minutes=5)
"""How much of the log is read again: GitHub's clock is not ours."""

MOST_ASKS = 6
"""Redeliveries of one delivery, at 4, 8, 16, … minutes, while others arrive: more would not help it."""

BACK_OFF = timedelta(minutes=4)
"""Until a delivery is asked for again, doubled each time; less than a turn, so that each turn may ask."""

SILENT_BACK_OFF = timedelta(minutes=10)
"""The same while nothing arrives at all; such an ask is not counted, since it says nothing about the delivery."""

PAGES, ASKS, PROBES = 30, 200, 5
"""What one turn does at the most: pages of a hundred read, deliveries asked for, and asked for into a silence."""


@dataclass(frozen=True, slots=True)
class Place:
    """Everything delivered before `until` was looked at; `began` and `cursor` are of a pass that is under way."""

    until: datetime
    began: datetime | None = None
    cursor: str | None = None

    @property
    def floor(self) -> datetime:
        """The time at which a pass may end: the log is read from its newest entry back."""
        return self.until - OVERLAP

    def passed(self, attempts: Iterable[HookAttempt], following: str | None, now: datetime) -> "Place":
        """The place after one more page, of which `following` is the cursor of the next."""
        began = self.began or now
        if following is None or any(item.delivered_at < self.floor for item in attempts):
            return Place(until=began - SETTLING)
        return replace(self, began=began, cursor=following)

    def as_json(self) -> dict[str, Any]:
        """As it is kept between turns."""
        began = self.began.isoformat() if self.began else None
        return {"until": self.until.isoformat(), "began": began, "cursor": self.cursor}


def place_from(kept: dict[str, Any], now: datetime) -> Place:
    """The reverse of `as_json`; never further back than GitHub's log."""
    oldest = now - KEPT
    if not kept:
        return Place(oldest)
    began = datetime.fromisoformat(kept["began"]) if kept["began"] else None
    return Place(max(datetime.fromisoformat(kept["until"]), oldest), began, kept["cursor"])


@dataclass(frozen=True, slots=True)
class Asking:
    """How a turn asks: how many, how long after the last time, and whether that counts."""

    limit: int
    back_off: timedelta
    counts: bool


ALOUD = Asking(ASKS, BACK_OFF, counts=True)
INTO_SILENCE = Asking(PROBES, SILENT_BACK_OFF, counts=False)


def latest(attempts: Iterable[HookAttempt], now: datetime) -> list[HookAttempt]:
    """One request for each delivery: the latest, as answered where any of them was. Those under way are left out."""
    found: dict[Any, HookAttempt] = {}
    for item in attempts:
        other = found.get(item.guid)
        newest = item if other is None or item.id > other.id else other
        found[item.guid] = replace(newest, answered=item.answered or (other is not None and other.answered))
    return [item for item in found.values() if now - SETTLING >= item.delivered_at > now - KEPT]

"""The decision, without the agent: plain functions, so that `python3 -m unittest` runs them anywhere."""

import json
from dataclasses import dataclass
from typing import Optional

ALERT = "ConsumerGroupBehind"
SIGHTINGS = 3
"""The action is asked for when a group was seen behind so many times in a row."""


@dataclass(frozen=True)
class Config:
    thresholds: dict[str, int]
    action: Optional[str]


def read_config(text: str) -> Config:
    """Reads the `config:` block. A ValueError is one sentence for the person who wrote the YAML, with the key in it."""
    config = json.loads(text)
    if not isinstance(config, dict):
        raise ValueError("config: must be keys with values")
    for key in config:
        if key not in ("thresholds", "action"):
            raise ValueError(f"config.{key}: unknown field `{key}`, expected `thresholds` or `action`")
    if "thresholds" not in config:
        raise ValueError("config: missing field `thresholds`")
    thresholds, action = config["thresholds"], config.get("action")
    if not isinstance(thresholds, dict):
        raise ValueError("config.thresholds: must be groups with their thresholds")
    for group, messages in thresholds.items():
        # A bool is an int in Python. Beyond 2^53 not every language can tell numbers in JSON apart.
        if type(messages) is not int or not 0 <= messages < 2**53:
            raise ValueError(f"config.thresholds.{group}: must be a whole number of messages, 0 or more")
    if not thresholds:
        raise ValueError("config.thresholds: names no group")
    if action is not None and (not isinstance(action, str) or not action):
        raise ValueError("config.action: must be the name of an action")
    return Config(thresholds, action)


@dataclass(frozen=True)
class Said:
    sightings: int
    """In a row, to be remembered."""
    summary: Optional[str] = None
    """Of the alert, if there is one."""
    asks: bool = False
    """Is it time for the action?"""
    became: Optional[str] = None
    """Of the action, to be told with the alert, if there is anything to tell."""


def judge(group: str, topic: str, lag: Optional[int], known_lag: int, threshold: int, before: int,
          became: Optional[str] = None) -> Said:
    """
    Judges one row after `before` sightings. A lag that is not known is neither a sighting nor its end. What became of the
    action, when it was last asked for, is told from the sighting after that on.
    """
    if known_lag <= threshold:
        return Said(before if lag is None else 0)
    sightings = before + 1
    at_least = "at least " if lag is None else ""
    summary = f"{group} is {at_least}{known_lag} messages behind on {topic} (sighting {sightings})"
    return Said(sightings, summary, sightings == SIGHTINGS, became if sightings > SIGHTINGS else None)

"""What the agent calls, and what is asked of the agent. The decision is in decide.py."""

from typing import Iterator, Optional

from componentize_py_types import Err
from wit_world.imports import logging, own_actions, snapshot, state
from wit_world.imports.types import (
    Action, Alert, Context, Error_Unavailable, Failure_Failed, Failure_Unavailable, Label, Outcome, Subject_Group,
)

from decide import ALERT, judge, read_config

PAGE = 1000


class ConfigCheck:
    def check(self, config: str) -> None:
        try:
            read_config(config)
        except ValueError as error:
            raise Err(str(error))


class Evaluator:
    def evaluate(self, ctx: Context) -> Outcome:
        try:
            config = read_config(ctx.config)
        except ValueError as error:
            raise Err(Failure_Failed(str(error)))
        became = asked(config.action)
        outcome = Outcome([], [], [])
        for row in rows(list(config.thresholds)):
            key = f"{row.group}/{row.topic}"  # also what makes two requests of an action the same deed
            before = int(state.get(key) or 0)
            threshold = config.thresholds[row.group]
            said = judge(row.group, row.topic, row.lag, row.known_lag, threshold, before, became.get(key))
            if said.sightings == 0:
                state.remove(key)
            elif said.sightings != before:
                state.set(key, str(said.sightings).encode())
            if said.summary is None:
                continue
            subject = Subject_Group(row.group)
            labels = [Label("consumergroup", row.group), Label("topic", row.topic)]
            annotations = [Label("summary", said.summary)]
            if said.became is not None:
                annotations.append(Label("action", said.became))
            outcome.alerts.append(Alert(subject, ALERT, labels, annotations, float(row.known_lag)))
            if said.asks and config.action is not None:
                logging.log(logging.Level.INFO, f"{key}: asks for {config.action}")
                params = labels + [Label("messages", str(row.known_lag))]
                outcome.actions.append(Action(subject, config.action, params, key))
        return outcome


def asked(name: Optional[str]) -> dict[str, str]:
    """What became of the action, by its key."""
    became: dict[str, str] = {}
    for action in own_actions.recent():
        if action.name == name:
            word = action.state.name.lower().replace("_", "-")
            # The agent tells the last request of each key first.
            became.setdefault(action.key, f"{word}: {action.text}" if action.text else word)
    return became


def rows(groups: list[str]) -> Iterator[snapshot.TopicLag]:
    """One row per group and topic, page by page: a page that is not full is the last one."""
    wanted = [snapshot.Pattern_Exact(group) for group in groups]
    offset = 0
    while True:
        try:
            page = snapshot.topic_lags(snapshot.LagFilter(wanted, [], None, offset, PAGE))
        except Err as error:
            # What was not observed is nobody's fault.
            what = Failure_Unavailable if isinstance(error.value, Error_Unavailable) else Failure_Failed
            raise Err(what(error.value.value))
        yield from page
        if len(page) < PAGE:
            return
        offset += PAGE

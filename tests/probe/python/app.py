"""Asks for something of each interface, and measures what came."""

import math
from typing import Callable, TypeVar

from componentize_py_types import Err
from wit_world.imports import logging, own_actions, own_alerts, rates, snapshot, state, time
from wit_world.imports.types import (
    Alert, Context, Error_InvalidArgument, Error_Unavailable, Failure_Unavailable, Label, Measurement, Outcome,
    Subject_Agent,
)

ALL = snapshot.LagFilter([], [], None, 0, 0)
ABSENT = -(2**63)
T = TypeVar("T")


class ConfigCheck:
    def check(self, config: str) -> None:
        pass


class Evaluator:
    def evaluate(self, ctx: Context) -> Outcome:
        measurements: list[Measurement] = []

        def add(what: str, value: float, /, **labels: str) -> None:
            told = [Label(name, value) for name, value in labels.items()]
            measurements.append(Measurement(Subject_Agent(), what, told, float(value)))

        def since(at: int) -> float:
            return (ctx.now_ms - at) / 1000

        add("now", ctx.now_ms, cluster=ctx.cluster)
        add("interval", ctx.interval_ms)

        table = or_unavailable(lambda: snapshot.lag_table(ALL))
        if table is None:
            raise Err(Failure_Unavailable("no table"))
        add("table_rows", len(table.group))
        if table.group:
            group, topic = table.names[table.group[-1]], table.names[table.topic[-1]]
            add("table_last", table.partition[-1], group=group, topic=topic)
        add("table_lag", sum(lag for lag in table.lag if lag != ABSENT))
        add("table_no_lag", sum(lag == ABSENT for lag in table.lag))
        add("table_committed", max(table.committed, default=-1))
        add("table_status", sum(status & 127 for status in table.status))
        add("table_at_least", sum(status >= 128 for status in table.status))
        add("table_seconds", sum(seconds for seconds in table.lag_seconds if not math.isnan(seconds)))
        add("table_lost", sum(table.lost))

        topics = snapshot.topic_lags(ALL)
        add("topic_rows", len(topics))
        add("topic_unknown", sum(row.lag is None for row in topics))
        parts = snapshot.partition_lags(ALL)
        add("partition_commit_age", sum(since(row.committed_at_ms) for row in parts if row.committed_at_ms is not None))
        add("partition_at_least", sum(row.lag_seconds_at_least for row in parts))

        series = snapshot.history(ALL, ctx.now_ms - 3_600_000)
        add("history_points", sum(len(one.points) for one in series))
        for one in series:
            if one.topic == "payments" and one.partition == 0:
                oldest, newest = one.points[0], one.points[-1]
                add("history_span", newest.at_ms - oldest.at_ms, group=one.group, topic=one.topic)
                add("history_committed", -1 if newest.committed is None else newest.committed)
                add("history_end", -1 if newest.log_end is None else newest.log_end)

        found = or_unavailable(lambda: rates.rate("requests_total", 60_000))
        add("rate", -1 if found is None else sum(sample.value for sample in found))
        heap = or_unavailable(lambda: snapshot.query("heap"))
        if heap is None:
            add("heap", -1)
        for sample in heap or []:
            add("heap", sample.value, **{label.name: label.value for label in sample.labels if label.name != "__name__"})
        add("query_refused", refused(lambda: snapshot.query("{")))

        alerts = own_alerts.active()
        add("alerts_firing", sum(alert.state == own_alerts.State.FIRING for alert in alerts))
        add("alerts_pending", sum(alert.state == own_alerts.State.PENDING for alert in alerts))
        for alert in alerts:
            add("alert_since", since(alert.active_since_ms), **{label.name: label.value for label in alert.labels})
            add("alert_value", -1 if alert.value is None else alert.value, name=alert.name)
        actions = own_actions.recent()
        add("actions_waiting", sum(action.state == own_actions.State.WAITING for action in actions))
        add("actions_attempts", sum(action.attempts for action in actions))
        for action in actions:
            took = -1 if action.ended_at_ms is None else action.ended_at_ms - action.requested_at_ms
            add("action_took", took, name=action.name, key=action.key, text=action.text)

        civil = time.in_zone("Asia/Seoul", ctx.now_ms)
        add("zone_date", civil.year * 10_000 + civil.month * 100 + civil.day)
        add("zone_time", civil.hour * 10_000 + civil.minute * 100 + civil.second)
        add("zone_weekday", civil.weekday)
        add("zone_offset", civil.utc_offset_seconds)
        add("zone_refused", refused(lambda: time.in_zone("Mars/Olympus", ctx.now_ms)))

        for group in snapshot.groups([snapshot.Pattern_Glob("o*")]):
            members = -1 if group.members is None else group.members
            add("group_members", members, group=group.name, state=group.state, kind=group.kind)
            add("group_coordinator", -1 if group.coordinator is None else group.coordinator)
        for name in ("orders", "lost"):
            add("owns", snapshot.owns(name).value, group=name)
        for target in snapshot.targets():
            add("target_up", target.up, target=target.name)
            add("target_age", -1 if target.last_success_ms is None else since(target.last_success_ms), target=target.name)

        runs = int(state.get("runs") or 0) + 1
        state.set("runs", str(runs).encode())
        add("state_runs", runs)
        state.set("gone", b"x")
        add("state_keys", len(state.keys("")))
        state.remove("gone")
        add("state_keys_left", len(state.keys("r")))
        logging.log(logging.Level.DEBUG, "probed")

        return Outcome([Alert(Subject_Agent(), "Probe", [Label("kind", "probe")], [], float(runs))], [], measurements)


def or_unavailable(question: Callable[[], T]) -> T | None:
    try:
        return question()
    except Err as error:
        if isinstance(error.value, Error_Unavailable):
            return None
        raise


def refused(question: Callable[[], object]) -> bool:
    try:
        question()
    except Err as error:
        return isinstance(error.value, Error_InvalidArgument)
    return False

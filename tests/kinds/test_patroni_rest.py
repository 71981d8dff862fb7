"""What Patroni's REST API says, as values: its documents as Patroni 4.1.5 sends them, and whatever else may come."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.kinds.base import Applied
from opsdash.kinds.patroni_rest import (
    MAX_MEMBERS,
    Cluster,
    Member,
    Node,
    Serves,
    Settings,
    judge,
    parse_cluster,
    parse_node,
    parse_settings,
)

CLUSTER: dict[str, Any] = {
    "members": [
        {
            "name": "pg0",
            "role": "leader",
            "state": "running",
            "api_url": "http://127.0.0.1:28008/patroni",
            "host": "127.0.0.1",
            "port": 25432,
            "timeline": 4,
        },
        {
            "name": "pg1",
            "role": "replica",
            "state": "streaming",
            "api_url": "http://127.0.0.1:28009/patroni",
            "host": "127.0.0.1",
            "port": 25433,
            "timeline": 4,
            "tags": {"nofailover": True},
            "receive_lag": 0,
            "receive_lsn": "0/4000000",
            "replay_lag": 88,
            "replay_lsn": "0/4000000",
            "lag": 88,
            "lsn": "0/4000000",
        },
        {"name": "pg2", "role": "sync_standby", "state": "starting", "lag": "unknown", "lsn": "unknown"},
    ],
    "pause": True,
    "scheduled_switchover": {"at": "2026-12-31T00:00:00+00:00", "from": "pg0", "to": "pg2"},
    "scope": "demo",
}


def test_a_cluster_is_read_as_patroni_shows_it() -> None:
    cluster = parse_cluster(CLUSTER)
    assert cluster.leader == Member("pg0", "leader", "running", "http://127.0.0.1:28008/patroni", 4)
    assert cluster.member("pg1") == Member(
        "pg1", "replica", "streaming", "http://127.0.0.1:28009/patroni", 4, 88, nofailover=True
    )
    assert cluster.member("pg2") == Member("pg2", "sync_standby", "starting")
    assert cluster.synchronous == ("pg2",)
    assert (cluster.scope, cluster.paused, cluster.standby) == ("demo", True, False)
    assert cluster.scheduled == "from pg0 to pg2 at 2026-12-31T00:00:00+00:00"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "not what Patroni says"),
        ([], "not what Patroni says"),
        ({}, "not what Patroni says"),
        ({"members": {}}, "not what Patroni says"),
        ({"members": [7]}, "without a name"),
        ({"members": [{"role": "leader"}]}, "without a name"),
        ({"members": [{"name": " "}]}, "without a name"),
        ({"members": [{"name": "x" * 1000}]}, "without a name"),
        ({"members": [{"name": "a"}, {"name": "a"}]}, "names a member twice"),
        ({"members": [{"name": "a", "role": "leader"}, {"name": "b", "role": "leader"}]}, "several leaders: a, b"),
        ({"members": [{"name": str(number)} for number in range(MAX_MEMBERS + 1)]}, "names 65 members"),
    ],
)
def test_what_is_no_cluster_is_told(document: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_cluster(document)


@pytest.mark.parametrize(
    ("tags", "forbids"),
    [
        ({"nofailover": True}, True),
        ({"nofailover": False, "failover_priority": 0}, False),
        ({"failover_priority": 0}, True),
        ({"failover_priority": "-1"}, True),
        ({"failover_priority": 2}, False),
        ({"failover_priority": "high"}, False),
        ({"failover_priority": []}, False),
        ("nofailover", False),
        (None, False),
    ],
)
def test_tags_count_as_in_patroni(tags: Any, forbids: bool) -> None:
    member = parse_cluster({"members": [{"name": "pg1", "tags": tags}]}).member("pg1")
    assert member is not None
    assert member.nofailover is forbids


@pytest.mark.parametrize(
    ("status", "said", "serves"),
    [
        (200, {"state": "running", "role": "primary"}, Serves.YES),
        (200, {"state": "running", "role": "master"}, Serves.YES),
        (503, {"state": "running", "role": "replica"}, Serves.NO),
        (503, {"state": "running", "role": "standby_leader"}, Serves.NO),
        (503, {"state": "stopping", "role": "primary"}, Serves.NO),
        (503, {"state": "running", "role": "primary"}, Serves.YES),
        (503, {"state": "unknown", "role": "primary"}, Serves.UNCLEAR),
    ],
)
def test_a_primary_without_the_lock_accepts_writes_all_the_same(status: int, said: Any, serves: Serves) -> None:
    assert parse_node(status, said).serves is serves


def test_a_member_tells_its_name_since_patroni_4_and_that_its_watchdog_failed() -> None:
    said = {"state": "running", "role": "replica", "patroni": {"version": "4.1.5", "scope": "demo", "name": "pg0"}}
    assert parse_node(503, said | {"watchdog_failed": True}) == Node(Serves.NO, "pg0", "replica", "running", True)
    assert parse_node(503, said | {"patroni": {"version": "3.0.2", "scope": "demo"}}).name is None


@pytest.mark.parametrize(("status", "said"), [(200, None), (200, {}), (404, {"role": "primary"}), (503, "down")])
def test_what_is_no_answer_of_a_member_is_told(status: int, said: Any) -> None:
    with pytest.raises(ValueError, match="not what Patroni says"):
        parse_node(status, said)


def test_settings_are_read_where_they_can_be() -> None:
    said = {"loop_wait": 10, "ttl": 30, "maximum_lag_on_failover": 1048576, "synchronous_mode": True}
    assert parse_settings(said) == Settings(10.0, 30.0, 1048576, True)
    assert parse_settings({"synchronous_mode": "quorum", "loop_wait": "x"}) == Settings()
    with pytest.raises(ValueError, match="configuration"):
        parse_settings([])


KEYS = (*CLUSTER, *CLUSTER["members"][1], "patroni", "failover_priority", "nofailover", "loop_wait", "synchronous_mode")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@given(ANYTHING)
def test_whatever_comes_is_a_value_or_a_value_error(document: Any) -> None:
    for parse in (parse_cluster, parse_settings, lambda said: parse_node(503, said)):
        with contextlib.suppress(ValueError):
            assert isinstance(parse(document), Cluster | Node | Settings)


@pytest.mark.parametrize(
    ("status", "text", "applied", "words"),
    [
        (200, 'Successfully switched over to "pg1"', Applied.APPLIED, ""),
        (200, 'Successfully failed over to "pg1"', Applied.APPLIED, ""),
        (200, 'Switched over to "pg2" instead of "pg1"', Applied.APPLIED, "it went to pg2, not to pg1"),
        (200, 'Failed over to "pg2" instead of "pg1"', Applied.APPLIED, "it went to pg2, not to pg1"),
        (200, 'Successfully switched over to "pg2"', Applied.UNKNOWN, "says nothing"),
        (200, 'Successfully switched over to "pg', Applied.UNKNOWN, "says nothing"),
        (200, "OK", Applied.UNKNOWN, "says nothing"),
        (200, "", Applied.UNKNOWN, "says nothing"),
        (202, "Switchover scheduled", Applied.UNKNOWN, "put off"),
        (400, "Switchover target and source are the same", Applied.REFUSED, ""),
        (401, "not authenticated", Applied.REFUSED, "another login"),
        (403, "Access is denied", Applied.REFUSED, "admit"),
        (412, "leader name does not match", Applied.REFUSED, ""),
        (412, "candidate does not exists", Applied.REFUSED, ""),
        (412, "candidate name does not match with sync_standby", Applied.REFUSED, ""),
        (412, "switchover is not possible: no good candidates have been found", Applied.REFUSED, ""),
        (501, "<html>Unsupported method ('POST')</html>", Applied.REFUSED, "no such request"),
        (503, "Switchover failed", Applied.UNKNOWN, "dropped"),
        (503, "Failover failed", Applied.UNKNOWN, "dropped"),
        (503, "Switchover status unknown", Applied.UNKNOWN, "may go on"),
        (
            503,
            "Switchover status unknown after 20 seconds; operation may still be in progress",
            Applied.UNKNOWN,
            "may go on",
        ),
        (503, "failed to write failover key into DCS", Applied.UNKNOWN, "written all the same"),
        (503, "no server is available to handle this request", Applied.UNKNOWN, "says nothing"),
        (500, "Internal Server Error", Applied.UNKNOWN, "says nothing"),
        (502, "", Applied.UNKNOWN, "says nothing"),
        (404, "not found", Applied.UNKNOWN, "says nothing"),
        (408, "", Applied.UNKNOWN, "says nothing"),
        (302, "", Applied.UNKNOWN, "says nothing"),
        (799, "\x1b[2J", Applied.UNKNOWN, "says nothing"),
    ],
)
def test_what_an_answer_is_worth(status: int, text: str, applied: Applied, words: str) -> None:
    answer = judge(status, text, "pg1")
    assert answer.applied is applied
    assert words in answer.words

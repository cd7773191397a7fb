import pytest
from backup import fingerprint, wal
from backup.errors import JobError

BEFORE = {"app": {"public.items": {"rows": 3, "sum": "17"}, "public.big": {"rows": 9}}, "(roles)": {"roles": {"rows": 6}}}


def test_a_moment_is_quiet_only_when_nothing_was_written_and_nobody_is_about_to():
    assert fingerprint.quiet("0/5", 0, "0/5")
    assert not fingerprint.quiet("0/5", 0, "0/6")
    assert not fingerprint.quiet("0/5", 1, "0/5")


def test_equal_contents_differ_in_nothing():
    assert fingerprint.differences(BEFORE, BEFORE) == []
    fingerprint.must_equal(BEFORE, BEFORE)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (
            {**BEFORE, "app": {**BEFORE["app"], "public.items": {"rows": 2, "sum": "17"}}},
            "public.items has 2 rows in place of 3",
        ),
        ({**BEFORE, "app": {**BEFORE["app"], "public.items": {"rows": 3, "sum": "18"}}}, "the contents of public.items differ"),
        ({**BEFORE, "app": {"public.items": {"rows": 3, "sum": "17"}}}, "table public.big is missing"),
        ({**BEFORE, "app": {**BEFORE["app"], "public.new": {}}}, "table public.new is there unexpectedly"),
        ({"(roles)": BEFORE["(roles)"]}, "database app is missing"),
        ({**BEFORE, "other": {}}, "database other is there unexpectedly"),
    ],
)
def test_every_difference_is_named(after, said):
    (difference,) = fingerprint.differences(BEFORE, after)
    assert said in difference
    with pytest.raises(JobError, match="not what was backed up"):
        fingerprint.must_equal(BEFORE, after)


@pytest.mark.parametrize(("rows", "differs"), [(5, True), (6, True), (8, False)])
def test_a_start_may_add_roles_to_those_of_a_set_and_changes_nothing_else(rows, differs):
    expected = {**BEFORE, "(roles)": {"roles": {"rows": 6, "sum": "1"}}}
    found = {**BEFORE, "(roles)": {"roles": {"rows": rows, "sum": "2"}}}
    assert bool(fingerprint.differences(expected, fingerprint.without_new_roles(expected, found))) == differs

    lost = {**found, "app": {}}
    assert fingerprint.differences(expected, fingerprint.without_new_roles(expected, lost))


def test_a_database_that_could_not_be_entered_is_not_compared():
    assert fingerprint.differences({**BEFORE, "closed": None}, {**BEFORE, "closed": {"public.x": {"rows": 1}}}) == []


def test_large_tables_are_counted_and_huge_ones_only_named():
    assert [fingerprint.depth(size) for size in (1, 64 * 2**20, 64 * 2**20 + 1, 4 * 2**30 + 1)] == [2, 2, 1, 0]
    assert fingerprint.depth(1, closed=True) == 0
    assert [fingerprint.depth_of(entry) for entry in ({"rows": 1, "sum": "2"}, {"rows": 1}, {})] == [2, 1, 0]
    assert "sum(" in fingerprint.question("app.t", 2) and "sum(" not in fingerprint.question("app.t", 1)


def test_the_summary_counts_tables_and_rows():
    assert fingerprint.summary(BEFORE) == {"databases": 1, "tables": 2, "rows": 12}


def test_nothing_written_since_means_nothing_lost_however_old():
    assert wal.loss(next_xid=701, archived_xid=700, archived_at=0, now=99999) == 0


def test_what_was_written_since_counts_from_the_last_segment():
    assert wal.loss(next_xid=702, archived_xid=700, archived_at=1000, now=1042) == 42
    assert wal.loss(next_xid=702, archived_xid=700, archived_at=1000, now=999) == 0


def test_the_highest_transaction_is_found_in_what_pg_waldump_prints():
    said = "rmgr: Heap tx: 742, lsn: 0/1\nrmgr: Transaction tx:        743, lsn: 0/2, desc: COMMIT\nrmgr: XLOG tx: 0"
    assert wal.newest_xid([said]) == 743
    assert wal.newest_xid([]) == 0

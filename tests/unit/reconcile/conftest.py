"""Shows what differs where a table's own check fails."""

import pytest

pytest.register_assert_rewrite("tests.unit.reconcile.replica_table", "tests.unit.reconcile.condition_table")

"""A test of celery's own suite that races with itself, whatever the broker, is run again when it fails; no other is.

`.ci/suites` loads this as a plug-in of pytest, beside pytest-rerunfailures, which the suite installs.
"""

import pytest

# Resets the variable it asserts on after it has published the task whose arrival sets it: the sooner the broker delivers,
# the likelier it loses (of 60 runs each on a busy machine: 3 with Leveret, 1 with RabbitMQ 4.3.6).
RACE = "test_replaced_task_nesting_level_0"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.name == RACE:
            item.add_marker(pytest.mark.flaky(reruns=10))

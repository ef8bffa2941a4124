"""The tally line that interop/run adds up."""

import os


def pytest_terminal_summary(terminalreporter, config):
    def count(*outcomes):
        return sum(len(terminalreporter.stats.get(outcome, [])) for outcome in outcomes)

    suite = os.path.basename(config.args[0].split("::")[0].rstrip("/"))
    terminalreporter.ensure_newline()
    terminalreporter.write_line(
        f"python-{suite}: passed={count('passed')} failed={count('failed', 'error')} skipped={count('skipped')}"
    )

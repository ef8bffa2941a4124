// Prints one line per test and the tally line the interop suites share, with the name of the suite's folder.

import { basename } from 'node:path';

export default async function* report(events) {
  const count = { passed: 0, failed: 0, skipped: 0 };
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    // A file is reported as a test around its tests; it counts only when it could not even load.
    if (data.name.endsWith('.test.js') && type === 'test:pass') continue;
    if (type === 'test:fail' && data.details.error?.failureType === 'subtestsFailed') continue;
    if (data.skip === 'test name does not match pattern') continue;
    const outcome = data.skip ? 'skipped' : type === 'test:pass' ? 'passed' : 'failed';
    count[outcome] += 1;
    yield `  ${outcome} ${data.name}\n`;
    if (outcome === 'failed') {
      const { cause, message } = data.details.error;
      yield `    ${String(cause?.stack ?? message).replaceAll('\n', '\n    ')}\n`;
    }
  }
  yield `${basename(process.cwd())}: passed=${count.passed} failed=${count.failed} skipped=${count.skipped}\n`;
}

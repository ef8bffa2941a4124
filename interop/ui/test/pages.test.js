// Every page: it shows, complains of nothing, asks nobody else, fits a phone, and axe-core finds no serious fault.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { api, launch, login, open, pages, visit } from './browser.js';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const VHOST = 'ui pages/é';
const at = (...parts) => parts.map(encodeURIComponent).join('/');

const ROUTES = [
  '', 'connections', 'channels', 'exchanges', 'queues', 'consumers', `topology?vhost=${encodeURIComponent(VHOST)}&exchange=orders&key=a.b`,
  at('queues', VHOST, 'a/b c'), at('messages', VHOST, 'a/b c'), `${at('messages', VHOST, 'a/b c')}?state=unacked&header=a`, at('exchanges', VHOST, 'orders'), at('exchanges', VHOST, 'amq.default'),
  'users', 'users/guest', 'permissions', 'vhosts', at('vhosts', VHOST), 'policies', at('policies', VHOST, 'limit'), 'limits', 'parameters', 'definitions', 'feature-flags', 'cluster-name',
  'configuration', 'certificates', 'log', 'audit', 'no/such/page/at/all',
];

let browser;

before(async () => {
  browser = await launch();
  await api('PUT', at('vhosts', VHOST), {});
  await api('PUT', at('permissions', VHOST, 'guest'), { configure: '.*', write: '.*', read: '.*' });
  await api('PUT', at('queues', VHOST, 'a/b c'), { durable: true, arguments: { 'x-message-ttl': 600000, 'x-queue-type': 'classic' } });
  await api('PUT', at('exchanges', VHOST, 'orders'), { type: 'topic', durable: true });
  await api('POST', at('bindings', VHOST, 'e', 'orders', 'q', 'a/b c'), { routing_key: 'a.*', arguments: {} });
  await api('PUT', at('policies', VHOST, 'limit'), { pattern: '^a', definition: { 'max-length': 10 }, 'apply-to': 'queues', priority: 1 });
});

after(async () => {
  await api('DELETE', at('vhosts', VHOST));
  await browser.close();
});

for (const [theme, width] of [['light', 1440], ['dark', 1440], ['light', 360]]) {
  test(`every page, ${theme}, ${width} pixels wide`, async () => {
    const tab = await open(browser, { theme, width });
    const asked = [];
    tab.on('request', (request) => asked.push(request.url()));
    await login(tab);
    await tab.locator('.shell').waitFor();
    for (const route of ROUTES) {
      await visit(tab, route);
      await tab.getByRole('heading', { level: 1 }).or(tab.getByText('There is no page')).first().waitFor();
      assert.deepEqual(await tab.locator('.page > div > .note.bad[role=alert]').allTextContents(), [], `${route} failed to load`);
      assert.deepEqual(tab.errors, [], route);
      assert.deepEqual(await faults(tab), [], route);
      const over = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(over <= 0, `${route} is ${over} pixels too wide`);
    }
    assert.deepEqual(asked.filter((url) => !url.startsWith(pages) && !url.startsWith('data:') && !url.startsWith('blob:')), []);
    await tab.context().close();
  });
}

test('the login page has no serious fault', async () => {
  const tab = await open(browser);
  await tab.goto(pages);
  await tab.getByLabel('User').waitFor();
  assert.deepEqual(await faults(tab), []);
  await tab.context().close();
});

/** What axe-core calls serious or critical, in one line each. */
async function faults(tab) {
  // Through the debugger, which the page's content security policy does not bind.
  if (!(await tab.evaluate(() => 'axe' in window))) await tab.evaluate((await import('node:fs')).readFileSync(axe, 'utf8'));
  const { violations } = await tab.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | ')}`);
}

// Every page: it shows, complains of nothing, asks nobody else, fits a phone, and axe-core finds no serious fault.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { api, at, launch, login, open, pages, visit } from './browser.js';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const VHOST = 'ui pages/é';

const ROUTES = [
  '', 'connections', 'channels', 'exchanges', 'queues', 'consumers', `topology?vhost=${encodeURIComponent(VHOST)}&exchange=orders&key=a.b`,
  at('queues', VHOST, 'a/b c'), at('messages', VHOST, 'a/b c'), `${at('messages', VHOST, 'a/b c')}?header=a`, `${at('messages', VHOST, 'held')}?state=unacked`, at('queues', VHOST, 'history'), at('messages', VHOST, 'history'), at('exchanges', VHOST, 'orders'), at('exchanges', VHOST, 'amq.default'),
  'users', 'users/guest', 'permissions', 'vhosts', at('vhosts', VHOST), 'policies', at('policies', VHOST, 'limit'), 'limits', 'parameters', 'shovels', 'definitions', 'feature-flags', 'cluster-name',
  'configuration', 'certificates', 'log', 'audit', 'no/such/page/at/all',
];

let browser;
let browses;
let client;

before(async () => {
  browser = await launch();
  await api('PUT', at('vhosts', VHOST), {});
  await api('PUT', at('permissions', VHOST, 'guest'), { configure: '.*', write: '.*', read: '.*' });
  await api('PUT', at('queues', VHOST, 'a/b c'), { durable: true, arguments: { 'x-message-ttl': 600000, 'x-queue-type': 'classic' } });
  await api('PUT', at('exchanges', VHOST, 'orders'), { type: 'topic', durable: true });
  await api('POST', at('bindings', VHOST, 'e', 'orders', 'q', 'a/b c'), { routing_key: 'a.*', arguments: {} });
  const dead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'a/b c', 'x-queue-type': 'classic' };
  await api('PUT', at('queues', VHOST, 'origin'), { durable: true, arguments: dead });
  for (const payload of ['{"id":1}', 'text', '\u0001\u0002']) {
    await api('POST', `${at('exchanges', VHOST, 'amq.default')}/publish`, { routing_key: 'origin', payload, payload_encoding: 'string', properties: { content_type: 'application/json', headers: { a: 1 } } });
  }
  await api('POST', `${at('queues', VHOST, 'origin')}/get`, { count: 3, ackmode: 'reject_requeue_false', encoding: 'auto' });
  await api('PUT', at('queues', VHOST, 'history'), { durable: true, arguments: { 'x-queue-type': 'stream' } });
  await api('POST', `${at('exchanges', VHOST, 'amq.default')}/publish`, { routing_key: 'history', payload: 'step', payload_encoding: 'string', properties: {} });
  browses = (await api('GET', `leveret/${at('queues', VHOST, 'a/b c')}/messages`)).status === 200;
  await connect();
  ROUTES.push(at('nodes', (await api('GET', 'nodes')).body[0].name));
  await api('PUT', at('policies', VHOST, 'limit'), { pattern: '^a', definition: { 'max-length': 10 }, 'apply-to': 'queues', priority: 1 });
});

after(async () => {
  await client?.close();
  await api('DELETE', at('vhosts', VHOST));
  await browser.close();
});

// A page is loaded once in each width, and looked at in both themes.
for (const width of [1440, 360]) {
  test(`every page, light and dark, ${width} pixels wide`, async () => {
    const tab = await open(browser, { width });
    const asked = [];
    tab.on('request', (request) => asked.push(request.url()));
    await login(tab);
    await tab.locator('.shell').waitFor();
    for (const route of [...ROUTES, ...(await routesOf(tab))]) {
      await visit(tab, route);
      await tab.getByRole('heading', { level: 1 }).or(tab.getByText('There is no page')).first().waitFor();
      assert.deepEqual(await tab.locator('.page > div > .note.bad[role=alert]').allTextContents(), [], `${route} failed to load`);
      // What an operator may open is looked at, too.
      await tab.locator('main').evaluate((main) => main.querySelectorAll('details').forEach((one) => { one.open = true; }));
      await looksGood(tab, route);
    }
    assert.deepEqual(asked.filter((url) => !url.startsWith(pages) && !url.startsWith('data:') && !url.startsWith('blob:')), []);
    await tab.context().close();
  });
}

test('dialogs, the search and what they say afterwards', async () => {
  const tab = await open(browser, { width: 360 });
  const dialog = tab.getByRole('dialog');
  const opened = async (what, name) => {
    await tab.getByRole('button', { name, exact: true }).first().click();
    await dialog.waitFor();
    await looksGood(tab, what);
    await tab.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
  };
  await login(tab);
  await visit(tab, at('queues', VHOST, 'a/b c'));
  await opened('delete a queue', 'Delete');
  await tab.keyboard.press('/');
  await tab.getByRole('combobox', { name: 'Search everything' }).fill('a/b');
  await tab.getByRole('option', { name: /queue a/ }).waitFor();
  await looksGood(tab, 'search');
  await tab.keyboard.press('Escape');
  if (browses) {
    await visit(tab, at('messages', VHOST, 'a/b c'));
    for (const name of ['Move …', 'Copy …', 'Send back to origin …', 'Delete …']) await opened(name, name);
  }
  await visit(tab, 'vhosts');
  await tab.getByText('Add a virtual host').click();
  await tab.getByRole('textbox', { name: 'Name' }).fill(VHOST);
  await tab.getByRole('button', { name: 'Add virtual host' }).click();
  await tab.locator('.toast').first().waitFor();
  await looksGood(tab, 'what was done');
  await tab.context().close();
});

test('certificates say in time that they end', async () => {
  const tab = await open(browser);
  const end = (days) => Date.now() + days * 86_400_000;
  const certificate = (subject, days) => ({ subject, issuer: 'CN=authority', names: [`${subject.slice(3)}.example.org`], not_before: end(-300), not_after: end(days), serial_number: '39:39:26:54:8e:92:f9:62:36:69:2f:0c:a8:94:03:20:9b:90:1e:dd' });
  const listener = (port, certificates, error) => ({ protocol: 'amqp/ssl', ip: '::', port, certfile: { path: `/tls/${port}.pem`, certificates, error }, cacertfile: null });
  await tab.route('**/api/leveret/certificates', (request) => request.fulfill({ json: [
    listener(5671, [certificate('CN=fresh', 300.5), certificate('CN=soon', 12.5), certificate('CN=over', -1.5)]), listener(15671, undefined, 'no such file'),
  ] }));
  await login(tab);
  await visit(tab, 'certificates');
  await tab.getByText('2 certificates will end within 30 days, or have ended').waitFor();
  for (const [subject, words] of [['fresh', '300 days'], ['soon', '12 days'], ['over', 'ended']]) await tab.getByRole('row', { name: new RegExp(`CN=${subject}.* ${words}`) }).waitFor();
  await tab.getByText('no such file').waitFor();
  await looksGood(tab, 'certificates');
  await tab.context().close();
});

test('the login page has no serious fault', async () => {
  const tab = await open(browser);
  await tab.goto(pages);
  await tab.getByLabel('User').waitFor();
  assert.deepEqual(await faults(tab), []);
  await tab.context().close();
});

/** A client that consumes and acknowledges nothing, if there is a port for it; its pages are among those looked at. */
async function connect() {
  if (!process.env.AMQP_URL) return;
  const { default: amqp } = await import('amqplib');
  const url = new URL(process.env.AMQP_URL);
  url.pathname = `/${encodeURIComponent(VHOST)}`;
  client = await amqp.connect(url.href, { clientProperties: { connection_name: 'ui-pages-client' } });
  const channel = await client.createChannel();
  await channel.assertQueue('held', { durable: true });
  await channel.consume('held', () => {}, { consumerTag: 'holder' });
  await channel.sendToQueue('held', Buffer.from('held'));
}

/** The pages of that client, as soon as the list has it. */
async function routesOf(tab) {
  if (!client) return [];
  await visit(tab, 'connections');
  const mine = tab.getByRole('row', { name: /ui-pages-client/ });
  await mine.waitFor({ timeout: 20_000 });
  const name = await mine.getByRole('link').first().getAttribute('title');
  return [at('connections', name), at('channels', `${name} (1)`), at('queues', VHOST, 'held')];
}

/** No complaint, no serious fault in either theme, and not wider than the screen. */
async function looksGood(tab, what) {
  assert.deepEqual(tab.errors, [], what);
  await tab.emulateMedia({ colorScheme: 'light' });
  assert.deepEqual(await faults(tab), [], what);
  // Only colours differ.
  await tab.emulateMedia({ colorScheme: 'dark' });
  assert.deepEqual(await faults(tab, ['color-contrast']), [], `${what}, dark`);
  const over = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(over <= 0, `${what} is ${over} pixels too wide`);
}

/** What axe-core calls serious or critical, in one line each; `rules`: only these. */
async function faults(tab, rules) {
  // Through the debugger, which the page's content security policy does not bind.
  if (!(await tab.evaluate(() => 'axe' in window))) await tab.evaluate((await import('node:fs')).readFileSync(axe, 'utf8'));
  const { violations } = await tab.evaluate((runOnly) => window.axe.run(document, { resultTypes: ['violations'], ...(runOnly && { runOnly }) }), rules);
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | ')}`);
}

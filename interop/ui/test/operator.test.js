// An operator's day: each test does with the mouse and the keyboard what it says, and asks the API whether it happened.

import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { api, at, launch, login, open, pages, visit } from './browser.js';

const VHOST = `ui-${randomUUID().slice(0, 8)}`;

let browser;
let tab;

before(async () => {
  browser = await launch();
  await api('PUT', at('vhosts', VHOST), {});
  await api('PUT', at('permissions', VHOST, 'guest'), { configure: '.*', write: '.*', read: '.*' });
  tab = await open(browser);
  await login(tab);
  await tab.locator('.shell').waitFor();
  await tab.getByLabel('Virtual host', { exact: true }).selectOption(VHOST);
});

after(async () => {
  for (const vhost of [VHOST, `${VHOST}-second`]) {
    await api('DELETE', `${at('vhosts', vhost)}/deletion/protection`);
    await api('DELETE', at('vhosts', vhost));
  }
  await api('DELETE', at('users', `${VHOST}-ann`));
  await browser.close();
});

const fold = async (title) => {
  const details = tab.locator('details.fold').filter({ has: tab.locator('summary', { hasText: title }) });
  if ((await details.getAttribute('open')) === null) await details.locator('summary').click();
  return details;
};
const said = (text) => tab.locator('.toast', { hasText: text }).first().waitFor();
/** Until the page has what the broker counts, which RabbitMQ does each five seconds. */
const counted = async (queue, ready) => {
  await tab.waitForResponse(async (response) => {
    if (!new URL(response.url()).pathname.endsWith(`/api/${at('queues', VHOST, queue)}`)) return false;
    return (await response.json()).messages_ready === ready;
  }, { timeout: 30_000 });
};
/** Whether the broker shows messages without giving them away, which RabbitMQ does not. */
const browses = async (queue) => (await api('GET', `leveret/${at('queues', VHOST, queue)}/messages?count=1`)).status === 200;
const agree = async (name) => tab.getByRole('dialog').getByRole('button', { name }).click();

test('a wrong password is refused with advice, and a deep link survives the login', async () => {
  const stranger = await open(browser);
  await stranger.goto(`${pages}#/vhosts/${encodeURIComponent(VHOST)}`);
  await stranger.getByLabel('User').fill('guest');
  await stranger.getByLabel('Password').fill('wrong');
  await stranger.getByRole('button', { name: 'Log in' }).click();
  await stranger.getByText('Check name and password').waitFor();
  await stranger.getByLabel('Password').fill('guest');
  await stranger.getByRole('button', { name: 'Log in' }).click();
  await stranger.getByRole('heading', { level: 1, name: VHOST }).waitFor();
  await stranger.getByRole('button', { name: 'Log out' }).click();
  await stranger.getByLabel('Password').waitFor();
  await stranger.context().close();
});

test('a login by OAuth 2 comes back with a token, and ends', async () => {
  const stranger = await open(browser);
  const provider = new URL('provider', pages).href;
  const basic = `Basic ${Buffer.from('guest:guest').toString('base64')}`;
  const seen = { logins: 0 };
  // The provider is at the pages' own origin, since a policy for another one comes with the broker's configuration.
  await stranger.route('**/api/**', async (route) => {
    const headers = route.request().headers();
    const { pathname } = new URL(route.request().url());
    if (pathname.endsWith('/api/auth')) {
      return route.fulfill({ json: { oauth_enabled: true, oauth_disable_basic_auth: true, oauth_client_id: 'pages', oauth_scopes: 'openid broker', oauth_resource_servers: { broker: { id: 'broker', oauth_provider_url: provider } } } });
    }
    const isKnown = headers.authorization === 'Bearer the-token';
    const response = await route.fetch({ headers: { ...headers, authorization: isKnown ? basic : 'Bearer none' } });
    if (!pathname.endsWith('/api/whoami') || !isKnown) return route.fulfill({ response });
    return route.fulfill({ response, json: { ...(await response.json()), login_session_timeout: seen.logins > 1 ? 10 : 0.1 } });
  });
  await stranger.route(`${provider}/**`, async (route) => {
    const url = new URL(route.request().url());
    if (url.pathname.endsWith('openid-configuration')) return route.fulfill({ json: { authorization_endpoint: `${provider}/login`, token_endpoint: `${provider}/token`, end_session_endpoint: `${provider}/logout` } });
    if (url.pathname.endsWith('/logout')) {
      seen.left = Object.fromEntries(url.searchParams);
      return route.fulfill({ status: 302, headers: { location: seen.left.post_logout_redirect_uri } });
    }
    if (url.pathname.endsWith('/login')) {
      seen.asked = Object.fromEntries(url.searchParams);
      return route.fulfill({ contentType: 'text/html', body: `<a href="${seen.asked.redirect_uri}?code=once&state=${seen.asked.state}">Yes, it is me</a>` });
    }
    seen.logins += 1;
    seen.exchanged = Object.fromEntries(new URLSearchParams(route.request().postData()));
    return route.fulfill({ json: { access_token: 'the-token', id_token: 'who', expires_in: 600 } });
  });
  await stranger.goto(`${pages}#/queues`);
  await stranger.getByRole('button', { name: `Log in with ${provider}` }).click();
  await stranger.getByRole('link', { name: 'Yes, it is me' }).click();
  await stranger.getByRole('heading', { level: 1, name: 'Queues and Streams' }).waitFor();
  assert.equal(seen.asked.scope, 'openid broker');
  assert.equal(seen.asked.redirect_uri, new URL('js/oidc-oauth/login-callback.html', pages).href);
  assert.equal(seen.exchanged.code, 'once');
  assert.equal(createHash('sha256').update(seen.exchanged.code_verifier).digest('base64url'), seen.asked.code_challenge);
  assert.equal(new URL(stranger.url()).search, '');
  await stranger.getByText('Your session is over').waitFor();
  assert.equal(await stranger.getByLabel('Password').count(), 0);
  await stranger.getByRole('button', { name: `Log in with ${provider}` }).click();
  await stranger.getByRole('link', { name: 'Yes, it is me' }).click();
  await stranger.getByRole('button', { name: 'Log out' }).click();
  await stranger.getByRole('button', { name: `Log in with ${provider}` }).waitFor();
  await stranger.waitForURL(pages);
  assert.deepEqual(seen.left, { client_id: 'pages', post_logout_redirect_uri: pages, id_token_hint: 'who' });
  assert.deepEqual(stranger.errors, []);
  await stranger.context().close();
});

test('declare, bind, publish, get, copy, purge, delete', async () => {
  await visit(tab, 'queues');
  for (const name of ['work', 'copies']) {
    const form = await fold('Declare a queue');
    await form.getByLabel('Name').fill(name);
    await form.getByLabel('Type').selectOption('classic');
    await form.getByRole('group', { name: 'Classic', exact: true }).getByRole('button', { name: 'x-max-priority' }).click();
    await form.getByText('x-max-priority: Priorities it knows').waitFor();
    await form.getByLabel('Arguments').fill('x-max-length = 100\nx-dead-letter-exchange = amq.fanout');
    await form.getByRole('button', { name: 'Declare queue' }).click();
    await tab.getByRole('link', { name, exact: true }).waitFor();
    await tab.waitForFunction(() => document.querySelector('#field-queue-name').value === '');
  }
  const { body: queue } = await api('GET', at('queues', VHOST, 'work'));
  assert.equal(queue.arguments['x-max-length'], 100);
  assert.equal(queue.arguments['x-dead-letter-exchange'], 'amq.fanout');

  await visit(tab, at('exchanges', VHOST, 'amq.topic'));
  const bind = await fold('Bind to a queue');
  await bind.getByLabel('Name').fill('work');
  await bind.getByLabel('Routing key').fill('a.*');
  await bind.getByRole('button', { name: 'Bind' }).click();
  await said('The binding is added');
  await tab.getByRole('link', { name: 'work', exact: true }).waitFor();

  const publish = await fold('Publish a message');
  for (const [key, payload] of [['a.b', '{"id":1}'], ['a.c', 'plain text']]) {
    await publish.getByLabel('Routing key').fill(key);
    await publish.getByLabel('Headers').fill('attempt = 3');
    await publish.getByLabel('Payload').fill(payload);
    await publish.getByRole('button', { name: 'Publish' }).click();
    await said('Published, and routed.');
    await tab.locator('.toast button').first().click();
  }
  await publish.getByLabel('Routing key').fill('nobody');
  await publish.getByRole('button', { name: 'Publish' }).click();
  await said('no queue took it');

  await visit(tab, at('messages', VHOST, 'work'));
  if (await browses('work')) await fold('Get messages as a client does');
  await tab.getByRole('button', { name: 'Get messages' }).click();
  const got = tab.locator('.got');
  await got.locator('.message').nth(1).waitFor();
  await got.locator('.message').first().locator('summary').click();
  assert.match(await got.locator('.message pre').first().textContent(), /"id": 1/);
  await got.locator('.message').first().getByRole('button', { name: 'Hex' }).click();
  await got.locator('.message pre', { hasText: '7b 22 69 64 22' }).waitFor();
  await got.getByLabel('Search in these messages').fill('plain');
  await got.getByText('1 of 2 messages').waitFor();
  await got.getByRole('button', { name: 'Copy 1 to …' }).click();
  await tab.getByRole('dialog').getByLabel('To queue').fill('copies');
  await agree('Copy');
  await said('Copied 1 message to copies');
  const { body: [copy] } = await api('POST', `${at('queues', VHOST, 'copies')}/get`, { count: 1, ackmode: 'ack_requeue_true', encoding: 'auto' });
  assert.equal(copy.payload, 'plain text');
  assert.equal(copy.properties.headers.attempt, 3);

  await counted('work', 2);
  await tab.getByRole('button', { name: 'Purge', exact: true }).click();
  assert.match(await tab.getByRole('dialog').textContent(), /2 ready messages/);
  await agree('Purge 2 messages');
  await said('Purged work');
  const { body: rest } = await api('POST', `${at('queues', VHOST, 'work')}/get`, { count: 1, ackmode: 'ack_requeue_true', encoding: 'auto' });
  assert.deepEqual(rest, []);

  await visit(tab, at('queues', VHOST, 'copies'));
  await tab.getByRole('button', { name: 'Delete', exact: true }).click();
  const word = tab.getByRole('dialog').getByLabel('Type “copies” to go on');
  if (await word.count()) await word.fill('copies');
  await tab.getByRole('dialog').getByLabel('Only if it is empty').check();
  await agree('Delete');
  await said('not empty');
  assert.equal((await api('GET', at('queues', VHOST, 'copies'))).status, 200);

  await visit(tab, at('queues', VHOST, 'work'));
  await tab.getByRole('button', { name: 'Delete', exact: true }).click();
  const typed = tab.getByRole('dialog').getByLabel('Type “work” to go on');
  if (await typed.count()) await typed.fill('work');
  await agree('Delete');
  await said('Deleted: work');
  assert.equal((await api('GET', at('queues', VHOST, 'work'))).status, 404);
  assert.match(tab.url(), /#\/queues$/);
});

test('messages are browsed, searched, moved, sent back and deleted', async (context) => {
  const queue = (name, more) => api('PUT', at('queues', VHOST, name), { durable: true, arguments: { 'x-queue-type': 'classic', ...more } });
  const publish = (key, payload, headers) => api('POST', `${at('exchanges', VHOST, 'amq.default')}/publish`, { routing_key: key, payload, payload_encoding: 'string', properties: { headers } });
  const dead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
  await Promise.all([queue('dead'), queue('elsewhere'), queue('origin', dead)]);
  if (!(await browses('dead'))) return context.skip('the broker shows no messages without giving them away');
  const depth = async (name) => (await api('GET', `leveret/${at('queues', VHOST, name)}/messages`)).body.total;
  for (let number = 1; number <= 6; number += 1) await publish('origin', `{"order":${number}}`, { region: number % 2 ? 'eu' : 'us' });
  await api('POST', `${at('queues', VHOST, 'origin')}/get`, { count: 6, ackmode: 'reject_requeue_false', encoding: 'auto' });

  await visit(tab, at('messages', VHOST, 'dead'));
  await tab.locator('.message').nth(5).waitFor();
  await tab.locator('.message').first().locator('summary').click();
  await tab.locator('.message').first().getByText('Rejected by a consumer in queue origin').waitFor();
  assert.equal((await api('POST', `${at('queues', VHOST, 'dead')}/get`, { count: 1, ackmode: 'ack_requeue_true', encoding: 'auto' })).body[0].redelivered, false);

  // What is typed here is looked for in the whole queue; a link leads to the same messages.
  await tab.getByLabel('Search in all messages').fill('"order":4');
  await tab.getByLabel('Search in all messages').press('Enter');
  await tab.getByRole('status').getByText('1 message shown, of those that match').waitFor({ state: 'attached' });
  await tab.waitForFunction(() => document.querySelectorAll('.message').length === 1);
  assert.match(tab.url(), /text=/);
  await tab.getByText('More filters').click();
  await tab.getByRole('button', { name: 'Clear filters' }).click();
  await tab.locator('.message').nth(5).waitFor();

  await tab.getByLabel('Choose message 1', { exact: true }).check();
  await tab.getByLabel('Choose message 2', { exact: true }).check();
  await tab.getByText('2 chosen').waitFor();
  await tab.getByRole('button', { name: 'Move …' }).click();
  await tab.getByRole('dialog').getByLabel('Queue').fill('elsewh');
  await tab.locator('datalist option[value=elsewhere]').waitFor({ state: 'attached' });
  await tab.getByRole('dialog').getByLabel('Queue').fill('elsewhere');
  await agree('Move 2 messages');
  await said('Moved 2 messages');
  assert.deepEqual([await depth('dead'), await depth('elsewhere')], [4, 2]);

  await tab.getByLabel('Header', { exact: true }).fill('region');
  await tab.getByLabel('has this value').fill('eu');
  await tab.getByRole('button', { name: 'Filter', exact: true }).click();
  await tab.getByText('all that match').waitFor();
  await tab.getByRole('button', { name: 'Send back to origin …' }).click();
  await tab.getByRole('dialog').getByText('all that match, 2 just now').waitFor();
  await agree('Send back 2 messages');
  await said('Sent back 2 messages');
  assert.deepEqual([await depth('dead'), await depth('origin')], [2, 2]);

  await visit(tab, at('messages', VHOST, 'dead'));
  await tab.getByText('all ready messages').waitFor();
  await tab.getByRole('button', { name: 'Delete …' }).click();
  await agree('Delete 2 messages');
  await said('Deleted 2 messages');
  await tab.getByText('No messages are ready').waitFor();
  assert.equal(await depth('dead'), 0);
});

test('a stream is declared, read from an offset, copied from, and forgets by a policy', async (context) => {
  await visit(tab, 'queues');
  const form = await fold('Declare a queue');
  await form.getByLabel('Name').fill('history');
  await form.getByLabel('Type').selectOption('stream');
  await form.getByLabel('Durability').waitFor({ state: 'detached' });
  assert.equal(await form.getByLabel('Auto-delete').count(), 0);
  assert.deepEqual(await form.getByRole('group').evaluateAll((all) => all.map((one) => one.getAttribute('aria-label'))), ['Every kind of queue', 'Stream']);
  await form.getByRole('group', { name: 'Stream' }).getByRole('button', { name: 'x-max-age' }).click();
  await form.getByText('x-max-age: How long data is kept').waitFor();
  await form.getByLabel('Arguments').fill('x-max-age = 7D');
  await form.getByRole('button', { name: 'Declare queue' }).click();
  await said('The queue is declared');
  const { body: stream } = await api('GET', at('queues', VHOST, 'history'));
  assert.deepEqual([stream.type, stream.durable, stream.arguments['x-max-age']], ['stream', true, '7D']);

  await api('PUT', at('policies', VHOST, 'shorter'), { pattern: '^history$', definition: { 'max-age': '1D' }, 'apply-to': 'streams' });
  await api('PUT', at('queues', VHOST, 'copied'), { durable: true, arguments: { 'x-queue-type': 'classic' } });
  for (let number = 0; number < 30; number += 1) await api('POST', `${at('exchanges', VHOST, 'amq.default')}/publish`, { routing_key: 'history', payload: `step ${number}`, payload_encoding: 'string', properties: {} });

  await visit(tab, at('queues', VHOST, 'history'));
  await tab.getByRole('row', { name: /max-age 1D policy shorter 7D by argument of the queue/ }).waitFor();
  assert.equal(await tab.getByText('Nothing limits this stream').count(), 0);
  for (const action of ['Purge', 'Move messages']) assert.equal(await tab.getByText(action, { exact: true }).count(), 0, action);
  await tab.getByText('Nobody reads this stream.').waitFor();
  if (!(await browses('history'))) return context.skip('the broker shows no messages without giving them away');
  await tab.locator('.stat', { hasText: 'Next offset' }).getByText('30').waitFor();

  await tab.getByRole('link', { name: 'Messages', exact: true }).click();
  const messages = tab.locator('.message');
  await messages.first().getByText('Offset 0', { exact: true }).waitFor();
  for (const action of ['Purge', 'Move …', 'Send back to origin …', 'Delete …', 'Get messages']) assert.equal(await tab.getByRole('button', { name: action }).count(), 0, action);
  await tab.getByLabel('From offset').fill('28');
  await tab.getByLabel('From offset').press('Enter');
  await messages.first().getByText('Offset 28', { exact: true }).waitFor();
  assert.deepEqual(await messages.locator('.preview').allTextContents(), ['step 28', 'step 29']);
  await tab.getByLabel('Choose message 29', { exact: true }).check();
  await tab.getByRole('button', { name: 'Copy …' }).click();
  await tab.getByRole('dialog').getByLabel('Queue').fill('copied');
  await agree('Copy 1 message');
  await said('Copied 1 message');
  const { body: [copy] } = await api('POST', `${at('queues', VHOST, 'copied')}/get`, { count: 1, ackmode: 'ack_requeue_false', encoding: 'auto' });
  assert.equal(copy.payload, 'step 29');
  assert.equal((await api('GET', `leveret/${at('queues', VHOST, 'history')}/messages`)).body.total, 30);
});

test('a shovel is added, seen at work, restarted and deleted', async (context) => {
  if ((await api('GET', 'shovels')).status !== 200) return context.skip('the broker has no shovels');
  for (const name of ['from-here', 'to-there']) await api('PUT', at('queues', VHOST, name), { durable: true, arguments: { 'x-queue-type': 'classic' } });
  await visit(tab, 'shovels');
  const form = await fold('Add a shovel');
  await form.getByLabel('Virtual host').selectOption(VHOST);
  await form.getByLabel('Name').fill('mover');
  await form.getByLabel('Source queue').fill('from-here');
  await form.getByLabel('Destination queue').fill('to-there');
  await form.getByRole('button', { name: 'Add shovel' }).click();
  await said('The shovel is added');
  const row = tab.getByRole('row', { name: /^mover/ });
  await row.getByText('running', { exact: true }).waitFor();
  await row.getByRole('link', { name: 'to-there' }).waitFor();

  await api('POST', `${at('exchanges', VHOST, 'amq.default')}/publish`, { routing_key: 'from-here', payload: 'moved', payload_encoding: 'string', properties: {} });
  await row.getByRole('cell', { name: '1', exact: true }).waitFor();
  const { body: [moved] } = await api('POST', `${at('queues', VHOST, 'to-there')}/get`, { count: 1, ackmode: 'ack_requeue_false', encoding: 'auto' });
  assert.equal(moved.payload, 'moved');

  await row.getByRole('button', { name: 'Restart shovel mover' }).click();
  await said('Shovel mover is restarted');
  await row.getByText('running', { exact: true }).waitFor();
  await row.getByRole('button', { name: 'Delete shovel mover' }).click();
  await agree('Delete');
  await row.waitFor({ state: 'detached' });
  assert.deepEqual((await api('GET', at('shovels', VHOST))).body, []);
});

test('from a symptom to the message in three clicks', async (context) => {
  if (!(await browses('dead'))) return context.skip('the broker shows no messages without giving them away');
  await api('DELETE', `${at('queues', VHOST, 'origin')}/contents`);
  const timestamp = Math.floor(Date.now() / 1000) - 3 * 3600;
  const publish = (payload) => api('POST', `${at('exchanges', VHOST, 'amq.default')}/publish`, { routing_key: 'origin', payload, payload_encoding: 'string', properties: { timestamp } });
  for (let number = 1; number <= 3; number += 1) await publish(`{"lost":${number}}`);
  await api('POST', `${at('queues', VHOST, 'origin')}/get`, { count: 5, ackmode: 'reject_requeue_false', encoding: 'auto' });
  await visit(tab, '');
  const symptom = tab.getByRole('region', { name: 'Longest queues' }).getByRole('row', { name: /^dead .*no consumer/ });
  await tab.getByRole('region', { name: 'Oldest messages' }).getByRole('row', { name: /^dead .*\d s$/ }).waitFor({ timeout: 20_000 });
  await symptom.getByRole('link', { name: 'dead' }).click();
  await tab.getByText('Messages are waiting and nobody consumes').waitFor();
  await tab.getByRole('link', { name: 'Messages', exact: true }).click();
  await tab.locator('.message', { hasText: '"lost":1' }).locator('summary').click();
  const message = tab.locator('.message', { hasText: '"lost": 1' });
  await message.getByText('Rejected by a consumer in queue origin').waitFor();
  await message.getByRole('link', { name: 'Trace its route' }).waitFor();
});

test('a refused declare says why and what to do', async () => {
  await api('PUT', at('queues', VHOST, 'taken'), { durable: true, arguments: { 'x-queue-type': 'classic' } });
  await visit(tab, 'queues');
  const form = await fold('Declare a queue');
  await form.getByLabel('Name').fill('taken');
  await form.getByLabel('Type').selectOption('quorum');
  await form.getByRole('button', { name: 'Declare queue' }).click();
  await said('inequivalent arg');
  await said('It exists with other properties');
  assert.equal(await form.getByLabel('Name').inputValue(), 'taken');
});

test('a table pages, sorts and filters on the server, and its address shows the same rows', async () => {
  const names = Array.from({ length: 60 }, (_, index) => `many-${String(index).padStart(2, '0')}`);
  await Promise.all(names.map((name) => api('PUT', at('queues', VHOST, name), { durable: true, arguments: { 'x-queue-type': 'classic' } })));
  await visit(tab, 'queues?name=many&page_size=25');
  await tab.getByText('Page 1 of 3').waitFor();
  await tab.getByRole('button', { name: 'Next' }).click();
  await tab.getByRole('link', { name: 'many-25' }).waitFor();
  await tab.getByRole('button', { name: 'Name', exact: true }).click();
  await tab.getByRole('link', { name: 'many-59' }).waitFor();
  assert.equal(await tab.getByRole('columnheader', { name: 'Name' }).getAttribute('aria-sort'), 'descending');
  await tab.getByLabel('Regex').check();
  await tab.getByLabel('Filter Queues by name').fill('many-0[12]');
  await tab.getByText('2 of ').waitFor();
  const other = await tab.context().newPage();
  await other.addInitScript((login) => sessionStorage.setItem('leveret.login', login), await tab.evaluate(() => sessionStorage.getItem('leveret.login')));
  await other.goto(tab.url());
  await other.getByRole('link', { name: 'many-02' }).waitFor();
  assert.equal(await other.getByRole('row').count(), 3);
  await other.close();
});

test('what is typed stays while the numbers go on', async () => {
  await visit(tab, 'queues');
  const form = await fold('Declare a queue');
  await form.getByLabel('Name').fill('half-typed');
  const answered = () => tab.waitForResponse((response) => response.url().includes('/api/queues'));
  await answered();
  await answered();
  assert.equal(await form.getByLabel('Name').inputValue(), 'half-typed');
});

test('the keyboard finds every object', async () => {
  await visit(tab, '');
  await tab.keyboard.press('/');
  await tab.getByRole('combobox', { name: 'Search everything' }).fill('many-42');
  await tab.getByRole('option', { name: /queue many-42/ }).waitFor();
  await tab.keyboard.press('Enter');
  await tab.getByRole('heading', { level: 1, name: /many-42/ }).waitFor();
});

test('a chart reads out earlier moments by keyboard', async () => {
  await visit(tab, '?span=1m');
  const chart = tab.getByRole('slider', { name: 'Queued messages' });
  await chart.focus();
  const newest = Number(await chart.getAttribute('aria-valuenow'));
  await tab.keyboard.press('ArrowLeft');
  await tab.waitForFunction(([element, before]) => Number(element.getAttribute('aria-valuenow')) < before, [await chart.elementHandle(), newest]);
  assert.match(await chart.getAttribute('aria-valuetext'), /\d\d:\d\d:\d\d: Ready \d/);
  const ready = tab.getByRole('button', { name: /^Ready/ });
  await ready.click();
  assert.equal(await ready.getAttribute('aria-pressed'), 'false');
  await ready.click();
  assert.equal(await ready.getAttribute('aria-pressed'), 'true');
});

test('a user’s life: added, permitted, checked, changed, deleted', async () => {
  const name = `${VHOST}-ann`;
  await visit(tab, 'users');
  const form = await fold('Add a user');
  await form.getByLabel('Name').fill(name);
  await form.getByLabel('Password').fill('secret-1');
  await form.getByLabel('The same again').fill('secret-2');
  await form.getByRole('button', { name: 'Add user' }).click();
  await said('The two passwords differ');
  await form.getByLabel('The same again').fill('secret-1');
  await form.getByLabel('Tags').fill('management');
  await form.getByRole('button', { name: 'Add user' }).click();
  await tab.getByRole('link', { name, exact: true }).click();
  await tab.getByText('This user has no permissions').waitFor();

  const permit = await fold('Set permissions');
  await permit.getByLabel('Virtual host').selectOption(VHOST);
  await permit.getByLabel('Configure').fill('');
  await permit.getByLabel('Write').fill('^many-1');
  await permit.getByLabel('Read').fill('^many');
  await permit.getByRole('button', { name: 'Set permissions' }).click();
  await said('The permissions are set');
  assert.deepEqual((await api('GET', at('permissions', VHOST, name))).body, { user: name, vhost: VHOST, configure: '', write: '^many-1', read: '^many' });

  await visit(tab, `permissions?user=${name}&vhost=${VHOST}&name=many-10`);
  const row = tab.getByRole('row', { name: /many-10 queue/ });
  await row.waitFor();
  assert.match(await row.textContent(), /nono?yesyes|noyesyes/);

  const stranger = await open(browser);
  await login(stranger, name, 'secret-1');
  await visit(stranger, 'users');
  await stranger.getByText('Your user may not do this').waitFor();
  await stranger.context().close();

  await visit(tab, at('users', name));
  const change = await fold('Change password or tags');
  await change.getByLabel('Tags').fill('monitoring');
  await change.getByRole('button', { name: 'Change user' }).click();
  await said('The user is changed');
  assert.deepEqual((await api('GET', at('users', name))).body.tags, ['monitoring']);
  await change.getByLabel('Take the password away').check();
  await change.getByRole('button', { name: 'Change user' }).click();
  await tab.getByLabel('Take the password away').waitFor({ state: 'detached' });
  assert.equal((await api('GET', at('users', name))).body.password_hash, '');
  await tab.getByRole('button', { name: 'Delete', exact: true }).click();
  await agree('Delete');
  await said(`Deleted: user ${name}`);
  assert.equal((await api('GET', at('users', name))).status, 404);
});

test('a virtual host is added, limited, protected and deleted', async () => {
  const name = `${VHOST}-second`;
  await visit(tab, 'vhosts');
  const form = await fold('Add a virtual host');
  await form.getByLabel('Name').fill(name);
  await form.getByLabel('Description').fill('for a test');
  await form.getByRole('button', { name: 'Add virtual host' }).click();
  await tab.getByRole('link', { name, exact: true }).waitFor();
  await visit(tab, 'limits');
  const limit = await fold('Set a virtual host limit');
  await limit.getByLabel('Virtual host', { exact: true }).selectOption(name);
  await limit.getByLabel('Limit', { exact: true }).selectOption('max-queues');
  await limit.getByLabel('Value').fill('7');
  await limit.getByRole('button', { name: 'Set limit' }).click();
  await said('The limit is set');
  assert.deepEqual((await api('GET', at('vhost-limits', name))).body, [{ vhost: name, value: { 'max-queues': 7 } }]);
  await visit(tab, at('vhosts', name));
  await tab.getByRole('button', { name: 'Protect from deletion' }).click();
  await tab.getByRole('button', { name: 'Allow deletion' }).click();
  await tab.getByRole('button', { name: 'Protect from deletion' }).waitFor();
  await tab.getByRole('button', { name: 'Delete', exact: true }).click();
  await tab.getByRole('dialog').getByLabel(/Type/).fill(name);
  await agree('Delete');
  await said('Deleted: virtual host');
  assert.equal((await api('GET', at('vhosts', name))).status, 404);
});

test('a policy shows what it would match before it is saved', async () => {
  await api('PUT', at('policies', VHOST, 'strong'), { pattern: '^many-00$', definition: { 'max-length': 5 }, 'apply-to': 'queues', priority: 9 });
  await visit(tab, 'policies');
  const form = await fold('Add or change a policy');
  await form.getByLabel('Name').fill('weak');
  await form.getByLabel('Pattern').fill('^many-0[0-2]$');
  await form.getByLabel('Apply to').selectOption('queues');
  await form.getByLabel('Priority').fill('1');
  await form.getByLabel('Definition').fill('max-length = 7');
  await form.getByRole('button', { name: 'Preview' }).click();
  await form.getByText('3 matches.').waitFor();
  assert.match(await form.getByRole('row', { name: /many-00/ }).textContent(), /loses/);
  assert.match(await form.getByRole('row', { name: /many-01/ }).textContent(), /would take effect/);
  assert.equal((await api('GET', at('policies', VHOST, 'weak'))).status, 404);
  await form.getByRole('button', { name: 'Save policy' }).click();
  await said('Saved policy weak');
  await visit(tab, at('queues', VHOST, 'many-01'));
  await tab.getByRole('row', { name: /max-length 7 policy weak/ }).waitFor({ timeout: 30_000 });
});

test('definitions: a dry run first, then the import', async () => {
  const file = {
    queues: [{ name: 'imported', vhost: VHOST, durable: true, auto_delete: false, arguments: { 'x-queue-type': 'classic' } }, { name: 'many-00', vhost: VHOST, durable: true, auto_delete: false, arguments: { 'x-queue-type': 'classic' } }],
    policies: [{ vhost: VHOST, name: 'strong', pattern: '^many-00$', 'apply-to': 'queues', definition: { 'max-length': 6 }, priority: 9 }],
    exchanges: [], bindings: [],
  };
  await visit(tab, 'definitions');
  await tab.getByLabel('Definitions file').setInputFiles({ name: 'shop.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(file)) });
  await tab.getByText('1 added, 1 changed, 1 unchanged').waitFor();
  assert.match(await tab.getByRole('row', { name: /strong/ }).textContent(), /changed.*definition/);
  assert.equal((await api('GET', at('queues', VHOST, 'imported'))).status, 404);
  await tab.getByRole('button', { name: 'Import 2 changes' }).click();
  await agree('Import 2 changes');
  await said('Imported shop.json');
  assert.equal((await api('GET', at('queues', VHOST, 'imported'))).status, 200);
  const [download] = await Promise.all([tab.waitForEvent('download'), tab.getByRole('button', { name: 'Download definitions' }).click()]);
  assert.match(download.suggestedFilename(), /^definitions-.*\.json$/);
});

test('the topology leads to its objects, and the route tester marks the way', async () => {
  await api('PUT', at('exchanges', VHOST, 'inner'), { type: 'fanout', durable: true });
  await api('POST', at('bindings', VHOST, 'e', 'amq.topic', 'e', 'inner'), { routing_key: 'x.#', arguments: {} });
  await api('POST', at('bindings', VHOST, 'e', 'inner', 'q', 'many-00'), { routing_key: '', arguments: {} });
  await api('POST', at('bindings', VHOST, 'e', 'amq.topic', 'q', 'many-01'), { routing_key: 'x.*', arguments: {} });
  await visit(tab, `topology?vhost=${VHOST}`);
  const form = await fold('Route tester');
  await form.getByLabel('Exchange').selectOption('amq.topic');
  for (const [key, words] of [['x.y', 'reaches 2 queues'], ['x.y.z', 'reaches 1 queue'], ['y', 'reaches no queue']]) {
    await form.getByLabel('Routing key').fill(key);
    await form.getByRole('button', { name: 'Test the route' }).click();
    await tab.getByText(words).waitFor();
  }
  await tab.locator('.graph').getByRole('link', { name: /^many-01/ }).press('Enter');
  await tab.getByRole('heading', { level: 1, name: /many-01/ }).waitFor();
});

test('what flows between objects, where the broker counts it', async () => {
  const watched = await open(browser);
  for (const exchange of ['amq.topic', 'amq.direct']) await api('POST', at('bindings', VHOST, 'e', exchange, 'q', 'many-04'), { routing_key: 'flow', arguments: {} });
  // Neither RabbitMQ nor we count this unless management.rates_mode is detailed; these are its answers then.
  const rate = (...names) => Object.fromEntries(names.map(([name, value]) => [`${name}_details`, { rate: value }]));
  const counted = {
    [at('exchanges', VHOST, 'amq.topic')]: { incoming: [{ channel_details: { name: 'a -> b (1)' }, stats: rate(['publish', 8]) }], outgoing: [{ queue: { name: 'many-04', vhost: VHOST }, stats: rate(['publish', 7]) }] },
    [at('exchanges', VHOST, 'amq.direct')]: { outgoing: [{ queue: { name: 'many-04', vhost: VHOST }, stats: rate(['publish', 2]) }] },
    [at('queues', VHOST, 'many-04')]: { incoming: [{ exchange: { name: 'amq.topic', vhost: VHOST }, stats: rate(['publish', 7]) }], deliveries: [{ channel_details: { name: 'c -> d (2)' }, stats: rate(['deliver_get', 6], ['ack', 5]) }] },
  };
  await watched.route(({ pathname }) => Object.keys(counted).some((path) => pathname.endsWith(`/api/${path}`)), async (route) => {
    const response = await route.fetch();
    const path = Object.keys(counted).find((one) => new URL(route.request().url()).pathname.endsWith(`/api/${one}`));
    return route.fulfill({ response, json: { ...(await response.json()), ...counted[path] } });
  });
  await login(watched);
  await visit(watched, `topology?vhost=${VHOST}`);
  for (const words of ['7/s', '2/s']) await watched.locator('.edge-label', { hasText: words }).waitFor();
  await visit(watched, at('queues', VHOST, 'many-04'));
  await watched.getByRole('region', { name: 'Incoming' }).getByRole('row', { name: 'amq.topic 7/s' }).waitFor();
  await watched.getByRole('region', { name: 'Deliveries' }).getByRole('row', { name: 'c (2) 6/s' }).waitFor();
  await visit(watched, at('exchanges', VHOST, 'amq.topic'));
  await watched.getByRole('region', { name: 'Publishers' }).getByRole('row', { name: 'a (1) 8/s' }).waitFor();
  await watched.getByRole('region', { name: 'Routed to' }).getByRole('row', { name: 'many-04 7/s' }).waitFor();
  assert.deepEqual(watched.errors, []);
  await watched.context().close();
});

test('the configuration is searched, the log grows, changes are in the audit log', async (context) => {
  if ((await api('GET', 'leveret/audit')).status !== 200) return context.skip('the broker shows none of it');
  await visit(tab, 'configuration?name=heartbeat');
  await tab.getByRole('row', { name: /^heartbeat \d+/ }).waitFor();
  await tab.getByRole('button', { name: 'Set by somebody' }).click();
  await visit(tab, 'log');
  await tab.locator('.log-line').first().waitFor();
  await api('PUT', at('queues', VHOST, 'audited'), { durable: true });
  await tab.locator('.log-line', { hasText: `${VHOST}/audited` }).waitFor();
  await tab.getByLabel('Filter lines').fill('no line is like this');
  await tab.getByText('No line is like this').waitFor();
  await visit(tab, `audit?name=${encodeURIComponent(`${VHOST}/audited`)}`);
  await tab.getByRole('row', { name: /guest PUT .*audited 201/ }).waitFor();
});

test('statistics begin anew', async () => {
  const { body: [{ name }] } = await api('GET', 'nodes');
  await visit(tab, at('nodes', name));
  await tab.getByRole('button', { name: 'Reset statistics' }).click();
  await agree('Reset statistics');
  await said('The statistics begin anew');
});

test('a virtual host that does not run is started', async () => {
  const watched = await open(browser);
  let started;
  // A broker whose vhosts have a reason to stop is hard to make.
  const where = `/api/${at('vhosts', VHOST)}`;
  await watched.route(({ pathname }) => pathname === where || pathname.startsWith(`${where}/start/`), async (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname.includes('/start/')) {
      started = decodeURIComponent(pathname.split('/').at(-1));
      return route.fulfill({ status: 204 });
    }
    const response = await route.fetch();
    return route.fulfill({ response, json: { ...(await response.json()), cluster_state: { 'rabbit@there': started ? 'running' : 'stopped' } } });
  });
  await login(watched);
  await visit(watched, at('vhosts', VHOST));
  await watched.getByText('It does not run on rabbit@there').waitFor();
  await watched.getByRole('button', { name: 'Start it' }).click();
  await watched.getByText('It does not run').waitFor({ state: 'detached' });
  assert.equal(started, 'rabbit@there');
  await watched.context().close();
});

test('an alarm is shown on every page, with what to do', async () => {
  const watched = await open(browser);
  // A real alarm would block the publishers of everybody who uses this broker.
  await watched.route('**/api/nodes*', async (request) => {
    const response = await request.fetch();
    const nodes = (await response.json()).map((node) => ({ ...node, mem_alarm: true }));
    await request.fulfill({ response, json: nodes });
  });
  await login(watched);
  await visit(watched, 'queues');
  await watched.getByText('publishers are blocked').waitFor();
  await watched.getByText('vm_memory_high_watermark').waitFor();
  await watched.context().close();
});

test('a broker that goes away and comes back', async () => {
  const watched = await open(browser);
  await login(watched);
  await visit(watched, 'queues');
  await watched.route('**/api/**', (request) => request.abort());
  await watched.getByText('The broker does not answer').waitFor();
  await watched.reload();
  await watched.getByRole('heading', { level: 1, name: 'The broker does not answer' }).waitFor();
  await watched.unroute('**/api/**');
  await watched.getByText('The broker does not answer').waitFor({ state: 'detached' });
  await watched.getByRole('heading', { level: 1, name: 'Queues and Streams' }).waitFor();
  await watched.context().close();
});

test('dark and light are kept', async () => {
  await visit(tab, '');
  const colour = () => tab.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await colour();
  await tab.getByLabel('Theme').selectOption('dark');
  assert.notEqual(await colour(), light);
  await tab.reload();
  await tab.locator('.shell').waitFor();
  assert.notEqual(await colour(), light);
  await tab.getByLabel('Theme').selectOption('auto');
});

test('publishes that reach no queue lead to the channel that makes them', { skip: !process.env.AMQP_URL && 'no AMQP_URL' }, async () => {
  const { default: amqp } = await import('amqplib');
  const url = new URL(process.env.AMQP_URL);
  url.pathname = `/${VHOST}`;
  const client = await amqp.connect(url.href);
  const channel = await client.createChannel();
  const publishing = setInterval(() => channel.publish('amq.topic', 'nobody.listens', Buffer.from('lost')), 100);
  try {
    await visit(tab, '');
    await tab.getByText(/reaches no queue and is dropped/).waitFor({ timeout: 30_000 });
    await tab.getByRole('link', { name: 'Which channels publish it?' }).click();
    await tab.getByRole('columnheader', { name: 'Dropped' }).waitFor();
    await tab.getByRole('row').nth(1).getByText(/^(\d\.\d|\d+)\/s$/).first().waitFor();
  } finally {
    clearInterval(publishing);
    await client.close();
  }
});

test('a long name hides no number on the overview', async () => {
  const name = 'a-queue-with-a-name-that-is-far-longer-than-a-card-of-the-overview-is-wide';
  await api('PUT', at('queues', VHOST, name), {});
  await api('POST', `${at('exchanges', VHOST, 'amq.default')}/publish`, { routing_key: name, payload: 'x', payload_encoding: 'string', properties: {} });
  for (const width of [1440, 360]) {
    await tab.setViewportSize({ width, height: 900 });
    await visit(tab, 'queues');
    await visit(tab, '');
    const card = tab.getByRole('region', { name: 'Longest queues' });
    await card.getByRole('link', { name }).waitFor({ timeout: 20_000 });
    assert.equal(await card.evaluate((region) => region.scrollWidth - region.clientWidth), 0, `${width} px`);
  }
  await tab.setViewportSize({ width: 1440, height: 900 });
  await api('DELETE', at('queues', VHOST, name));
});

test('a connection is seen, followed to its channel and closed', { skip: !process.env.AMQP_URL && 'no AMQP_URL' }, async () => {
  const { default: amqp } = await import('amqplib');
  const url = new URL(process.env.AMQP_URL);
  url.pathname = `/${VHOST}`;
  const client = await amqp.connect(url.href, { clientProperties: { connection_name: 'ui-test-client' } });
  const closed = new Promise((resolve) => { client.on('error', resolve); client.on('close', resolve); });
  const channel = await client.createChannel();
  channel.on('error', () => {});
  await channel.prefetch(7);
  await channel.consume('many-03', () => {}, { consumerTag: 'reader' });
  await visit(tab, 'connections');
  const row = tab.getByRole('row', { name: /ui-test-client/ });
  await row.waitFor({ timeout: 20_000 });
  await visit(tab, at('queues', VHOST, 'many-03'));
  const readers = tab.getByRole('region', { name: 'Consumers' }).getByRole('row', { name: /reader/ });
  await readers.waitFor({ timeout: 20_000 });
  assert.match(await readers.textContent(), /7/);
  if (await browses('many-03')) {
    await channel.sendToQueue('many-03', Buffer.from('held'));
    const held = tab.getByRole('region', { name: 'Unacked messages' }).getByRole('row', { name: /reader guest 1 \d+ s/ });
    await held.waitFor({ timeout: 20_000 });
    await tab.getByRole('link', { name: 'Look at these messages' }).click();
    await tab.locator('.message', { hasText: /with reader for \d+ s/ }).waitFor();
  }
  await visit(tab, 'connections');
  await row.getByRole('link').first().click();
  await tab.getByRole('heading', { level: 1, name: /ui-test-client/ }).waitFor();
  await tab.getByRole('button', { name: 'Close connection' }).click();
  await tab.getByRole('dialog').getByLabel(/Reason/).fill('closed by a test');
  await agree('Close connection');
  const reason = await closed;
  assert.match(String(reason?.message ?? ''), /closed by a test|CONNECTION_FORCED/);
});

test('nothing complained', () => assert.deepEqual(tab.errors, []));

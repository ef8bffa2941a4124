// How quick the pages are on a large broker: queues and connections are made, then the list of queues is opened, sorted,
// filtered and turned over, and each time counts until its rows are there. Whoever runs it compares; nothing is asserted.
//
//   PAGES=http://127.0.0.1:15672/ AMQP_URL=amqp://guest:guest@127.0.0.1:5672 node speed.js [QUEUES] [CONNECTIONS]
//
// With WATCH=SECONDS it only opens five browsers on the busiest pages and keeps them open so long, for a measurement of
// what they cost the broker; with TAPE=FILE it writes down what they ask and when. PLAY=FILE asks the same again, over and
// over for WATCH seconds: where browsers and load share a core, what the browsers draw must not count against the broker.

import amqp from 'amqplib';
import { readFileSync, writeFileSync } from 'node:fs';
import { api, launch, login, open, visit } from './test/browser.js';

const VHOST = 'speed';
const WATCHED = ['', 'queues', 'queues?sort=messages&sort_reverse=true', 'connections', 'channels'];
const AT_ONCE = 50;

const [queues = 100_000, connections = 1_000] = process.argv.slice(2).map(Number);

if (process.env.PLAY) await play(JSON.parse(readFileSync(process.env.PLAY, 'utf8')), Number(process.env.WATCH));
else if (process.env.WATCH) await watch(Number(process.env.WATCH));
else await measure();

async function watch(seconds) {
  const browser = await launch();
  const tape = [];
  let start;
  for (const route of WATCHED) {
    const tab = await open(browser);
    await login(tab);
    await visit(tab, route);
    tab.on('request', (request) => start && request.url().includes('/api/') && tape.push([Math.round(performance.now() - start), request.url(), request.headers().authorization]));
  }
  console.log('watching');
  start = performance.now();
  await pause(seconds * 1000);
  await browser.close();
  if (process.env.TAPE) writeFileSync(process.env.TAPE, JSON.stringify({ seconds, requests: tape }));
}

/** The requests of a tape at their times, and the tape again from its beginning. */
async function play({ seconds: length, requests }, seconds) {
  const start = performance.now();
  const answers = [];
  let bytes = 0;
  const ask = async (url, authorization) => {
    const response = await fetch(url, { headers: { authorization, 'accept-encoding': 'gzip' } });
    bytes += (await response.arrayBuffer()).byteLength;
  };
  for (let round = 0; round * length < seconds; round += 1) {
    for (const [at, url, authorization] of requests) {
      const due = round * length * 1000 + at;
      if (due > seconds * 1000) break;
      await pause(due - (performance.now() - start));
      answers.push(ask(url, authorization));
    }
  }
  await Promise.all(answers);
  console.log(`${answers.length} requests, ${(answers.length / seconds).toFixed(1)}/s, ${Math.round(bytes / 1024)} KiB`);
}

function pause(ms) {
  return new Promise((resolve) => { setTimeout(resolve, Math.max(0, ms)); });
}

async function measure() {
  await api('PUT', `vhosts/${VHOST}`, {});
  await api('PUT', `permissions/${VHOST}/guest`, { configure: '.*', write: '.*', read: '.*' });
  const clients = await connect();
  await declare(clients[0]);
  const browser = await launch();
  const tab = await open(browser);
  await login(tab);
  await tab.locator('.shell').waitFor();
  const rows = (name) => tab.getByRole('row', { name }).first().waitFor();
  await timed('queues, opened', async () => { await visit(tab, 'queues'); await rows(/^q000000 /); });
  await timed('queues, sorted by messages', async () => { await tab.getByRole('button', { name: 'Total', exact: true }).click(); await tab.locator('th[aria-sort=descending]', { hasText: 'Total' }).waitFor(); });
  await timed('queues, filtered', async () => { await tab.getByLabel('Filter Queues by name').fill('q0777'); await tab.getByText(/100 of /).waitFor(); });
  await timed('queues, the last page', async () => { await visit(tab, `queues?page=${queues / 50}`); await rows(new RegExp(`^q${String(queues - 1).padStart(6, '0')} `)); });
  await timed('connections, opened', async () => { await visit(tab, 'connections'); await rows(/speed-/); });
  await timed('overview, opened', async () => { await visit(tab, ''); await tab.getByText('Queued messages').waitFor(); });
  await timed('search, a queue found', async () => { await tab.keyboard.press('/'); await tab.getByRole('combobox', { name: 'Search everything' }).fill('q012345'); await tab.getByRole('option', { name: /q012345/ }).waitFor(); });
  await browser.close();
  await Promise.all(clients.map((client) => client.close()));
  await api('DELETE', `vhosts/${VHOST}`);
}

async function connect() {
  const url = new URL(process.env.AMQP_URL);
  url.pathname = `/${VHOST}`;
  const clients = [];
  while (clients.length < connections) {
    const some = Array.from({ length: Math.min(AT_ONCE, connections - clients.length) }, (_, index) => amqp.connect(url.href, { clientProperties: { connection_name: `speed-${clients.length + index}` } }));
    clients.push(...(await Promise.all(some)));
  }
  return clients;
}

async function declare(client) {
  const channel = await client.createChannel();
  for (let made = 0; made < queues; made += 1000) {
    const some = Array.from({ length: Math.min(1000, queues - made) }, (_, index) => channel.assertQueue(`q${String(made + index).padStart(6, '0')}`, { durable: false }));
    await Promise.all(some);
  }
}

async function timed(what, action) {
  const start = performance.now();
  await action();
  console.log(`${what}: ${Math.round(performance.now() - start)} ms`);
}

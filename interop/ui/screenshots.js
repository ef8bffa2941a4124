// Takes the pictures of docs/ui, with the traffic of demo.js.
//
//   PAGES=http://127.0.0.1:15672/ AMQP_URL=amqp://guest:guest@127.0.0.1:5672 node screenshots.js

import { startDemo } from './demo.js';
import { api, launch, login, open, visit } from './test/browser.js';

const FOLDER = new URL('../../docs/ui/', import.meta.url).pathname;
const MINUTE_MS = 60_000;

const PICTURES = [
  ['overview', 'light', 1440, '?span=1m', showTops],
  ['overview-dark', 'dark', 1440, '?span=1m', showTops],
  ['queues', 'light', 1440, 'queues'],
  ['queue-phone', 'light', 360, 'queues/shop/warehouse?span=1m'],
  ['topology', 'light', 1440, 'topology?vhost=shop&exchange=orders&key=order.created.eu'],
  ['messages', 'dark', 1440, 'messages/shop/parked', showMessage],
  ['move', 'light', 1440, 'messages/shop/parked', showMove],
];

const stop = await startDemo();
// The charts show a minute; without it they are empty. A queue has a past from when somebody first asked for it.
const range = 'lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5';
await api('GET', `queues?page=1&page_size=50&${range}`);
await new Promise((resolve) => setTimeout(resolve, MINUTE_MS));
const browser = await launch();
for (const [name, theme, width, route, prepare] of PICTURES) {
  const tab = await open(browser, { theme, width, height: width > 1000 ? 900 : 780 });
  await login(tab);
  await tab.locator('.shell').waitFor();
  await visit(tab, route);
  await prepare?.(tab);
  await tab.screenshot({ path: `${FOLDER}${name}.png` });
  await tab.context().close();
}
await browser.close();
await stop();

function showTops(tab) {
  return tab.getByRole('heading', { name: 'Busiest, by publishes' }).waitFor();
}

async function showMove(tab) {
  for (const number of [1, 2]) await tab.getByLabel(`Choose message ${number}`, { exact: true }).check();
  await tab.getByRole('button', { name: 'Move …' }).click();
  await tab.getByRole('dialog').getByLabel('Queue').fill('refunds');
}

async function showMessage(tab) {
  // A broker that shows no messages without giving them away has this button in their place.
  const getter = tab.getByRole('button', { name: 'Get messages' });
  if (await getter.isVisible()) await getter.click();
  await tab.locator('.message').first().locator('summary').click();
}

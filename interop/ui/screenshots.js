// Takes the pictures of docs/ui, with the traffic of demo.js.
//
//   PAGES=http://127.0.0.1:15672/ AMQP_URL=amqp://guest:guest@127.0.0.1:5672 node screenshots.js

import { startDemo } from './demo.js';
import { launch, login, open, visit } from './test/browser.js';

const FOLDER = new URL('../../docs/ui/', import.meta.url).pathname;
const MINUTE_MS = 60_000;

const PICTURES = [
  ['overview', 'light', 1440, '?span=1m'],
  ['overview-dark', 'dark', 1440, '?span=1m'],
  ['queues', 'light', 1440, 'queues'],
  ['queue-phone', 'light', 360, 'queues/shop/warehouse?span=1m'],
  ['topology', 'light', 1440, 'topology?vhost=shop&exchange=orders&key=order.created.eu'],
  ['messages', 'dark', 1440, 'messages/shop/parked', showMessage],
];

const stop = await startDemo();
// The charts show a minute; without it they are empty.
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

async function showMessage(tab) {
  await tab.getByRole('button', { name: 'Get messages' }).click();
  await tab.locator('.message').first().locator('summary').click();
  await tab.locator('.toast button').first().click();
}

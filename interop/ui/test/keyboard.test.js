// Without a mouse: every step is a key, the focus is always to be seen, and it is where one goes on.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { api, at, launch, open, pages, visit } from './browser.js';

const VHOST = `keys-${randomUUID().slice(0, 8)}`;
const MOST_TABS = 150;

let browser;
let tab;
let browses;

before(async () => {
  browser = await launch();
  await api('PUT', at('vhosts', VHOST), {});
  await api('PUT', at('permissions', VHOST, 'guest'), { configure: '.*', write: '.*', read: '.*' });
  for (const name of ['inbox', 'archive']) await api('PUT', at('queues', VHOST, name), { durable: true, arguments: { 'x-queue-type': 'classic' } });
  browses = (await api('GET', `leveret/${at('queues', VHOST, 'inbox')}/messages`)).status === 200;
  tab = await open(browser);
});

after(async () => {
  await api('DELETE', at('vhosts', VHOST));
  await browser.close();
});

const press = (...keys) => keys.reduce((before, key) => before.then(() => tab.keyboard.press(key)), Promise.resolve());
const type = (text) => tab.keyboard.type(text);

/** The element that has the focus: its name as a screen reader says it, and whether a ring or a border shows it. */
const focused = () => tab.evaluate(() => {
  const element = document.activeElement;
  const label = element.labels?.[0]?.textContent ?? element.getAttribute('aria-label') ?? element.textContent;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  return { name: label.trim(), id: element.id, isWhole: element === document.body || element.id === 'main', isSeen: outlineStyle !== 'none' && parseFloat(outlineWidth) > 0, isInDialog: Boolean(element.closest('dialog')) };
});

/** Presses Tab until something of this name has the focus; on the way nothing may have it unseen. */
async function tabTo(name) {
  for (let pressed = 0; pressed < MOST_TABS; pressed += 1) {
    await press('Tab');
    const now = await focused();
    // What holds the page is passed on the way from its end to its beginning.
    if (now.isWhole) continue;
    assert.ok(now.isSeen || now.name === '', `the focus on “${now.name.slice(0, 40)}” is not seen`);
    if (typeof name === 'string' ? now.name === name : name.test(now.name)) return now;
  }
  assert.fail(`Tab does not lead to ${name}`);
}

test('from the login to a message that is moved, and a queue that is deleted, without a mouse', async () => {
  await tab.goto(pages);
  await tab.getByLabel('User').waitFor();
  assert.equal((await focused()).name, 'User');
  await type('guest');
  await tabTo('Password');
  await type('guest');
  await press('Enter');
  await tab.getByRole('heading', { level: 1, name: /Overview/ }).waitFor();

  await press('/');
  await type('inbox');
  await tab.getByRole('option', { name: `queue inbox ${VHOST}` }).waitFor();
  while (!(await tab.getByRole('option', { name: `queue inbox ${VHOST}`, selected: true }).count())) await press('ArrowDown');
  await press('Enter');
  await tab.getByRole('heading', { level: 1, name: /inbox/ }).waitFor();
  assert.equal((await focused()).id, 'main');

  await tabTo('Publish a message');
  await press('Enter');
  await tabTo('Payload');
  await type('typed by hand');
  await tabTo('Publish');
  await press('Enter');
  await tab.getByText('Published, and routed.').waitFor();
  assert.equal((await focused()).name, 'Publish');
  if (browses) await moveByKeyboard();

  await visit(tab, at('queues', VHOST, 'archive'));
  await tab.getByRole('heading', { level: 1, name: /archive/ }).waitFor();
  await tabTo('Delete');
  await press('Enter');
  await tab.getByRole('dialog').waitFor();
  assert.ok((await focused()).isInDialog);
  await press('Escape');
  await tab.getByRole('dialog').waitFor({ state: 'detached' });
  assert.equal((await focused()).name, 'Delete');
  await press('Enter');
  const typed = tab.getByRole('dialog').getByLabel(/Type/);
  if (await typed.count()) await type('archive');
  await tabTo('Delete');
  await press('Enter');
  await tab.getByText('Deleted: archive').waitFor();
  assert.equal((await api('GET', at('queues', VHOST, 'archive'))).status, 404);
  assert.deepEqual(tab.errors, []);
});

async function moveByKeyboard() {
  await press('/');
  await type('inbox');
  await tab.getByRole('option', { name: `queue inbox ${VHOST}`, selected: true }).waitFor();
  await press('Escape');
  assert.equal((await focused()).name, 'Publish');
  await tabTo('Messages');
  await press('Enter');
  await tab.locator('.message').waitFor();
  await tabTo('Choose message 1');
  await press('Space');
  await tab.getByText('1 chosen').waitFor();
  for (let back = 0; (await focused()).name !== 'Move …'; back += 1) {
    assert.ok(back < 20, 'Shift and Tab do not lead back to the actions');
    await press('Shift+Tab');
  }
  await press('Enter');
  await tab.getByRole('dialog').waitFor();
  await tabTo('Queue *');
  await type('archive');
  await press('Enter');
  await tab.getByText('Moved 1 message.').waitFor();
  await tab.getByText('No messages are ready').waitFor();
  // The button went with the message: the keyboard goes on in the page, not at its very beginning.
  await tab.waitForFunction(() => document.activeElement.id === 'main', undefined, { timeout: 5000 })
    .catch(async () => assert.fail(`what has the focus is ${JSON.stringify(await focused())}`));
}

test('the skip link leads past the navigation, Escape closes what opened', async () => {
  await visit(tab, 'queues');
  await tab.locator('main table').waitFor();
  await tab.reload();
  await tab.locator('main table').waitFor();
  await press('Tab');
  assert.equal((await focused()).name, 'Skip to the content');
  await press('Enter');
  assert.equal((await focused()).id, 'main');
  await tabTo('Columns');
  await press('Enter');
  const bytes = tab.getByLabel('Bytes', { exact: true });
  await bytes.waitFor();
  await tabTo('Bytes');
  await press('Space');
  await tab.getByRole('columnheader', { name: 'Bytes', exact: true }).waitFor();
  await press('Escape');
  await bytes.waitFor({ state: 'hidden' });
  assert.equal((await focused()).name, 'Columns');
  await tab.reload();
  await tab.getByRole('columnheader', { name: 'Bytes', exact: true }).waitFor();
});

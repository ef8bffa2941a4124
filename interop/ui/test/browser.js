// A real browser, logged in, at the pages under test. PAGES is their address; the API is behind the same one.

import { chromium } from 'playwright-core';

export const pages = process.env.PAGES ?? 'http://127.0.0.1:15672/';
const user = process.env.MGMT_USER ?? 'guest';
const password = process.env.MGMT_PASSWORD ?? 'guest';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** A path of the API or of the pages, each part escaped. */
export const at = (...parts) => parts.map(encodeURIComponent).join('/');

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });

/** A fresh tab that has nothing stored. `errors` collects what the page complains of. */
export async function open(browser, { width = 1440, height = 900, theme = 'light' } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: 'reduce', acceptDownloads: true });
  const tab = await context.newPage();
  tab.setDefaultTimeout(10_000);
  tab.errors = [];
  tab.on('pageerror', (error) => tab.errors.push(error.stack ?? error.message));
  tab.on('console', (message) => {
    // The browser itself reports each answer of 4xx; that is part of what is tested.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) tab.errors.push(message.text());
  });
  return tab;
}

export async function login(tab, name = user, secret = password) {
  await tab.goto(pages);
  await tab.getByLabel('User').fill(name);
  await tab.getByLabel('Password').fill(secret);
  await tab.getByRole('button', { name: 'Log in' }).click();
}

/** Goes to a page of the UI and waits until it has loaded. */
export async function visit(tab, route) {
  await tab.locator('.shell').waitFor();
  // A dialog that a failed test left open must not fail the next one.
  await tab.evaluate(() => document.querySelector('dialog[open]')?.close());
  await tab.evaluate((hash) => { location.hash = hash; }, `#/${route}`);
  await tab.locator('.loading').waitFor({ state: 'detached' });
}

/** The API itself, to prepare and to check. */
export async function api(method, path, body) {
  const response = await fetch(new URL(`api/${path}`, pages), {
    method,
    headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, body: text ? JSON.parse(text) : null };
}

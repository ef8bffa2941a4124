// Where the management pages start. Read next: pages.js for what there is, screen.js for how one page lives.

import { isLoggedIn, logout, whenLoggedOut } from './api.js';
import { note } from './components/parts.js';
import { mountToasts } from './components/toast.js';
import { loginView } from './login.js';
import { find } from './pages.js';
import { parse } from './router.js';
import { Screen } from './screen.js';
import { applyTheme, Shell } from './shell.js';
import { h, render } from './view.js';

const RETRY_MS = 3000;

const root = document.getElementById('app');
let shell;
let screen;

applyTheme();
const toasts = document.createElement('div');
toasts.className = 'toasts';
document.body.append(toasts);
mountToasts(toasts);
whenLoggedOut(showLogin);
addEventListener('hashchange', showPage);
if (isLoggedIn()) start();
else showLogin();

function showLogin() {
  screen?.stop();
  shell?.stop();
  screen = shell = undefined;
  document.title = 'Log in · Leveret';
  render(root, loginView(start));
  root.querySelector('input')?.focus();
}

async function start() {
  const starting = new Shell(root, { onLogout: () => { logout(); showLogin(); }, onChange: showPage });
  try {
    await starting.start();
  } catch (failure) {
    // A refused login has brought its form back; for a broker that is away this page waits.
    if (isLoggedIn()) waitForBroker(failure);
    return;
  }
  shell = starting;
  showPage();
}

function waitForBroker({ message, advice }) {
  render(root, h('main', { class: 'login', key: 'waiting' }, note('bad', h('h1', null, message), h('p', null, advice))));
  setTimeout(start, RETRY_MS);
}

function showPage() {
  if (!shell?.isReady) return;
  screen?.stop();
  const { parts, query } = parse(location.hash);
  const { page, params } = find(parts);
  screen = new Screen({ shell, page, params, query });
  screen.start();
}

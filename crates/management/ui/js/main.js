// Where the management pages start. Read next: pages.js for what there is, screen.js for how one page lives.

import { Failure, isLoggedIn, logout, whenLoggedOut } from './api.js';
import { note } from './components/parts.js';
import { mountToasts } from './components/toast.js';
import { loginView } from './login.js';
import { farewell, finish, forget, isReturn, watchToken } from './oauth.js';
import { find } from './pages.js';
import { parse } from './router.js';
import { Screen } from './screen.js';
import { applyTheme, Shell } from './shell.js';
import { focusPage, h, render } from './view.js';

const RETRY_MS = 3000;
const SESSION_MINUTES = 480;
const SINCE = 'leveret.since';
// The longest time that a browser's timers know.
const LONGEST_MS = 2 ** 31 - 1;

const root = document.getElementById('app');
let shell;
let screen;
let sessionTimer;

applyTheme();
const toasts = document.createElement('div');
toasts.className = 'toasts';
toasts.setAttribute('aria-live', 'polite');
document.body.append(toasts);
mountToasts(toasts);
whenLoggedOut(() => showLogin());
addEventListener('hashchange', turnTo);
if (isReturn()) finish().then(start, showLogin);
else if (isLoggedIn()) start();
else showLogin();

/** `failure`: why the user has to log in, if it has to be said. */
function showLogin(failure) {
  screen?.stop();
  shell?.stop();
  screen = shell = undefined;
  forget();
  clearTimeout(sessionTimer);
  sessionStorage.removeItem(SINCE);
  document.title = 'Log in · Leveret';
  render(root, loginView(start, failure));
}

function leave() {
  const elsewhere = farewell();
  logout();
  showLogin();
  if (elsewhere) location.assign(elsewhere);
}

async function start() {
  const starting = new Shell(root, { onLogout: leave, onChange: showPage });
  try {
    await starting.start();
  } catch (failure) {
    // A refused login has brought its form back; for a broker that is away this page waits.
    if (isLoggedIn()) waitForBroker(failure);
    return;
  }
  shell = starting;
  watchToken();
  watchSession(shell.user.login_session_timeout);
  showPage();
}

/** After `management.login_session_timeout` the user logs in again, also if the page was loaded anew meanwhile. */
function watchSession(minutes = SESSION_MINUTES) {
  const since = Number(sessionStorage.getItem(SINCE) ?? Date.now());
  sessionStorage.setItem(SINCE, since);
  clearTimeout(sessionTimer);
  sessionTimer = setTimeout(() => {
    logout();
    showLogin(new Failure(0, 'Your session is over', `It lasts ${minutes} minutes (management.login_session_timeout). Log in again.`));
  }, Math.min(LONGEST_MS, since + minutes * 60_000 - Date.now()));
}

function waitForBroker({ message, advice }) {
  render(root, h('main', { class: 'login', key: 'waiting' }, note('bad', h('h1', null, message), h('p', null, advice))));
  setTimeout(start, RETRY_MS);
}

/** Another page begins at its top, for the eye as for the keyboard. */
function turnTo() {
  showPage();
  scrollTo(0, 0);
  focusPage();
}

function showPage() {
  if (!shell?.isReady) return;
  screen?.stop();
  const { parts, query } = parse(location.hash);
  const { page, params } = find(parts);
  screen = new Screen({ shell, page, params, query });
  screen.start();
}

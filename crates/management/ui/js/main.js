// Where the management pages start. Read next: pages.js for what there is, screen.js for how one page lives.

import { isLoggedIn, logout, whenLoggedOut } from './api.js';
import { mountToasts } from './components/toast.js';
import { loginView } from './login.js';
import { find } from './pages.js';
import { parse } from './router.js';
import { Screen } from './screen.js';
import { applyTheme, Shell } from './shell.js';
import { render } from './view.js';

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
  shell = new Shell(root, { onLogout: () => { logout(); showLogin(); }, onChange: showPage });
  await shell.start();
  showPage();
}

function showPage() {
  if (!shell?.isReady) return;
  screen?.stop();
  const { parts, query } = parse(location.hash);
  const { page, params } = find(parts);
  screen = new Screen({ shell, page, params, query });
  screen.start();
}

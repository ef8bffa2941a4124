// The first thing a stranger sees.

import { login, loginSettings } from './api.js';
import { values } from './components/form.js';
import { note } from './components/parts.js';
import { providersOf } from './oauth.js';
import { h, render } from './view.js';

/** The login form; calls `onLogin` when the broker accepted the user. `failure`: why the last attempt did not work. */
export function loginView(onLogin, failure) {
  return h('main', { class: 'login', key: 'login', ref: (element) => show(element, { onLogin, failure, settings: {} }) });
}

async function show(element, state) {
  draw(element, state);
  const settings = await loginSettings();
  draw(element, Object.assign(state, { settings }));
}

function draw(element, state) {
  const { onLogin, failure, settings } = state;
  const failed = (error) => draw(element, Object.assign(state, { failure: error }));
  const send = async (event) => {
    event.preventDefault();
    const { name, password } = values(event.target);
    await login(name, password).then(onLogin, failed);
  };
  const providers = providersOf(settings);
  const hasPasswords = !(settings.oauth_enabled && settings.oauth_disable_basic_auth);
  const form = h('form', { class: 'card', onsubmit: send, 'aria-label': 'Log in' },
    h('div', { class: 'brand' }, h('img', { src: 'favicon.svg', alt: '', width: 32, height: 32 }), h('h1', null, 'Leveret')),
    failure && h('div', { key: 'failure' }, note('bad', h('strong', null, failure.message), failure.advice && h('p', null, failure.advice))),
    providers.map(({ label, start }) => h('button', { key: label, type: 'button', class: 'provider', onclick: () => start().catch(failed) }, `Log in with ${label}`)),
    hasPasswords && [
      h('div', { class: 'field', key: 'name' }, h('label', { for: 'login-name' }, 'User'), h('input', { id: 'login-name', name: 'name', autocomplete: 'username', required: true })),
      h('div', { class: 'field', key: 'password' }, h('label', { for: 'login-password' }, 'Password'), h('input', { id: 'login-password', name: 'password', type: 'password', autocomplete: 'current-password' })),
      h('button', { class: 'primary', type: 'submit' }, 'Log in'),
      h('p', { class: 'muted' }, 'A new broker has the user guest with the password guest, from its own machine only.'),
    ]);
  queueMicrotask(() => {
    render(element, form);
    if (document.activeElement === document.body) element.querySelector('input, button')?.focus();
  });
}

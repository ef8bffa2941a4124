// The first thing a stranger sees.

import { login } from './api.js';
import { values } from './components/form.js';
import { note } from './components/parts.js';
import { h, render } from './view.js';

/** The login form; calls `onLogin` when the broker accepted the user. */
export function loginView(onLogin) {
  return h('main', { class: 'login', key: 'login', ref: (element) => draw(element, onLogin) });
}

function draw(element, onLogin, failure) {
  const send = async (event) => {
    event.preventDefault();
    const { name, password } = values(event.target);
    try {
      await login(name, password);
      onLogin();
    } catch (error) {
      draw(element, onLogin, error);
    }
  };
  queueMicrotask(() => render(element, h('form', { class: 'card', onsubmit: send, 'aria-label': 'Log in' },
    h('div', { class: 'brand' }, h('img', { src: 'favicon.svg', alt: '', width: 32, height: 32 }), h('h1', null, 'Leveret')),
    failure && h('div', { key: 'failure' }, note('bad', h('strong', null, failure.message), failure.advice && h('p', null, failure.advice))),
    h('div', { class: 'field', key: 'name' }, h('label', { for: 'login-name' }, 'User'), h('input', { id: 'login-name', name: 'name', autocomplete: 'username', required: true })),
    h('div', { class: 'field', key: 'password' }, h('label', { for: 'login-password' }, 'Password'), h('input', { id: 'login-password', name: 'password', type: 'password', autocomplete: 'current-password' })),
    h('button', { class: 'primary', type: 'submit' }, 'Log in'),
    h('p', { class: 'muted' }, 'A new broker has the user guest with the password guest, from its own machine only.'))));
}

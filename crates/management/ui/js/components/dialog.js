// Questions that stop the operator: the browser's own modal dialog, which keeps the focus inside and closes on Escape.

import { focusPage, h, render } from '../view.js';
import { values } from './form.js';

/**
 * Asks before something that cannot be undone. `typed`: a word that must be typed first, for what would hurt most.
 * `choices`: [name, label] of conditions that can be ticked. Gives false, or which are ticked, by their names.
 */
export function confirm({ title, text, action, typed, choices = [] }) {
  return open((close) => {
    let word = '';
    const agree = (event) => {
      event.preventDefault();
      if (!typed || word === typed) close(values(event.target));
    };
    return h('form', { onsubmit: agree },
      h('h2', { id: 'dialog-title' }, title),
      h('p', null, text),
      typed && h('label', { class: 'field' }, h('span', null, `Type “${typed}” to go on`),
        h('input', { autocomplete: 'off', oninput: (event) => { word = event.target.value; } })),
      choices.length > 0 && h('div', { class: 'conditions' }, choices.map(([name, label]) => h('label', { class: 'inline' }, h('input', { type: 'checkbox', name }), label))),
      h('div', { class: 'actions' },
        h('button', { type: 'button', onclick: () => close(false) }, 'Cancel'),
        h('button', { type: 'submit', class: 'danger' }, action)));
  });
}

/** Shows `content(close, redraw)` in a dialog until it calls `close(answer)` or is dismissed; gives the answer, or undefined. */
export function open(content, { wide } = {}) {
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-labelledby', 'dialog-title');
  if (wide) dialog.className = 'wide';
  document.body.append(dialog);
  return new Promise((resolve) => {
    let answer;
    const close = (value) => {
      answer = value;
      dialog.close();
    };
    const redraw = () => render(dialog, content(close, redraw));
    dialog.addEventListener('close', () => {
      dialog.remove();
      // The browser gives the focus back to what opened the dialog, if that is still there.
      if (document.activeElement === document.body) focusPage();
      resolve(answer);
    });
    dialog.addEventListener('click', (event) => {
      if (event.target === dialog) dialog.close();
    });
    redraw();
    dialog.showModal();
  });
}

// What just happened, in a corner. Successes go by themselves; failures stay until they are read and closed.

import { h, render } from '../view.js';

const SECONDS_SHOWN = 6;
const toasts = [];
let region;
let made = 0;

/** Where toasts appear, a live region; called once, when the page starts. */
export function mountToasts(element) {
  region = element;
}

const success = (text) => show({ kind: 'good', text, seconds: SECONDS_SHOWN });

/** A failure of the API with its advice, or any other error. */
export const failed = (error) => show({ kind: 'bad', text: error.message, advice: error.advice });

/** Runs an action of the operator's: says `done` when it worked, and what to do when it did not. Gives whether it worked. */
export async function attempt(action, done) {
  try {
    const said = await action();
    success(typeof done === 'function' ? done(said) : done);
    return true;
  } catch (error) {
    failed(error);
    return false;
  }
}

function show(toast) {
  made += 1;
  const entry = { ...toast, id: made };
  toasts.push(entry);
  draw();
  if (toast.seconds) setTimeout(() => close(entry), toast.seconds * 1000);
}

function close(entry) {
  const index = toasts.indexOf(entry);
  if (index >= 0) toasts.splice(index, 1);
  draw();
}

function draw() {
  render(region, toasts.map((toast) =>
    h('div', { key: toast.id, class: `toast ${toast.kind}`, role: toast.kind === 'bad' ? 'alert' : undefined },
      h('div', null, h('strong', null, toast.text), toast.advice && h('p', null, toast.advice)),
      h('button', { class: 'quiet', 'aria-label': 'Close this message', onclick: () => close(toast) }, '×'))));
}

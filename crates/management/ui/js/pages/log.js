// The end of the broker's log, as it grows.

import { getOr } from '../api.js';
import { empty, heading } from '../components/parts.js';
import { count, plural } from '../format.js';
import { h } from '../view.js';

const LINES_MOST = 1000;
const SECONDS = 2;
const LEVELS = ['error', 'warn', 'info', 'debug'];

export function logPage(ctx) {
  const shown = { lines: undefined, next: 0, text: '', level: 'debug', isPaused: false, isAtEnd: true };
  return {
    title: 'Log',
    every: SECONDS,
    load: async (signal) => {
      if (shown.isPaused) return shown;
      const answer = await getOr(undefined, 'leveret/log', { lines: LINES_MOST, from: shown.next || undefined }, signal);
      if (answer) take(shown, answer);
      return shown;
    },
    view: () => [
      heading('Log', h('button', { 'aria-pressed': String(shown.isPaused), onclick: () => { shown.isPaused = !shown.isPaused; ctx.reload(); } }, shown.isPaused ? 'Go on' : 'Pause')),
      shown.lines === undefined ? empty('This broker does not show its log', h('p', { class: 'muted' }, 'Or shows it to administrators only. The page of a node says which files it writes.')) : viewer(ctx, shown),
    ],
  };
}

/** Adds the new lines. Numbers that went back are those of a node that was started anew. */
function take(shown, { lines, next }) {
  const isNew = shown.lines === undefined || next === undefined || next < shown.next;
  shown.lines = [...(isNew ? [] : shown.lines), ...lines.map(parsed)].slice(-LINES_MOST);
  shown.next = next === undefined || next < shown.next ? 0 : next;
}

function viewer(ctx, shown) {
  const wanted = shown.text.toLowerCase();
  const most = LEVELS.indexOf(shown.level);
  const lines = shown.lines.filter(({ text, level }) => LEVELS.indexOf(level) <= most && text.toLowerCase().includes(wanted));
  const choose = (change) => {
    Object.assign(shown, change);
    ctx.redraw();
  };
  // When the page has drawn, the newest line is in view, unless the operator has scrolled back.
  queueMicrotask(() => {
    const element = document.getElementById('log-lines');
    if (element && shown.isAtEnd) element.scrollTop = element.scrollHeight;
  });
  return h('section', { class: 'table', 'aria-label': 'Log' },
    h('div', { class: 'bar' },
      h('label', { class: 'visually-hidden', for: 'log-filter' }, 'Filter lines'),
      h('input', { id: 'log-filter', type: 'search', class: 'filter', placeholder: 'Filter lines', oninput: (event) => choose({ text: event.target.value }) }),
      h('label', { class: 'inline' }, 'From level', h('select', { onchange: (event) => choose({ level: event.target.value }) }, [...LEVELS].reverse().map((level) => h('option', { value: level, selected: level === shown.level }, level)))),
      h('span', { class: 'muted' }, lines.length === shown.lines.length ? plural(lines.length, 'line') : `${count(lines.length)} of ${plural(shown.lines.length, 'line')}`)),
    h('div', {
      id: 'log-lines', class: 'log', tabindex: '0', role: 'log', 'aria-label': 'Lines of the log', 'aria-live': 'off',
      onscroll: ({ target }) => { shown.isAtEnd = target.scrollHeight - target.scrollTop - target.clientHeight < 30; },
    }, lines.map(({ key, level, text }) => h('div', { key, class: `log-line ${level}` }, text)), lines.length === 0 && h('p', { class: 'muted' }, 'No line is like this.')));
}

let made = 0;

/** A line with its level, of either format: `TIME LEVEL …` or JSON. */
function parsed(text) {
  made += 1;
  const word = (/^\S+\s+(\w+)/.exec(text)?.[1] ?? '').toLowerCase();
  const named = text.startsWith('{') ? /"level":"(\w+)"/.exec(text)?.[1].toLowerCase() : word;
  const level = { warning: 'warn', critical: 'error', notice: 'info', trace: 'debug' }[named] ?? named;
  return { key: made, text, level: LEVELS.includes(level) ? level : 'info' };
}

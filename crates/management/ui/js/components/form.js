// Forms: labelled fields, and one way to send them.

import { h } from '../view.js';
import { attempt } from './toast.js';

/**
 * A field. `form` is a prefix that keeps the ids of two forms on a page apart. `type`: text, number, password, textarea, select (with
 * `options`: [value, label] pairs or values) or checkbox.
 */
export function field({ label, name, type = 'text', options = [], value, hint, form: owner = '', ...rest }) {
  const id = `field-${owner}${name}`;
  const described = hint ? { 'aria-describedby': `${id}-hint` } : {};
  const props = { id, name, ...described, ...rest };
  return h('div', { class: `field ${type === 'checkbox' ? 'check' : ''}`, key: id },
    h('label', { for: id }, label, rest.required && h('span', { class: 'required', 'aria-hidden': 'true' }, ' *')),
    control(type, props, options, value),
    hint && h('small', { id: `${id}-hint` }, hint));
}

/** Fields and a button. `onsubmit` gets the values by name and may fail; `done` is what to say when it did not. */
export function form({ label, fields, action, done, onsubmit, danger, keep }) {
  const send = async (event) => {
    event.preventDefault();
    const element = event.target;
    // Not by disabling the button, which would take the focus from who pressed it by keyboard.
    if (element.hasAttribute('aria-busy')) return;
    element.setAttribute('aria-busy', 'true');
    const worked = await attempt(() => onsubmit(values(element)), done);
    element.removeAttribute('aria-busy');
    if (worked && !keep) element.reset();
  };
  return h('form', { class: 'form', 'aria-label': label, onsubmit: send },
    fields,
    h('div', { class: 'actions' }, h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, action)));
}

/** A section that opens on demand, for forms that are seldom needed. */
export const fold = (title, ...content) => h('details', { class: 'fold', key: `fold-${title}` }, h('summary', null, title), content);

/** The values of a form's fields by their names; checkboxes as booleans. */
export function values(element) {
  const result = {};
  for (const input of element.elements) {
    if (!input.name) continue;
    result[input.name] = input.type === 'checkbox' ? input.checked : input.value;
  }
  return result;
}

/** Lines of `key = value` as an object: JSON where the value is JSON, else text. What can't be read throws. */
export function argumentsFrom(text) {
  const result = {};
  for (const line of text.split('\n').map((one) => one.trim()).filter((one) => one !== '')) {
    const split = line.indexOf('=');
    if (split < 1) throw new Error(`“${line}” is not a line of the form: key = value`);
    result[line.slice(0, split).trim()] = valueFrom(line.slice(split + 1).trim());
  }
  return result;
}

/** The inverse of `argumentsFrom`. A text that would read as something else is quoted. */
export const argumentsText = (object) =>
  Object.entries(object ?? {}).map(([key, value]) => `${key} = ${valueText(value)}`).join('\n');

/**
 * A field for arguments, one per line, with those that are known, as `known`: [name, meaning], or as `groups`: [title, known].
 * A click adds the line and says what it means.
 */
export function argumentsField({ label = 'Arguments', name = 'arguments', known = [], groups = [['', known]], form: owner = '', value }) {
  const id = `field-${owner}${name}`;
  const add = (key, meaning) => () => {
    const area = document.getElementById(id);
    area.value = `${area.value.trimEnd()}${area.value.trim() ? '\n' : ''}${key} = `;
    area.focus();
    area.dispatchEvent(new Event('input', { bubbles: true }));
    meanings.set(id, meaning && `${key}: ${meaning}`);
    document.getElementById(`${id}-meaning`).textContent = meanings.get(id);
  };
  const chips = ([title, rows]) => h('div', { class: 'chips', role: 'group', 'aria-label': title || 'Known', key: title },
    title && h('span', null, title), rows.map(([key, meaning]) => h('button', { type: 'button', class: 'chip', title: meaning, onclick: add(key, meaning) }, `+ ${key}`)));
  return h('div', { class: 'field wide', key: id },
    h('label', { for: id }, label),
    h('textarea', { id, name, rows: 3, value, spellcheck: 'false', class: 'code', placeholder: 'key = value', 'aria-describedby': `${id}-hint` }),
    h('small', { id: `${id}-meaning`, class: 'meaning', role: 'status' }, meanings.get(id)),
    h('small', { id: `${id}-hint` }, 'One per line: key = value. Numbers, true, false, lists and "quoted text" as in JSON.'),
    groups.filter(([, rows]) => rows.length > 0).map(chips));
}

// What the argument means that was added last, by the id of the field.
const meanings = new Map();

function control(type, props, options, value) {
  if (type === 'textarea') return h('textarea', { rows: 4, value, ...props });
  if (type === 'checkbox') return h('input', { type, checked: Boolean(value), ...props });
  if (type !== 'select') return h('input', { type, value, autocomplete: 'off', spellcheck: 'false', ...props });
  return h('select', props, options.map((option) => {
    const [key, text] = Array.isArray(option) ? option : [option, option];
    return h('option', { value: key, selected: key === value }, text);
  }));
}

function valueFrom(text) {
  if (/^-?\d+(\.\d+)?$/.test(text) || text === 'true' || text === 'false' || /^[[{"]/.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`“${text}” is not valid JSON`);
    }
  }
  return text;
}

function valueText(value) {
  if (typeof value !== 'string') return JSON.stringify(value);
  return /^(-?\d|true$|false$|[[{"])/.test(value) ? JSON.stringify(value) : value;
}

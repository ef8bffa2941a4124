// Small pieces that every page is put together from.

import { h } from '../view.js';
import { exchangeName, plain } from '../format.js';
import { link } from '../router.js';

/** The heading of a page, with what can be done at its right. */
export const heading = (title, ...actions) => h('div', { class: 'heading' }, h('h1', null, title), h('div', { class: 'actions' }, actions));

export const card = (title, ...content) => h('section', { class: 'card', key: title ? `card-${title}` : undefined }, title && h('h2', null, title), content);

/** A number that matters, with its name. */
export const stat = (label, value, { href, hint, tone, title } = {}) =>
  h(href ? 'a' : 'div', { class: `stat ${tone ?? ''}`, href, title, key: `stat-${label}` }, h('span', { class: 'stat-label' }, label), h('strong', null, value), hint && h('small', null, hint));

// A value of more pieces than this has a line of its own.
const MANY = 2;

/** Pairs of a term and its value; those without a value are left out. */
export function facts(pairs) {
  const given = pairs.filter(([, value]) => value !== undefined && value !== null && value !== '');
  return h('dl', { class: 'facts' }, given.map(([term, value]) =>
    h('div', { key: term, class: Array.isArray(value) && value.length > MANY ? 'wide' : undefined }, h('dt', null, term), h('dd', null, isNode(value) ? value : plain(value)))));
}

export const badge = (text, tone = '', title) => h('span', { class: `badge ${tone}`, title }, text);

/** Running, idle, flow, … with a colour that says whether to worry; the word carries the meaning. */
export function state(word) {
  if (!word) return null;
  const tone = { running: 'good', up: 'good', idle: '', flow: 'warn', blocking: 'warn', blocked: 'bad', down: 'bad', stopped: 'bad', crashed: 'bad', minority: 'bad', timeout: 'bad' };
  return badge(word, tone[word] ?? '');
}

/** An object's arguments, one badge each. */
export const argumentList = (object) => Object.entries(object ?? {}).map(([key, value]) => h('span', { class: 'argument', key }, h('span', null, key), ' ', h('b', null, plain(value))));

export const note = (tone, ...content) => h('div', { class: `note ${tone}`, role: tone === 'bad' ? 'alert' : undefined }, content);

export const queueLink = (vhost, name) => h('a', { href: link(['queues', vhost, name]), title: name }, name);
export const exchangeLink = (vhost, name) => h('a', { href: link(['exchanges', vhost, name === '' ? 'amq.default' : name]) }, exchangeName(name));
export const connectionLink = (name, text = peerOf(name)) => (name ? h('a', { href: link(['connections', name]), title: name }, text) : null);
export const channelLink = (name, text = peerOf(name)) => (name ? h('a', { href: link(['channels', name]), title: name }, text) : null);
export const vhostLink = (name) => h('a', { href: link(['vhosts', name]) }, name);
export const userLink = (name) => h('a', { href: link(['users', name]) }, name);

/** A state without content that says how to get some. */
export const empty = (title, ...content) => h('div', { class: 'empty' }, h('h2', null, title), content);

// As in RabbitMQ's tables: `10.0.0.7:51234 -> 10.0.0.1:5672 (1)` without the broker's own end.
const peerOf = (name) => name?.replace(/ -> \S+/, '');

const isNode = (value) => Array.isArray(value) || (typeof value === 'object' && 'tag' in value);

// What is around every page: navigation, vhost, search, refresh, theme, and alarms, which concern the operator wherever
// they are.

import { get, getOr } from './api.js';
import { note } from './components/parts.js';
import { link, parse } from './router.js';
import { openSearch } from './search.js';
import { h, render } from './view.js';

const ALARM_SECONDS = 15;
const VHOST = 'leveret.vhost';
const THEME = 'leveret.theme';
const REFRESH = 'leveret.refresh';
const THEMES = { auto: 'System theme', light: 'Light', dark: 'Dark' };

const SECTIONS = [
  ['', [['', 'Overview'], ['connections', 'Connections'], ['channels', 'Channels'], ['exchanges', 'Exchanges'], ['queues', 'Queues and Streams'], ['consumers', 'Consumers'], ['topology', 'Topology']]],
  ['Admin', [['users', 'Users'], ['vhosts', 'Virtual Hosts'], ['policies', 'Policies'], ['limits', 'Limits'], ['parameters', 'Parameters'], ['shovels', 'Shovels'], ['definitions', 'Definitions'], ['feature-flags', 'Feature Flags'], ['cluster-name', 'Cluster']]],
  ['Node', [['configuration', 'Configuration'], ['certificates', 'Certificates'], ['log', 'Log'], ['audit', 'Audit Log']]],
];

// Detail pages that belong to another entry of the navigation.
const PARENTS = { nodes: '', messages: 'queues', 'operator-policies': 'policies', permissions: 'users' };

/** Light, dark, or as the system has it. */
export function applyTheme() {
  document.documentElement.dataset.theme = localStorage.getItem(THEME) ?? 'auto';
}

export class Shell {
  isReady = false;
  vhosts = [];
  alarms = [];

  constructor(root, { onLogout, onChange }) {
    this.root = root;
    this.onLogout = onLogout;
    this.onChange = onChange;
    this.keys = (event) => this.shortcut(event);
  }

  /** The chosen vhost; '' is all of them. */
  get vhost() {
    const chosen = localStorage.getItem(VHOST) ?? '';
    return this.vhosts.some((one) => one.name === chosen) ? chosen : '';
  }

  /** Seconds between two loads; 0 is never. */
  get seconds() { return Number(localStorage.getItem(REFRESH) ?? 5); }

  async start() {
    [this.user, this.vhosts] = await Promise.all([get('whoami'), getOr([], 'vhosts', { columns: 'name' })]);
    this.isReady = true;
    document.addEventListener('keydown', this.keys);
    this.watchAlarms();
  }

  stop() {
    this.isStopped = true;
    clearTimeout(this.timer);
    document.removeEventListener('keydown', this.keys);
  }

  async reloadVhosts() {
    this.vhosts = await getOr([], 'vhosts', { columns: 'name' });
    this.draw(this.content);
  }

  draw(content) {
    if (this.isStopped) return;
    this.content = content;
    render(this.root, h('div', { class: `shell ${this.isMenuOpen ? 'menu-open' : ''}`, key: 'shell' },
      h('a', { class: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); document.getElementById('main').focus(); } }, 'Skip to the content'),
      this.header(), this.navigation(),
      h('main', { id: 'main', tabindex: '-1' }, this.alarmNotes(), content),
      h('div', { class: 'visually-hidden', role: 'status', id: 'announcer' })));
  }

  /** Tells a screen reader that another page is shown. */
  announce(text) {
    document.getElementById('announcer').textContent = text;
  }

  header() {
    return h('header', null,
      h('button', { class: 'quiet menu', 'aria-expanded': String(Boolean(this.isMenuOpen)), 'aria-controls': 'navigation', 'aria-label': 'Menu', onclick: () => this.toggleMenu() }, '☰'),
      h('a', { class: 'brand', href: '#/' }, h('img', { src: 'favicon.svg', alt: '', width: 24, height: 24 }), h('span', null, 'Leveret')),
      h('button', { class: 'search', onclick: openSearch }, h('span', null, 'Search'), h('kbd', null, '/')),
      h('span', { class: 'spring' }),
      this.select('Virtual host', this.vhost, [['', 'All vhosts'], ...this.vhosts.map(({ name }) => [name, name])], (value) => this.keep(VHOST, value)),
      this.select('Refresh', String(this.seconds), [['5', 'Every 5 s'], ['30', 'Every 30 s'], ['0', 'Paused']], (value) => this.keep(REFRESH, value)),
      this.select('Theme', localStorage.getItem(THEME) ?? 'auto', Object.entries(THEMES), (value) => { this.keep(THEME, value); applyTheme(); }),
      h('span', { class: 'user' }, this.user.name),
      h('button', { class: 'quiet', onclick: this.onLogout }, 'Log out'));
  }

  select(label, value, options, onchange) {
    return h('span', { class: 'choice', key: label },
      h('select', { value, title: label, 'aria-label': label, onchange: (event) => onchange(event.target.value) }, options.map(([key, text]) => h('option', { value: key, selected: key === value }, text))));
  }

  keep(name, value) {
    localStorage.setItem(name, value);
    this.onChange();
  }

  navigation() {
    const [first = ''] = parse(location.hash).parts;
    const here = PARENTS[first] ?? first;
    return h('nav', { id: 'navigation', 'aria-label': 'Pages' }, SECTIONS.map(([title, entries]) => [
      title && h('h2', null, title),
      h('ul', null, entries.map(([route, text]) => h('li', null,
        h('a', { href: `#/${route}`, 'aria-current': route === here ? 'page' : undefined, onclick: () => { this.isMenuOpen = false; } }, text)))),
    ]));
  }

  toggleMenu() {
    this.isMenuOpen = !this.isMenuOpen;
    this.draw(this.content);
  }

  async watchAlarms() {
    if (!document.hidden) {
      const nodes = await getOr([], 'nodes', { columns: 'name,running,mem_alarm,disk_free_alarm' }).catch(() => undefined);
      if (this.isStopped) return;
      if (nodes) this.alarms = nodes.flatMap(alarmsOf);
      if (this.content) this.draw(this.content);
    }
    this.timer = setTimeout(() => this.watchAlarms(), ALARM_SECONDS * 1000);
  }

  alarmNotes() {
    return this.alarms.map(({ id, title, advice, way }) => h('div', { key: id }, note('bad', h('strong', null, title), h('p', null, advice, ' ', way))));
  }

  shortcut(event) {
    const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    const isSearch = (event.key === '/' && !isTyping) || (event.key === 'k' && (event.ctrlKey || event.metaKey));
    if (!isSearch || document.querySelector('dialog[open]')) return;
    event.preventDefault();
    openSearch();
  }
}

/** What a node's alarms mean and what an operator does about them. */
function alarmsOf({ name, running, mem_alarm: memory, disk_free_alarm: disk }) {
  const alarms = [];
  if (running === false) {
    alarms.push({ id: `${name}-down`, title: `Node ${name} is not running`, advice: 'Look at its log and its machine, then start it again. Queues that live there alone are not available.' });
  }
  if (memory) {
    alarms.push({
      id: `${name}-memory`, title: `Memory alarm on ${name}: publishers are blocked`,
      advice: 'Consumers go on. Let them catch up, purge what nobody needs, or raise vm_memory_high_watermark. One node with an alarm blocks the publishers of the whole cluster.',
      way: h('a', { href: link(['queues'], { sort: 'messages', sort_reverse: true }) }, 'Which queues are longest?'),
    });
  }
  if (disk) {
    alarms.push({
      id: `${name}-disk`, title: `Disk alarm on ${name}: publishers are blocked`,
      advice: 'Free space on the volume of the data directory or make it larger. Publishing goes on by itself above disk_free_limit.',
      way: h('a', { href: link(['queues'], { sort: 'message_bytes', sort_reverse: true }) }, 'Which queues take most?'),
    });
  }
  return alarms;
}

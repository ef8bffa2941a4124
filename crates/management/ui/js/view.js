// A view is a function from data to a tree of plain objects; `render` makes the page look like that tree and touches only
// what differs. That is why numbers can change every few seconds under an operator who types, selects or has scrolled.

const SVG = 'http://www.w3.org/2000/svg';
const SVG_TAGS = new Set(['svg', 'g', 'path', 'line', 'rect', 'circle', 'polygon', 'polyline', 'text', 'marker', 'defs']);

// State that the operator changes, with what a form's reset goes back to.
const DEFAULTS = { value: 'defaultValue', checked: 'defaultChecked', selected: 'defaultSelected', open: 'open' };

/**
 * One element. `props`: attributes; `onclick` and the like are listeners; `key` tells siblings apart; `style` is an object
 * (set through the CSSOM, which the content security policy allows, where a style attribute would be refused); `ref` is
 * called with the element once, when it is made. Children may be nested arrays; null, false and undefined are left out.
 */
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, children: children.flat(Infinity).filter(isShown).map(asNode) };
}

/** Makes the content of `container` equal to `nodes`. */
export function render(container, ...nodes) {
  const children = nodes.flat(Infinity).filter(isShown).map(asNode);
  const focused = document.activeElement;
  patchChildren(container, children);
  // An element that moves among its siblings loses the focus on the way.
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  if (focused && !focused.isConnected) focusPage();
}

/** Where the keyboard goes on when what it was at is no longer there. */
export function focusPage() {
  document.getElementById('main')?.focus({ preventScroll: true });
}

const isShown = (child) => child !== null && child !== undefined && child !== false && child !== true;
const asNode = (child) => (typeof child === 'object' ? child : String(child));

function create(node) {
  if (typeof node === 'string') return document.createTextNode(node);
  const element = SVG_TAGS.has(node.tag) ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
  element.rendered = { tag: node.tag, props: {}, listeners: {} };
  patchChildren(element, node.children);
  patchProps(element, node.props);
  node.props.ref?.(element);
  return element;
}

function patchChildren(parent, children) {
  const keyed = new Map();
  for (const child of parent.childNodes) {
    const key = child.rendered?.props.key;
    if (key !== undefined) keyed.set(key, child);
  }
  let at = parent.firstChild;
  for (const child of children) {
    const key = child.props?.key;
    const found = key === undefined ? at : keyed.get(key);
    keyed.delete(key);
    if (found && fits(found, child)) {
      if (found === at) at = at.nextSibling;
      else parent.insertBefore(found, at);
      patch(found, child);
    } else {
      parent.insertBefore(create(child), at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function fits(dom, node) {
  if (typeof node === 'string') return dom.nodeType === Node.TEXT_NODE;
  return dom.rendered?.tag === node.tag && dom.rendered.props.key === node.props.key;
}

function patch(dom, node) {
  if (typeof node === 'string') {
    if (dom.data !== node) dom.data = node;
    return;
  }
  patchChildren(dom, node.children);
  patchProps(dom, node.props);
}

// A property is written when the view's word for it changed, not when the element's did: what was typed into a field stays.
function patchProps(element, props) {
  const { props: before } = element.rendered;
  for (const name of Object.keys(before)) if (!(name in props)) setProp(element, name, undefined);
  for (const [name, value] of Object.entries(props)) {
    if (name === 'style') setStyle(element, value);
    else if (before[name] !== value) setProp(element, name, value);
  }
  element.rendered.props = props;
}

function setProp(element, name, value) {
  if (name === 'key' || name === 'ref') return;
  if (name.startsWith('on')) listen(element, name.slice(2), value);
  else if (name in DEFAULTS) element[DEFAULTS[name]] = element[name] = value ?? '';
  else if (value === undefined || value === null || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? '' : String(value));
}

function setStyle(element, style) {
  for (const [name, value] of Object.entries(style ?? {})) {
    if (element.style.getPropertyValue(name) !== String(value)) element.style.setProperty(name, value);
  }
}

function listen(element, type, handler) {
  const { listeners } = element.rendered;
  if (!(type in listeners)) element.addEventListener(type, (event) => listeners[type]?.(event));
  listeners[type] = handler;
}

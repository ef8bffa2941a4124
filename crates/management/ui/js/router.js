// Deep links: the part after `#` names the page, with RabbitMQ's own paths, and after `?` the state of its table. Copying
// the address copies what is seen.

/** `#/queues/%2F/a?page=2` as { parts: ['queues', '/', 'a'], query: { page: '2' } }. */
export function parse(hash) {
  const [route, search = ''] = hash.replace(/^#\/?/, '').split('?');
  const parts = route.split('/').filter((part) => part !== '').map(decode);
  return { parts, query: Object.fromEntries(new URLSearchParams(search)) };
}

/** The link to a page: `link(['queues', '/', 'a'], { page: 2 })`. */
export function link(parts, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const search = new URLSearchParams(kept).toString();
  return `#/${parts.map(encodeURIComponent).join('/')}${search ? `?${search}` : ''}`;
}

/** Changes the query of the present page, without a new entry in the history. */
export function replaceQuery(query) {
  const { parts } = parse(location.hash);
  history.replaceState(null, '', link(parts, query));
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

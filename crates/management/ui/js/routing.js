// Where a message would go: the rules of RabbitMQ's exchange types over the bindings, for the route tester.

const ONE_OF = new Set(['x-consistent-hash', 'x-modulus-hash', 'x-random', 'x-local-random']);

/** What tells a binding from all others of its vhost. */
export const bindingId = (one) => `${one.source}|${one.destination_type}|${one.destination}|${one.properties_key}`;

/**
 * Follows a message. `exchanges`: by name, `bindings`: a list. Gives { queues, exchanges, edges, notes }: names and binding
 * ids on its way, and in words what an operator should know, such as that a hash exchange takes one of several ways.
 */
export function route({ exchanges, bindings, queues }, start, key, headers = {}) {
  const found = { queues: new Set(), exchanges: new Set(), edges: new Set(), notes: [] };
  const waiting = [start];
  while (waiting.length > 0) {
    const name = waiting.shift();
    if (found.exchanges.has(name)) continue; // As the broker does: a circle of exchanges is walked once.
    found.exchanges.add(name);
    if (name === '') {
      if (queues.has(key)) found.queues.add(key);
      continue;
    }
    const exchange = exchanges.get(name);
    if (!exchange) {
      found.notes.push(`There is no exchange ${name}.`);
      continue;
    }
    const taken = bindings.filter((one) => one.source === name && takes(exchange.type, one, key, headers));
    if (ONE_OF.has(exchange.type) && taken.length > 1) found.notes.push(`${name} is of type ${exchange.type}: it takes one of ${taken.length} ways.`);
    for (const binding of taken) {
      found.edges.add(bindingId(binding));
      if (binding.destination_type === 'queue') found.queues.add(binding.destination);
      else waiting.push(binding.destination);
    }
    const alternate = alternateOf(exchange);
    if (taken.length === 0 && alternate !== undefined) {
      found.notes.push(`No binding of ${name} matches: the message goes to its alternate exchange ${alternate}.`);
      waiting.push(alternate);
    }
  }
  return found;
}

/** Whether an exchange of this type would use this binding. */
export function takes(type, { routing_key: pattern, arguments: args = {} }, key, headers) {
  if (type === 'direct') return pattern === key;
  if (type === 'topic') return topicMatches(pattern.split('.'), key.split('.'));
  if (type === 'headers') return headersMatch(args, headers);
  return true;
}

/** `*` is one word, `#` any number of words. */
export function topicMatches([word, ...pattern], words) {
  if (word === undefined) return words.length === 0;
  if (word === '#') return topicMatches(pattern, words) || (words.length > 0 && topicMatches([word, ...pattern], words.slice(1)));
  return words.length > 0 && (word === '*' || word === words[0]) && topicMatches(pattern, words.slice(1));
}

function headersMatch(args, headers) {
  const mode = args['x-match'] ?? 'all';
  const isWithX = mode.endsWith('-with-x');
  const wanted = Object.entries(args).filter(([name]) => name !== 'x-match' && (isWithX || !name.startsWith('x-')));
  // A binding without a value asks only that the header is there.
  const has = ([name, value]) => name in headers && (value === null || headers[name] === value);
  return mode.startsWith('any') ? wanted.some(has) : wanted.every(has);
}

const alternateOf = (exchange) => exchange.arguments?.['alternate-exchange'] ?? exchange.effective_policy_definition?.['alternate-exchange'] ?? exchange.alternate;

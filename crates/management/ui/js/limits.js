// Where a queue's limits come from. Arguments of the client, a policy and an operator policy may set the same key;
// RabbitMQ takes the lower number of arguments and policy for lengths and times, and the operator's word over both. Of a stream
// a policy goes before an argument in all of it.

const KEYS = [
  'message-ttl', 'expires', 'max-length', 'max-length-bytes', 'overflow', 'dead-letter-exchange', 'dead-letter-routing-key', 'dead-letter-strategy',
  'delivery-limit', 'max-age', 'stream-max-segment-size-bytes', 'max-in-memory-length', 'max-in-memory-bytes', 'consumer-timeout', 'initial-cluster-size',
  'queue-leader-locator', 'max-priority', 'stream-filter-size-bytes',
];

// For these RabbitMQ takes the smaller of what argument and policies say; for the others an argument goes before a policy.
const LOWEST = new Set(['message-ttl', 'expires', 'max-length', 'max-length-bytes', 'delivery-limit', 'consumer-timeout', 'max-in-memory-length', 'max-in-memory-bytes']);

/**
 * One row per limit that anybody set: { key, value, source, others }. `policy` and `operator` are { name, definition },
 * or undefined when none applies or the user may not see it.
 */
export function effectiveLimits(queue, policy, operator) {
  const effective = queue.effective_policy_definition ?? {};
  const isStream = queue.type === 'stream';
  const argument = ['argument of the queue', (key) => queue.arguments?.[`x-${key}`]];
  const policies = [
    [`operator policy ${operator?.name}`, (key) => operator?.definition[key]],
    [`policy ${policy?.name ?? queue.policy}`, (key) => policy?.definition[key] ?? (operator?.definition[key] === undefined ? effective[key] : undefined)],
  ];
  const sources = isStream ? [...policies, argument] : [argument, ...policies];
  const keys = new Set([...KEYS, ...Object.keys(effective)]);
  return [...keys].flatMap((key) => {
    const set = sources.map(([source, value]) => ({ source, value: value(key) })).filter(({ value }) => value !== undefined);
    if (set.length === 0) return [];
    const compared = isStream ? set.filter(({ source }) => source !== argument[0]) : set;
    const winner = LOWEST.has(key) && compared.length > 0 ? compared.reduce((best, one) => (Number(one.value) < Number(best.value) ? one : best)) : set[0];
    return [{ key, ...winner, others: set.filter((one) => one !== winner).map(({ source, value }) => `${value} by ${source}`) }];
  });
}

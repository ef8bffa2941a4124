// Which policy applies to what: RabbitMQ's rule, for the preview.

const QUEUE_KINDS = { queues: () => true, all: () => true, classic_queues: (type) => type === 'classic', quorum_queues: (type) => type === 'quorum', streams: (type) => type === 'stream' };

/** Whether `policy` fits an object: { kind: 'queue' | 'exchange', name, type }. */
function fits(policy, object) {
  const applies = policy['apply-to'] ?? 'all';
  const isKind = object.kind === 'exchange' ? applies === 'all' || applies === 'exchanges' : Boolean(QUEUE_KINDS[applies]?.(object.type));
  return isKind && matches(policy.pattern, object.name);
}

/** The policy that wins for an object: of those that fit the one with the highest priority. */
function winner(policies, object) {
  return policies.filter((policy) => fits(policy, object)).reduce((best, one) => (best && best.priority >= one.priority ? best : one), undefined);
}

/**
 * What saving `policy` would change. One row per object that it fits: { object, before, effect }, where `effect` is
 * `applies` (it becomes the policy in effect), `same` (it is already) or `loses` (another has more priority).
 */
export function preview(policy, policies, objects) {
  const others = policies.filter((one) => one.name !== policy.name);
  return objects.filter((object) => fits(policy, object)).map((object) => {
    const before = winner(policies, object);
    const rival = winner(others, object);
    if (rival && rival.priority > policy.priority) return { object, before, effect: 'loses' };
    return { object, before, effect: before?.name === policy.name ? 'same' : 'applies' };
  });
}

function matches(pattern, name) {
  try {
    return new RegExp(pattern).test(name);
  } catch {
    return false;
  }
}

// The difference between what a definitions file says and what the broker has. Import adds and changes; it never deletes,
// so that a thing that only the broker has is not a difference.

// What makes two entries the same thing, by section of the file.
const IDENTITY = {
  users: ['name'], vhosts: ['name'], permissions: ['user', 'vhost'], topic_permissions: ['user', 'vhost', 'exchange'], parameters: ['component', 'vhost', 'name'], global_parameters: ['name'],
  policies: ['vhost', 'name'], operator_policies: ['vhost', 'name'], exchanges: ['vhost', 'name'], queues: ['vhost', 'name'], bindings: ['vhost', 'source', 'destination', 'destination_type', 'routing_key', 'arguments'],
};

/** One row per entry of the file: { section, name, effect: 'added' | 'changed' | 'unchanged', fields }. */
export function difference(file, present, vhost) {
  return Object.entries(IDENTITY).flatMap(([section, identity]) => {
    const inVhost = (entry) => (vhost && identity.includes('vhost') ? { vhost, ...entry } : entry);
    const key = (entry) => canonical(identity.map((field) => inVhost(entry)[field] ?? ''));
    const known = new Map((present[section] ?? []).map((entry) => [key(entry), inVhost(entry)]));
    return (file[section] ?? []).map((entry) => {
      const before = known.get(key(entry));
      const fields = before ? changedFields(before, inVhost(entry)) : [];
      return { section, name: nameOf(section, inVhost(entry)), effect: !before ? 'added' : fields.length > 0 ? 'changed' : 'unchanged', fields };
    });
  });
}

// A flag that is not set may be left out.
const changedFields = (before, after) => Object.keys(after).filter((field) => canonical(before[field] ?? false) !== canonical(after[field] ?? false) && field !== 'limits' && !isBoth(before[field], after[field]));

// Tags come as a list or as a text with commas, depending on the age of the file.
const isBoth = (a, b) => Array.isArray(a) !== Array.isArray(b) && String(a ?? '') === String(b ?? '');

function nameOf(section, entry) {
  if (section === 'bindings') return `${entry.source} → ${entry.destination} (${entry.routing_key})`;
  return IDENTITY[section].map((field) => entry[field]).filter(Boolean).join(' · ');
}

/** JSON with its keys in order, so that equal things have equal texts. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join()}}`;
}

// What there is: each page by its path. The paths are RabbitMQ's, so that links in wikis and alerts lead to the same place.

import { auditPage } from './pages/audit.js';
import { certificatesPage } from './pages/certificates.js';
import { channelPage, channelsPage } from './pages/channels.js';
import { clusterPage, featureFlagsPage } from './pages/cluster.js';
import { configurationPage } from './pages/configuration.js';
import { connectionPage, connectionsPage } from './pages/connections.js';
import { consumersPage } from './pages/consumers.js';
import { definitionsPage } from './pages/definitions.js';
import { exchangePage, exchangesPage } from './pages/exchanges.js';
import { limitsPage } from './pages/limits.js';
import { logPage } from './pages/log.js';
import { messagesPage } from './pages/messages.js';
import { nodePage } from './pages/node.js';
import { overviewPage } from './pages/overview.js';
import { parametersPage } from './pages/parameters.js';
import { permissionsPage } from './pages/permissions.js';
import { policiesPage, policyPage } from './pages/policies.js';
import { queuePage } from './pages/queue.js';
import { queuesPage } from './pages/queues.js';
import { shovelsPage } from './pages/shovels.js';
import { topologyPage } from './pages/topology.js';
import { userPage, usersPage } from './pages/users.js';
import { vhostPage, vhostsPage } from './pages/vhosts.js';
import { empty } from './components/parts.js';
import { h } from './view.js';

const ROUTES = [
  ['', overviewPage],
  ['nodes/:name', nodePage],
  ['connections', connectionsPage],
  ['connections/:name', connectionPage],
  ['channels', channelsPage],
  ['channels/:name', channelPage],
  ['exchanges', exchangesPage],
  ['exchanges/:vhost/:name', exchangePage],
  ['queues', queuesPage],
  ['queues/:vhost/:name', queuePage],
  ['messages/:vhost/:name', messagesPage],
  ['consumers', consumersPage],
  ['topology', topologyPage],
  ['users', usersPage],
  ['users/:name', userPage],
  ['permissions', permissionsPage],
  ['vhosts', vhostsPage],
  ['vhosts/:name', vhostPage],
  ['policies', policiesPage],
  ['policies/:vhost/:name', policyPage('policies')],
  ['operator-policies/:vhost/:name', policyPage('operator-policies')],
  ['limits', limitsPage],
  ['parameters', parametersPage],
  ['shovels', shovelsPage],
  ['definitions', definitionsPage],
  ['feature-flags', featureFlagsPage],
  ['cluster-name', clusterPage],
  ['configuration', configurationPage],
  ['certificates', certificatesPage],
  ['log', logPage],
  ['audit', auditPage],
].map(([route, page]) => ({ parts: route.split('/').filter((part) => part !== ''), page }));

/** The page for the parts of a path, with the values of its `:names`. */
export function find(parts) {
  for (const route of ROUTES) {
    const params = match(route.parts, parts);
    if (params) return { page: route.page, params };
  }
  return { page: unknownPage, params: {} };
}

function match(pattern, parts) {
  if (pattern.length !== parts.length) return undefined;
  const params = {};
  for (const [index, word] of pattern.entries()) {
    if (word.startsWith(':')) params[word.slice(1)] = parts[index];
    else if (word !== parts[index]) return undefined;
  }
  return params;
}

const unknownPage = () => ({
  title: 'No such page',
  load: async () => ({}),
  view: () => empty('There is no page at this address', h('p', null, 'Press ', h('kbd', null, '/'), ' to search, or ', h('a', { href: '#/' }, 'go to the overview'), '.')),
});

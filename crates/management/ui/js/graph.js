// The picture of the topology: exchanges at the left by their depth, queues, and at the right who consumes. Each column is
// ordered so that few lines cross.

const BOX = { width: 190, height: 40, gapX: 130, gapY: 16, top: 34, left: 16 };
const SWEEPS = 4;

/**
 * Places nodes. `nodes`: [{ id, kind: 'exchange' | 'queue' | 'consumers' }], `edges`: [{ id, from, to }]. Gives nodes with x, y,
 * width and height, the columns' titles, and the size of the whole.
 */
export function layout(nodes, edges) {
  const depths = exchangeDepths(nodes, edges);
  const deepest = Math.max(0, ...depths.values());
  const columnOf = (node) => (node.kind === 'exchange' ? depths.get(node.id) : node.kind === 'queue' ? deepest + 1 : deepest + 2);
  const columns = [];
  for (const node of nodes) (columns[columnOf(node)] ??= []).push(node);
  const filled = columns.filter(Boolean);
  untangle(filled, edges);
  const placed = new Map();
  filled.forEach((column, x) => column.forEach((node, y) => placed.set(node.id, {
    ...node, width: BOX.width, height: BOX.height, x: BOX.left + x * (BOX.width + BOX.gapX), y: BOX.top + y * (BOX.height + BOX.gapY),
  })));
  const rows = Math.max(1, ...filled.map((column) => column.length));
  return {
    nodes: placed,
    titles: filled.map((column, x) => ({ x: BOX.left + x * (BOX.width + BOX.gapX), text: { exchange: x === 0 ? 'Exchanges' : 'bound exchanges', queue: 'Queues', consumers: 'Consumers' }[column[0].kind] })),
    width: BOX.left * 2 + filled.length * BOX.width + (filled.length - 1) * BOX.gapX,
    height: BOX.top + rows * (BOX.height + BOX.gapY) + 8,
  };
}

/** A line from the right of one box to the left of another; back to the same column it goes around. */
export function curve(from, to) {
  const [x1, y1, x2, y2] = [from.x + from.width, from.y + from.height / 2, to.x, to.y + to.height / 2];
  const bend = x2 > x1 ? (x2 - x1) / 2 : 60;
  return `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
}

/** How many exchanges a message passes at most before each; circles are cut where they close. */
function exchangeDepths(nodes, edges) {
  const sources = new Map(nodes.filter((node) => node.kind === 'exchange').map((node) => [node.id, []]));
  for (const { from, to } of edges) if (sources.has(from)) sources.get(to)?.push(from);
  const depths = new Map();
  const depth = (id, path) => {
    if (depths.has(id)) return depths.get(id);
    if (path.has(id)) return 0;
    path.add(id);
    const value = Math.max(0, ...sources.get(id).map((source) => depth(source, path) + 1));
    path.delete(id);
    depths.set(id, value);
    return value;
  };
  for (const id of sources.keys()) depth(id, new Set());
  return depths;
}

// The barycentre rule of Sugiyama: a node goes to the middle of its neighbours in the column before, some times over.
function untangle(columns, edges) {
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const isBack = sweep % 2 === 1;
    for (let index = 1; index < columns.length; index += 1) {
      const [column, neighbours] = isBack ? [columns.at(-1 - index), columns.at(-index)] : [columns[index], columns[index - 1]];
      const rank = new Map(neighbours.map((node, at) => [node.id, at]));
      const middles = new Map(column.map((node, at) => [node.id, middle(node.id, rank, edges) ?? at]));
      column.sort((a, b) => middles.get(a.id) - middles.get(b.id));
    }
  }
}

function middle(id, rank, edges) {
  const ranks = edges.flatMap(({ from, to }) => (from === id && rank.has(to) ? [rank.get(to)] : to === id && rank.has(from) ? [rank.get(from)] : []));
  return ranks.length > 0 ? ranks.reduce((sum, one) => sum + one, 0) / ranks.length : undefined;
}

// The picture of the topology: exchanges at the left by their depth, queues, and at the right who consumes. Each column is
// ordered so that few lines cross, and a line that passes a column has a place of its own there.

const BOX = { width: 196, height: 40, gapX: 124, gapY: 16, top: 34, left: 16 };
const PASSAGE_HEIGHT = 4;
const SWEEPS = 6;

/**
 * Places nodes. `nodes`: [{ id, kind: 'exchange' | 'queue' | 'consumers' }], `edges`: [{ id, from, to }]. Gives the nodes with
 * x, y, width and height, the places that each edge passes, the columns' titles, and the size of the whole.
 */
export function layout(nodes, edges) {
  const columns = columnsOf(nodes, edges);
  const { passages, parts } = makePassages(columns, edges);
  untangle(columns, parts);
  const placed = new Map();
  columns.forEach((column, index) => place(column, BOX.left + index * (BOX.width + BOX.gapX), placed));
  return {
    nodes: new Map([...placed].filter(([, node]) => node.kind !== 'passage')),
    passages: new Map([...passages].map(([id, ids]) => [id, ids.map((one) => placed.get(one))])),
    titles: columns.map((column, index) => ({ x: BOX.left + index * (BOX.width + BOX.gapX), text: titleOf(column, index) })),
    width: BOX.left * 2 + columns.length * BOX.width + (columns.length - 1) * BOX.gapX,
    height: Math.max(...[...placed.values()].map((node) => node.y + node.height)) + BOX.gapY,
  };
}

/** The line of an edge from the right of one box to the left of another, through the places it passes. */
export function curve({ nodes, passages }, { id, from, to }) {
  const stops = [nodes.get(from), ...(passages.get(id) ?? []), nodes.get(to)];
  const start = stops[0];
  let path = `M${start.x + start.width},${start.y + start.height / 2}`;
  for (const [index, stop] of stops.slice(1).entries()) {
    const before = stops[index];
    const [x1, y1, x2, y2] = [before.x + before.width, before.y + before.height / 2, stop.x, stop.y + stop.height / 2];
    const bend = x2 > x1 ? (x2 - x1) / 2 : 60;
    path += ` C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
    if (index < stops.length - 2) path += ` L${x2 + stop.width},${y2}`;
  }
  return path;
}

function columnsOf(nodes, edges) {
  const depths = exchangeDepths(nodes, edges);
  const deepest = Math.max(0, ...depths.values());
  const columns = [];
  for (const node of nodes) {
    const index = node.kind === 'exchange' ? depths.get(node.id) : node.kind === 'queue' ? deepest + 1 : deepest + 2;
    (columns[index] ??= []).push(node);
  }
  return columns.filter(Boolean);
}

const titleOf = (column, index) => ({ exchange: index === 0 ? 'Exchanges' : 'Exchanges bound to them', queue: 'Queues', consumers: 'Consumers' })[column.find(({ kind }) => kind !== 'passage')?.kind];

/** Gives each edge that passes columns a narrow node in each of them, and the edges in parts from column to column. */
function makePassages(columns, edges) {
  const columnOf = new Map(columns.flatMap((column, index) => column.map((node) => [node.id, index])));
  const passages = new Map();
  const parts = edges.flatMap((edge) => {
    const [first, last] = [columnOf.get(edge.from), columnOf.get(edge.to)];
    const ids = [];
    for (let index = first + 1; index < last; index += 1) {
      ids.push(`passage ${index} ${edge.id}`);
      columns[index].push({ id: ids.at(-1), kind: 'passage' });
    }
    passages.set(edge.id, ids);
    const stops = [edge.from, ...ids, edge.to];
    return stops.slice(1).map((to, index) => ({ from: stops[index], to }));
  });
  return { passages, parts };
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

// The barycentre rule of Sugiyama: a node goes to the middle of its neighbours in the next column, there and back again.
function untangle(columns, parts) {
  const neighbours = new Map();
  for (const { from, to } of parts) {
    neighbours.set(from, [...(neighbours.get(from) ?? []), to]);
    neighbours.set(to, [...(neighbours.get(to) ?? []), from]);
  }
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const order = sweep % 2 === 0 ? columns : [...columns].reverse();
    for (let index = 1; index < order.length; index += 1) sortByNeighbours(order[index], order[index - 1], neighbours);
  }
}

function sortByNeighbours(column, before, neighbours) {
  const rank = new Map(before.map((node, at) => [node.id, at]));
  const middles = new Map(column.map((node, at) => {
    const ranks = (neighbours.get(node.id) ?? []).filter((id) => rank.has(id)).map((id) => rank.get(id));
    return [node.id, ranks.length > 0 ? ranks.reduce((sum, one) => sum + one, 0) / ranks.length : at];
  }));
  column.sort((a, b) => middles.get(a.id) - middles.get(b.id));
}

function place(column, x, placed) {
  let y = BOX.top;
  for (const node of column) {
    const height = node.kind === 'passage' ? PASSAGE_HEIGHT : BOX.height;
    placed.set(node.id, { ...node, x, y, width: BOX.width, height });
    y += height + BOX.gapY;
  }
}

// Line charts as SVG of our own. The drawing is stretched to the width there is; words and numbers are HTML around it, so
// that they keep their size. The legend is the read-out: it shows the last values, or those under the cursor.

import { h } from '../view.js';
import { bytes, clock, short } from '../format.js';

const WIDTH = 1000;
const HEIGHT = 200;
const cursors = new Map();
const hidden = new Map();

// Distances of the marks on the axis, seconds; at most so many of them are shown.
const TICKS = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600];
const MOST_TICKS = 6;
// So near to an end of the axis, as a share of it, a mark's words would be cut off.
const EDGE = 0.1;

// What these pages have seen themselves, for objects whose samples the broker does not keep.
const seen = new Map();
const SEEN_KEYS = 2000;
const SEEN_POINTS = 120;
const SEEN_APART_MS = 2000;

/** The spans an operator can look back, with the distance of the samples in seconds. */
const SPANS = [
  { id: '1m', label: '1 min', age: 60, incr: 5 },
  { id: '10m', label: '10 min', age: 600, incr: 10 },
  { id: '1h', label: '1 h', age: 3600, incr: 60 },
  { id: '8h', label: '8 h', age: 28800, incr: 300 },
  { id: '24h', label: '24 h', age: 86400, incr: 900 },
];

/** The span that the page's query names. */
export const spanOf = (query, fallback = '10m') => SPANS.find((span) => span.id === (query.span ?? fallback)) ?? SPANS[0];

/** Buttons to choose the span. */
export function spanPicker(ctx) {
  const present = spanOf(ctx.query);
  return h('div', { class: 'segmented', role: 'group', 'aria-label': 'Time span' },
    SPANS.map((span) =>
      h('button', { 'aria-pressed': String(span === present), onclick: () => ctx.setQuery({ span: span.id }) }, span.label)));
}

/**
 * `messages_details` and the like as points in time order. A broker may keep no samples of an object; then `key` names what
 * this page has seen of it, of which `value` is the newest.
 */
export function lengthPoints(details, key, value) {
  const points = ordered(details).map(({ timestamp, sample }) => [timestamp, sample]);
  return points.length > 0 || key === undefined ? points : remember(key, value);
}

/** Counters as points of their rate per second between samples; without samples, the rates seen under `key`. */
export function ratePoints(details, key) {
  const samples = ordered(details);
  if (samples.length === 0 && key !== undefined) return remember(key, details?.rate ?? 0);
  return samples.slice(1).map(({ timestamp, sample }, index) => {
    const before = samples[index];
    const seconds = (timestamp - before.timestamp) / 1000;
    return [timestamp, seconds > 0 ? Math.max(0, (sample - before.sample) / seconds) : 0];
  });
}

/**
 * A chart. `series`: [{ name, points, value }], points in time order; `value` is the exact present value for the legend.
 * It spans what the page's query says, also where nothing was seen yet, so that charts side by side show the same time.
 * With the pointer or the arrow keys the legend shows any earlier moment; a click in the legend hides a line.
 */
export function chart({ ctx, id, title, series, format = short, unit = '' }) {
  const span = spanOf(ctx.query);
  const domain = domainOf(series, span);
  const off = hidden.get(id) ?? new Set();
  const shown = series.map((one, index) => ({ ...one, index, points: one.points.filter(([time]) => time >= domain.from) })).filter((one) => !off.has(one.name) && one.points.length > 0);
  const times = [...new Set(shown.flatMap((one) => one.points.map(([time]) => time)))].sort((a, b) => a - b);
  const top = nice(Math.max(0, ...shown.flatMap((one) => one.points.map(([, value]) => value))), format);
  const cursor = clamp(cursors.get(id), times.length);
  return h('figure', { class: 'chart', key: id },
    h('figcaption', null, h('h3', null, title), h('span', { class: 'muted when' }, cursor === undefined ? 'now' : clock(times[cursor]))),
    h('div', { class: 'plot' },
      h('div', { class: 'scale', 'aria-hidden': 'true' }, h('span', null, format(top)), h('span', null, format(top / 2)), h('span', null, format(0))),
      h('div', reader({ ctx, id, title, series, times, domain, cursor, format }), drawing(shown, times, domain, top, cursor),
        times.length === 0 && h('span', { class: 'waiting', 'aria-hidden': 'true' }, 'Waiting for samples')),
      h('div', { class: 'axis', 'aria-hidden': 'true' }, domain.ticks.map((time) =>
        h('span', { key: time, style: { left: `${(domain.share(time) * 100).toFixed(2)}%` } }, tickText(time, span))))),
    h('ul', { class: 'legend' }, series.map((one, index) => h('li', null,
      h('button', { type: 'button', class: 'entry', 'aria-pressed': String(!off.has(one.name)), title: off.has(one.name) ? 'Show' : 'Hide', onclick: () => toggle(ctx, id, one.name) },
        h('span', { class: `swatch series-${index}`, 'aria-hidden': 'true' }), h('span', null, one.name), h('strong', null, `${format(reading(one, times, cursor))}${unit}`))))));
}

/** A line of a few pixels for a table's row. */
export function sparkline(points, label) {
  if (points.length < 2) return h('span', { class: 'spark', 'aria-hidden': 'true' });
  const values = points.map(([, value]) => value);
  const top = Math.max(1e-9, ...values);
  const step = 100 / (values.length - 1);
  const line = values.map((value, index) => `${(index * step).toFixed(1)},${(19 - (value / top) * 18).toFixed(1)}`).join(' ');
  return h('svg', { class: 'spark', viewBox: '0 0 100 20', preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    h('polygon', { points: `0,20 ${line} 100,20`, class: 'area series-0' }),
    h('polyline', { points: line, class: 'line series-0' }));
}

/** A bar that shows how much of a limit is used. */
export function meter({ label, value, limit, text, tone }) {
  const share = limit > 0 ? Math.min(1, value / limit) : 0;
  const level = tone ?? (share > 0.9 ? 'bad' : share > 0.75 ? 'warn' : 'good');
  return h('div', { class: 'meter', role: 'meter', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': Math.round(share * 100), 'aria-valuetext': text },
    h('span', { class: 'meter-text' }, text),
    h('span', { class: 'track' }, h('span', { class: `fill ${level}`, style: { width: `${(share * 100).toFixed(1)}%` } })));
}

// A slider along time is what assistive technology has for "a value that the arrow keys move": its text is the read-out.
function reader({ ctx, id, title, series, times, domain, cursor, format }) {
  const move = (index) => {
    if (cursors.get(id) === index) return;
    cursors.set(id, index);
    ctx.redraw();
  };
  const leave = () => {
    if (cursors.delete(id)) ctx.redraw();
  };
  const last = Math.max(0, times.length - 1);
  const index = cursor ?? last;
  const words = series.map((one) => `${one.name} ${format(reading(one, times, cursor))}`).join(', ');
  return {
    class: 'canvas', tabindex: '0', role: 'slider', 'aria-label': title,
    'aria-valuemin': 0, 'aria-valuemax': last, 'aria-valuenow': index,
    'aria-valuetext': times.length > 0 ? `${clock(times[index])}: ${words}` : 'no samples yet',
    onpointermove: (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      if (times.length > 0) move(nearest(times, domain.at((event.clientX - box.left) / box.width)));
    },
    onpointerleave: leave,
    onblur: leave,
    onkeydown: (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -last, End: last }[event.key];
      if (step === undefined || times.length === 0) return;
      event.preventDefault();
      move(Math.min(last, Math.max(0, index + step)));
    },
  };
}

// A line that is zero all along says no more than the axis, and would hide those below it. Only a line that is alone is
// filled, since several fillings mix to a colour that is in no legend.
function drawing(series, times, domain, top, cursor) {
  const x = (time) => (domain.share(time) * WIDTH).toFixed(1);
  const y = (value) => (HEIGHT - (value / top) * (HEIGHT - 4) - 1).toFixed(1);
  const drawn = series.filter((one) => one.points.some(([, value]) => value > 0));
  const line = (one) => one.points.map(([time, value]) => `${x(time)},${y(value)}`).join(' ');
  return h('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    [0, 0.5, 1].map((part) => h('line', { class: 'grid', x1: 0, x2: WIDTH, y1: y(top * part), y2: y(top * part) })),
    drawn.length === 1 && drawn.map((one) => h('polygon', { class: `area series-${one.index}`, points: `${x(one.points[0][0])},${HEIGHT} ${line(one)} ${x(one.points.at(-1)[0])},${HEIGHT}` })),
    drawn.map((one) => h('polyline', { class: `line series-${one.index} ${one.points.length === 1 ? 'dot' : ''}`, points: one.points.length === 1 ? `${line(one)} ${line(one)}` : line(one) })),
    cursor !== undefined && h('line', { class: 'cursor', x1: x(times[cursor]), x2: x(times[cursor]), y1: 0, y2: HEIGHT }));
}

/** The time that a chart shows: `share` says where a moment is in it, from 0 to 1, `at` is the inverse. */
function domainOf(series, { age }) {
  const to = Math.max(...series.map((one) => one.points.at(-1)?.[0] ?? 0)) || Date.now();
  const length = age * 1000;
  const from = to - length;
  const step = TICKS.find((seconds) => age / seconds <= MOST_TICKS) * 1000;
  const ticks = [];
  const share = (time) => (time - from) / length;
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) if (share(time) > EDGE && share(time) < 1 - EDGE) ticks.push(time);
  return { from, ticks, share, at: (part) => from + part * length };
}

const tickText = (time, { age }) => (age < 120 ? clock(time) : clock(time).slice(0, 5));

const nearest = (times, wanted) => times.reduce((best, time, index) => (Math.abs(time - wanted) < Math.abs(times[best] - wanted) ? index : best), 0);

function toggle(ctx, id, name) {
  const off = hidden.get(id) ?? new Set();
  if (!off.delete(name)) off.add(name);
  hidden.set(id, off);
  ctx.redraw();
}

/** The value under the cursor: the last that was seen up to then. */
function reading(series, times, cursor) {
  if (cursor === undefined) return series.value ?? series.points.at(-1)?.[1] ?? 0;
  return series.points.findLast(([at]) => at <= times[cursor])?.[1];
}

/** Adds to what was seen and gives all of it. A redraw without a new load adds nothing. */
function remember(key, value) {
  const points = seen.get(key) ?? [];
  const now = Date.now();
  if (value !== undefined && now - (points.at(-1)?.[0] ?? 0) > SEEN_APART_MS) points.push([now, value]);
  if (points.length > SEEN_POINTS) points.shift();
  // Whatever was used last is the last in the map, so that the first one can go.
  seen.delete(key);
  seen.set(key, points);
  if (seen.size > SEEN_KEYS) seen.delete(seen.keys().next().value);
  return points;
}

const ordered = (details) => [...(details?.samples ?? [])].sort((a, b) => a.timestamp - b.timestamp);

const clamp = (index, length) => (index === undefined || length === 0 ? undefined : Math.min(length - 1, Math.max(0, index)));

/** The next round number above: 1, 2, 5, 10, 20 …; bytes are round in powers of two. */
function nice(value, format) {
  if (value <= 0) return 1;
  if (format === bytes) return 2 ** Math.ceil(Math.log2(value));
  const magnitude = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * magnitude).find((step) => step >= value);
}

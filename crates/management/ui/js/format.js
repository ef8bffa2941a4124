// Numbers and names as operators read them.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export const DASH = '–';

/** 12,345. */
export const count = (value) => (Number.isFinite(value) ? Math.round(value).toLocaleString('en-US') : DASH);

/** A rate per second: 0/s, 0.4/s, 12/s, 12,345/s. */
export function rate(value) {
  if (!Number.isFinite(value)) return DASH;
  return `${short(value)}/s`;
}

/** A number with as many digits as help: 0.4, 12, 12,345, 1.2 M. */
export function short(value) {
  if (!Number.isFinite(value)) return DASH;
  const size = Math.abs(value);
  if (size >= 1e9) return `${(value / 1e9).toFixed(1)} G`;
  if (size >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (size >= 10 || Number.isInteger(value)) return count(value);
  return value.toFixed(1);
}

export function bytes(value) {
  if (!Number.isFinite(value)) return DASH;
  let unit = 0;
  let size = value;
  while (Math.abs(size) >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 || Number.isInteger(size) ? Math.round(size) : size.toFixed(1)} ${UNITS[unit]}`;
}

export const byteRate = (value) => (Number.isFinite(value) ? `${bytes(value)}/s` : DASH);

/** A time span in milliseconds: 12 s, 4 min, 3 h 20 min, 5 d 2 h. */
export function duration(ms) {
  if (!Number.isFinite(ms)) return DASH;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A moment in milliseconds since 1970, in the reader's own time zone. */
export const moment = (ms) => (Number.isFinite(ms) && ms > 0 ? new Date(ms).toLocaleString('sv-SE') : DASH);

export const clock = (ms) => new Date(ms).toLocaleTimeString('sv-SE');

export const exchangeName = (name) => (name === '' ? '(AMQP default)' : name);

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** `message_stats.publish_details.rate` of an object that may lack any part of it. */
export const at = (object, route) => route.split('.').reduce((value, part) => value?.[part], object);

export const rateOf = (object, name) => at(object, `message_stats.${name}_details.rate`) ?? 0;

/** A field's value for people: objects as JSON, text as it is. */
export function plain(value) {
  if (value === undefined || value === null || value === '') return DASH;
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'object') return JSON.stringify(value);
  return String(value);
}

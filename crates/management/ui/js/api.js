// The HTTP API, the only thing these pages talk to. A request that fails throws a `Failure`, which says what to do next.

const BASE = new URL('api/', document.baseURI);
const STORE = 'leveret.login';
const SAMPLES = {
  lengths_age: 'age', lengths_incr: 'incr', msg_rates_age: 'age', msg_rates_incr: 'incr',
  data_rates_age: 'age', data_rates_incr: 'incr',
};

let onLogout = () => {};
let quickest = Infinity;

/** What went wrong, in words for an operator: `message` is the broker's reason, `advice` what to do about it. */
export class Failure extends Error {
  constructor(status, message, advice, hasReason = true) {
    super(message);
    this.status = status;
    this.advice = advice;
    this.hasReason = hasReason;
  }
}

/** A path below /api, each part escaped: `path('queues', '/', 'a b')` is `queues/%2F/a%20b`. */
export const path = (...parts) => parts.map(encodeURIComponent).join('/');

export const get = (where, query, signal) => call('GET', where, { query, signal });
/** The same for an answer that is no JSON. */
export const getText = (where, signal) => call('GET', where, { signal, isText: true });
export const put = (where, body) => call('PUT', where, { body });
export const post = (where, body) => call('POST', where, { body });
export const remove = (where, options) => call('DELETE', where, options);

/** The parameters that ask for samples over the last `age` seconds, `incr` apart. */
export function samples({ age, incr }) {
  return Object.fromEntries(Object.entries(SAMPLES).map(([name, which]) => [name, which === 'age' ? age : incr]));
}

/** Everything that a 404 would make optional: the answer, or `otherwise` where the broker has no such thing. */
export const getOr = (otherwise, where, query, signal) => orElse(otherwise, get(where, query, signal));

/** The answer, or `otherwise` where the broker has no such thing or the user may not have it. */
export async function orElse(otherwise, asked) {
  try {
    return await asked;
  } catch (failure) {
    // RabbitMQ answers 400 without a reason to a path that it does not know, if a name in it has a slash.
    if ([401, 404, 405].includes(failure.status) || (failure.status === 400 && !failure.hasReason)) return otherwise;
    throw failure;
  }
}

/** Milliseconds that the quickest answer took so far: the way there and back, with next to no work between. */
export const distance = () => (Number.isFinite(quickest) ? quickest : 0);

export const isLoggedIn = () => sessionStorage.getItem(STORE) !== null;

/** Calls `listener` when the broker no longer accepts the stored name and password. */
export function whenLoggedOut(listener) {
  onLogout = listener;
}

/** Keeps the credentials for this tab, if the broker accepts them. Gives what `/whoami` says. */
export async function login(name, password) {
  const bytes = new TextEncoder().encode(`${name}:${password}`);
  return enter(`Basic ${btoa(String.fromCharCode(...bytes))}`);
}

/** The same for a token of OAuth 2. */
export const loginWithToken = (token) => enter(`Bearer ${token}`);

/** A newer token of the user who is logged in. */
export const renewToken = (token) => sessionStorage.setItem(STORE, `Bearer ${token}`);

/** How the broker wants its users to log in; a broker that says nothing has names and passwords only. */
export async function loginSettings() {
  const response = await ask('GET', new URL('auth', BASE), {}).catch(() => undefined);
  return response?.ok ? response.json() : { oauth_enabled: false };
}

async function enter(authorization) {
  const response = await ask('GET', new URL('whoami', BASE), { authorization });
  if (!response.ok) throw await failure(response, true);
  sessionStorage.setItem(STORE, authorization);
  return response.json();
}

export function logout() {
  sessionStorage.removeItem(STORE);
}

async function call(method, where, { query, body, headers, signal, isText } = {}) {
  const url = new URL(where, BASE);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== '') url.searchParams.set(name, value);
  }
  const authorization = sessionStorage.getItem(STORE);
  if (!authorization) return expire(new Failure(401, 'You are logged out', 'Log in again.'));
  const response = await ask(method, url, { authorization, body, headers, signal });
  if (response.status === 401 && (await isRefused(authorization))) {
    return expire(new Failure(401, 'The broker no longer accepts this user and password', 'Log in again.'));
  }
  if (!response.ok) throw await failure(response);
  const text = await response.text();
  if (isText) return text;
  return text === '' ? null : JSON.parse(text);
}

async function ask(method, url, { authorization, body, headers, signal }) {
  const start = performance.now();
  try {
    const response = await fetch(url, {
      method,
      signal,
      // Without cookies the browser also keeps its own password dialog to itself.
      credentials: 'omit',
      headers: { ...(authorization && { authorization }), ...(body === undefined && method !== 'POST' ? {} : { 'content-type': 'application/json' }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    quickest = Math.min(quickest, performance.now() - start);
    return response;
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Failure(0, 'The broker does not answer', `Is it running, and is ${url.host} reachable from here? This page tries again by itself.`);
  }
}

/** RabbitMQ says 401 both to a stranger and to a user who may not do this one thing; `/whoami` tells them apart. */
async function isRefused(authorization) {
  const response = await ask('GET', new URL('whoami', BASE), { authorization });
  return response.status === 401;
}

function expire(reason) {
  logout();
  onLogout();
  throw reason;
}

async function failure(response, atLogin = false) {
  const said = await response.json().catch(() => ({}));
  const reason = typeof said.reason === 'string' ? said.reason : said.reason ? JSON.stringify(said.reason) : '';
  return new Failure(response.status, atLogin && response.status === 401 ? 'The broker does not let you in' : reason || `HTTP status ${response.status}`, advice(response.status, atLogin, reason), reason !== '');
}

function advice(status, atLogin, reason) {
  if (atLogin && status === 401) {
    return 'Check name and password. The user also needs one of the tags management, policymaker, monitoring or administrator, and “guest” may log in from the broker’s own machine only.';
  }
  if (status === 401) return 'Your user may not do this. An administrator can give it the tag or the permission (Admin → Users).';
  if (status === 400 && /inequivalent/.test(reason)) return 'It exists with other properties. Use another name, or delete it first.';
  if (status === 400) return 'Correct what the reason names, and try again.';
  if (status === 404) return 'It is gone, or was never there. Go back to the list to see what exists.';
  if (status === 405) return 'This broker does not offer this.';
  if (status === 412) return 'It is protected from deletion. Remove the protection first.';
  if (status === 413) return 'The request is larger than management.http.max_body_size allows.';
  if (status >= 500) return 'The broker failed to answer. Its log says why.';
  return '';
}

// Log in with OAuth 2: the authorization code with PKCE (RFC 6749, RFC 7636), from a provider that describes itself (OpenID
// Connect Discovery). The token stays in this tab.

import { Failure, loginWithToken, renewToken } from './api.js';

const CALLBACK = new URL('js/oidc-oauth/login-callback.html', document.baseURI).href;
const PENDING = 'leveret.oauth.pending';
const SESSION = 'leveret.oauth.session';
const SCOPES = 'openid profile';
// A token is renewed so long before its end.
const MARGIN_SECONDS = 30;

let timer;

/** The providers that users may log in with: { label, start() }. */
export function providersOf(settings) {
  if (!settings.oauth_enabled) return [];
  return Object.entries(settings.oauth_resource_servers ?? {}).map(([id, server]) => {
    const provider = { ...settings, ...server, id: server.id ?? id };
    return { label: provider.label ?? provider.oauth_provider_url ?? id, start: () => start(provider) };
  });
}

/** Whether a provider has sent the user back just now. */
export const isReturn = () => /[?&](code|error)=/.test(location.search) && sessionStorage.getItem(PENDING) !== null;

/** Ends the login that `start` began, and goes to the page that was wanted. */
export async function finish() {
  const pending = JSON.parse(sessionStorage.getItem(PENDING));
  const answer = new URLSearchParams(location.search);
  sessionStorage.removeItem(PENDING);
  history.replaceState(null, '', location.pathname + pending.hash);
  if (answer.get('error')) throw new Failure(0, answer.get('error_description') ?? answer.get('error'), 'The provider did not let you in.');
  if (answer.get('state') !== pending.state) throw new Failure(0, 'This is not the answer to a login of this tab', 'Log in again.');
  const tokens = await tokensFor(pending, { grant_type: 'authorization_code', code: answer.get('code'), redirect_uri: CALLBACK, code_verifier: pending.verifier });
  await loginWithToken(tokens.access_token);
  keep(pending, tokens);
}

/** Renews the token of this tab from now on, also after the page was loaded again. */
export function watchToken() {
  clearTimeout(timer);
  const session = JSON.parse(sessionStorage.getItem(SESSION) ?? 'null');
  if (!session?.refresh) return;
  timer = setTimeout(() => renew(session), Math.max(0, session.until - Date.now() - MARGIN_SECONDS * 1000));
}

/** Forgets the token and what renews it. */
export function forget() {
  clearTimeout(timer);
  sessionStorage.removeItem(SESSION);
}

/**
 * Where the provider ends its own session of this user and comes back from (OpenID Connect RP-Initiated Logout); undefined
 * without such a session, or if the provider names no such place.
 */
export function farewell() {
  const { end, idToken, parameters } = JSON.parse(sessionStorage.getItem(SESSION) ?? '{}');
  if (!/^https?:/.test(end ?? '')) return undefined;
  const target = new URL(end);
  target.searchParams.set('client_id', parameters.client_id);
  target.searchParams.set('post_logout_redirect_uri', document.baseURI.split(/[?#]/)[0]);
  if (idToken) target.searchParams.set('id_token_hint', idToken);
  return target;
}

async function start(provider) {
  if (provider.oauth_initiated_logon_type === 'idp_initiated') {
    location.assign(provider.oauth_provider_url);
    return;
  }
  if (!globalThis.crypto?.subtle) throw new Failure(0, 'Browsers allow this login over HTTPS only', 'Set management.ssl.* and open these pages with https://, or log in with name and password.');
  const description = await discover(provider);
  const [state, verifier] = [secret(), secret()];
  const parameters = { ...provider.oauth_token_endpoint_params, client_id: provider.oauth_client_id ?? '', ...(provider.oauth_client_secret && { client_secret: provider.oauth_client_secret }) };
  sessionStorage.setItem(PENDING, JSON.stringify({ state, verifier, hash: location.hash, endpoint: description.token_endpoint, end: description.end_session_endpoint, parameters }));
  const target = new URL(description.authorization_endpoint);
  const asked = {
    ...provider.oauth_authorization_endpoint_params, response_type: 'code', client_id: provider.oauth_client_id ?? '', redirect_uri: CALLBACK, scope: provider.oauth_scopes ?? SCOPES,
    state, code_challenge: await challenge(verifier), code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(asked)) target.searchParams.set(name, value);
  location.assign(target);
}

async function discover({ oauth_metadata_url: metadata, oauth_provider_url: provider }) {
  const url = metadata ?? `${provider.replace(/\/$/, '')}/.well-known/openid-configuration`;
  return ask(url, undefined, 'Is oauth_provider_url right, and does the provider allow requests from this page (CORS)?');
}

const tokensFor = ({ endpoint, parameters }, more) =>
  ask(endpoint, { method: 'POST', body: new URLSearchParams({ ...parameters, ...more }) }, 'Look at the client’s settings at the provider: its redirect address, and whether it may do without a secret.');

async function ask(url, options, advice) {
  let response;
  try {
    response = await fetch(url, { credentials: 'omit', ...options });
  } catch {
    throw new Failure(0, `The provider does not answer at ${url}`, advice);
  }
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new Failure(response.status, said.error_description ?? said.error ?? `The provider answers with status ${response.status}`, advice);
  return said;
}

function keep({ endpoint, end, parameters }, { refresh_token: refresh, id_token: idToken, expires_in: seconds = 300 }) {
  sessionStorage.setItem(SESSION, JSON.stringify({ endpoint, end, parameters, refresh, idToken, until: Date.now() + seconds * 1000 }));
  watchToken();
}

async function renew(session) {
  try {
    const tokens = await tokensFor(session, { grant_type: 'refresh_token', refresh_token: session.refresh });
    renewToken(tokens.access_token);
    keep(session, { refresh_token: session.refresh, id_token: session.idToken, ...tokens });
  } catch {
    // The old token lives a little longer; when the broker refuses it, the login form comes.
    forget();
  }
}

const encoded = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
const secret = () => encoded(crypto.getRandomValues(new Uint8Array(32)));
const challenge = async (verifier) => encoded(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))));

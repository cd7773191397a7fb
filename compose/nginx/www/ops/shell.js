// What every page of the operator has in common: the navigation, and how it asks the services. Pages are served from the root of
// the loopback listener and below /ops/ of the public name: `at` makes both the same.

const PAGES = [
  ["", "Overview"], ["dashboards/", "Dashboards"], ["alerts/", "Alerts"], ["logs/", "Logs"], ["traces/", "Traces"],
  ["dashboards/#backups", "Backups"], ["dashboards/#releases", "Releases"], ["dashboards/#certificates", "Certificates"],
  ["docs/", "Docs"],
];
const TIMEOUT_MS = 10000;
const RENEW_MS = 4 * 60 * 1000;
const LOGOUT = "/auth/realms/cc03/protocol/openid-connect/logout";

/** URL of the pages' root, with a slash at its end. */
export const root = new URL("./", import.meta.url);

/** Whether these are the pages on the host's loopback address, where administration is reachable as well. */
export const loopback = root.pathname === "/";

/** URL of a path below the pages' root, such as "prometheus/api/v1/query". */
export function at(path) {
  return new URL(path, root).href;
}

/** The response to a request below the pages' root; it throws after a timeout. */
export async function ask(path, options = {}) {
  const once = () => fetch(at(path), { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS), ...options });
  const answer = await once();
  return answer.status === 401 && await renewed() ? once() : answer;
}

// Under the public name a login lasts for ten minutes. It is renewed by the session at Keycloak, which answers with redirects that
// end here again; where that session has ended, with the form of the login, which only a page can show.
let renewing = null;

async function renew() {
  try {
    const answer = await fetch(at("oauth2/start?rd=/ops/oauth2/auth"), { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (answer.ok && answer.url === at("oauth2/auth")) return true;
    if (answer.ok || answer.status === 403) location.reload();
  } catch {
    // Keycloak is away: what is asked next is refused, and says so.
  }
  return false;
}

function renewed() {
  if (loopback) return Promise.resolve(false);
  renewing ||= renew().finally(() => { renewing = null; });
  return renewing;
}

/** A DOM element with a class and text, or children. */
export function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Path within docs/ of the runbook that an alert names by a URL, or by its path in the repository. */
export function runbook(url) {
  const name = /(?:^|\/)docs\/runbooks\/(\w+)(?:\.md|\/)?$/.exec(url || "")?.[1];
  return name ? at(`docs/runbooks/${name}/`) : "";
}

// The page itself, or one below it, as those of the docs; a dashboard of the navigation is identified by its fragment.
function isHere(path) {
  const url = new URL(path, root);
  if (url.hash) return url.pathname === location.pathname && url.hash === location.hash;
  if (url.pathname === root.pathname) return location.pathname === root.pathname;
  const named = PAGES.some(([other]) => new URL(other, root).href === location.origin + location.pathname + location.hash && other !== path);
  return location.pathname.startsWith(url.pathname) && !named;
}

function markHere(links) {
  for (const [link, path] of links) {
    if (isHere(path)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  links.find(([link]) => link.hasAttribute("aria-current"))?.[0].scrollIntoView({ block: "nearest", inline: "center" });
}

// Ends the login here, then the session at Keycloak.
function logout() {
  const then = `${LOGOUT}?${new URLSearchParams({ client_id: "cc03-ops-pages", post_logout_redirect_uri: `${location.origin}/` })}`;
  const link = element("a", "logout", "Log out");
  link.href = at(`oauth2/sign_out?${new URLSearchParams({ rd: then })}`);
  return link;
}

function navigation() {
  const links = PAGES.map(([path, name]) => {
    const link = element("a", "", name);
    link.href = at(path);
    return [link, path];
  });
  const bar = element("nav", "shell", ...links.map(([link]) => link));
  bar.setAttribute("aria-label", "Operator's pages");
  document.body.prepend(bar);
  if (!loopback) bar.append(logout());
  markHere(links);
  window.addEventListener("hashchange", () => markHere(links));
}

navigation();
if (!loopback) setInterval(() => document.hidden || renewed(), RENEW_MS);

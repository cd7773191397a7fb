// What every page of the operator has in common: the navigation, and how it asks the services. Pages are served from the root of
// the loopback listener and below /ops/ of the public name: `at` makes both the same.

const PAGES = [
  ["", "Overview"], ["dashboards/", "Dashboards"], ["alerts/", "Alerts"], ["logs/", "Logs"], ["traces/", "Traces"],
  ["dashboards/#backups", "Backups"], ["dashboards/#releases", "Releases"], ["dashboards/#certificates", "Certificates"],
  ["docs/", "Docs"],
];
const TIMEOUT_MS = 10000;

/** URL of the pages' root, with a slash at its end. */
export const root = new URL("./", import.meta.url);

/** Whether these are the pages on the host's loopback address, where administration is reachable as well. */
export const loopback = root.pathname === "/";

/** URL of a path below the pages' root, such as "prometheus/api/v1/query". */
export function at(path) {
  return new URL(path, root).href;
}

/** The response to a request below the pages' root; it throws after a timeout. */
export function ask(path, options = {}) {
  return fetch(at(path), { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS), ...options });
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

function isHere(path) {
  const url = new URL(path, root);
  if (url.pathname !== location.pathname) return false;
  const others = PAGES.some(([other]) => other !== path && new URL(other, root).href === location.origin + location.pathname + location.hash);
  return url.hash ? url.hash === location.hash : !others;
}

function markHere(links) {
  for (const [link, path] of links) {
    if (isHere(path)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  links.find(([link]) => link.hasAttribute("aria-current"))?.[0].scrollIntoView({ block: "nearest", inline: "center" });
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
  markHere(links);
  window.addEventListener("hashchange", () => markHere(links));
}

navigation();

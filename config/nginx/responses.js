// Counts responses by service, route and status, with their durations and bytes, and what each container answered, in memory that
// all workers share and that a reload keeps (responses.conf).
import fs from "fs";

const ROUTES = {
    api: "backend", probe: "backend", socket: "backend", login: "keycloak", page: "frontend", grafana: "grafana",
    ops: "nginx", pages: "nginx", redirect: "nginx", other: "nginx",
};
// What nginx and the services answer with. Any other status is counted by its class, so that no service makes series without end.
const STATUSES = [
    101, 200, 201, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 412, 413, 414, 421, 422, 428, 429,
    494, 499, 500, 502, 503, 504,
].map(String);
// Present from the start: the first response of a kind would be no increase otherwise.
const FROM_THE_START = ["200", "429", "500", "502", "503", "504"];
// Routes that users wait for. A socket lasts for hours, and the prober's slow download is slow on purpose.
const TIMED = ["api", "login", "page", "grafana"];
const SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const BUCKETS = SECONDS.map(String).concat("+Inf");

function status(value) {
    return STATUSES.includes(value) ? value : `${value[0]}xx`;
}

function countTimed(counts, r, route) {
    const seconds = Number(r.variables.request_time);
    const bucket = SECONDS.findIndex(function (bound) { return seconds <= bound; });
    counts.incr(`seconds ${route} ${bucket < 0 ? "+Inf" : BUCKETS[bucket]}`, 1, 0);
    counts.incr(`sum ${route}`, seconds, 0);
    counts.incr(`bytes ${route}`, Number(r.variables.bytes_sent), 0);
}

// Each attempt: a request that was tried at two containers has two addresses and two statuses.
function countAttempts(counts, addresses, statuses) {
    const codes = statuses.split(/, | : /);
    addresses.split(/, | : /).forEach(function (address, attempt) {
        // A name instead of an address: the client had gone before one was chosen.
        if (address.includes(":") && codes[attempt] && codes[attempt] !== "-") {
            counts.incr(`upstream ${address} ${codes[attempt][0]}xx`, 1, 0);
        }
    });
}

// The condition of an access log that is never written: nginx asks for it once, when the response has been sent.
function count(r) {
    try {
        const counts = ngx.shared.responses;
        const route = r.variables.route;
        counts.incr(`responses ${route} ${status(r.variables.status)}`, 1, 0);
        if (TIMED.includes(route)) {
            countTimed(counts, r, route);
        }
        const addresses = r.variables.upstream_addr;
        if (addresses && route !== "probe") {
            countAttempts(counts, addresses, r.variables.upstream_status || "");
        }
    } catch (problem) {
        r.error(`response not counted: ${problem}`);
    }
    return "0";
}

// Address -> name of the container. Requests for Keycloak go through a listener of nginx itself (keycloak.conf).
function containers() {
    const names = { "127.0.0.1:8083": "keycloak" };
    fs.readFileSync("/etc/hosts", "utf8").split("\n").forEach(function (line) {
        const words = line.trim().split(/\s+/);
        if (words.length > 1 && !names[words[0]]) {
            names[words[0]] = words[1];
        }
    });
    return names;
}

function family(name, type, help, lines) {
    return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

function responses(counts) {
    const keys = [];
    for (const route in ROUTES) {
        STATUSES.concat("1xx", "2xx", "3xx", "4xx", "5xx").forEach(function (one) {
            if (counts[`responses ${route} ${one}`] !== undefined || FROM_THE_START.includes(one)) {
                keys.push([route, one]);
            }
        });
    }
    return keys.map(function (key) {
        const value = counts[`responses ${key[0]} ${key[1]}`] || 0;
        return `edge_responses_total{service="${ROUTES[key[0]]}",route="${key[0]}",status="${key[1]}"} ${value}\n`;
    });
}

function durations(counts) {
    const name = "edge_response_duration_seconds";
    return TIMED.map(function (route) {
        const labels = `service="${ROUTES[route]}",route="${route}"`;
        let total = 0;
        const buckets = BUCKETS.map(function (bound) {
            total += counts[`seconds ${route} ${bound}`] || 0;
            return `${name}_bucket{${labels},le="${bound}"} ${total}\n`;
        });
        const sum = (counts[`sum ${route}`] || 0).toFixed(3);
        return `${buckets.join("")}${name}_sum{${labels}} ${sum}\n${name}_count{${labels}} ${total}\n`;
    });
}

function bytes(counts) {
    return TIMED.map(function (route) {
        return `edge_response_bytes_total{service="${ROUTES[route]}",route="${route}"} ${counts[`bytes ${route}`] || 0}\n`;
    });
}

function attempts(counts) {
    const names = containers();
    return Object.keys(counts).filter(function (key) { return key.startsWith("upstream "); }).sort().map(function (key) {
        const words = key.split(" ");
        const container = names[words[1]] || names[words[1].replace(/:\d+$/, "")] || words[1];
        const service = container.replace(/-(\d+|surge)$/, "");
        return `edge_upstream_responses_total{service="${service}",upstream="${container}",status="${words[2]}"} ${counts[key]}\n`;
    });
}

function metrics(r) {
    const counts = {};
    ngx.shared.responses.items().forEach(function (item) {
        counts[item[0]] = item[1];
    });
    r.headersOut["Content-Type"] = "text/plain; version=0.0.4";
    r.return(200, [
        family("edge_responses_total", "counter", "Responses to clients, whoever made them.", responses(counts)),
        family("edge_response_duration_seconds", "histogram", "From a request's first byte to the last one of its response.",
               durations(counts)),
        family("edge_response_bytes_total", "counter", "Sent to clients, headers included.", bytes(counts)),
        family("edge_upstream_responses_total", "counter", "What each container answered; 5xx where it was not reached, too.",
               attempts(counts)),
    ].join(""));
}

export default { count, metrics };

// Counts responses by service, route and status, in memory that all workers share and that a reload keeps (responses.conf).

const ROUTES = {
    api: "backend", probe: "backend", socket: "backend", login: "keycloak", page: "frontend", grafana: "grafana",
    ops: "nginx", redirect: "nginx", other: "nginx",
};
// What nginx and the services answer with. Any other status is counted by its class, so that no service makes series without end.
const STATUSES = [
    101, 200, 201, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 412, 413, 414, 421, 422, 428, 429,
    494, 499, 500, 502, 503, 504,
].map(String);
// Present from the start: the first response of a kind would be no increase otherwise.
const FROM_THE_START = ["200", "429", "500", "502", "503", "504"];

function status(value) {
    return STATUSES.includes(value) ? value : `${value[0]}xx`;
}

// The condition of an access log that is never written: nginx asks for it once, when the response has been sent.
function count(r) {
    try {
        ngx.shared.responses.incr(`${r.variables.route} ${status(r.variables.status)}`, 1, 0);
    } catch (problem) {
        r.error(`response not counted: ${problem}`);
    }
    return "0";
}

function metrics(r) {
    const counts = {};
    for (const route in ROUTES) {
        FROM_THE_START.forEach(function (one) {
            counts[`${route} ${one}`] = 0;
        });
    }
    ngx.shared.responses.items().forEach(function (item) {
        counts[item[0]] = item[1];
    });
    const lines = Object.keys(counts).sort().map(function (key) {
        const said = key.split(" ");
        return `edge_responses_total{service="${ROUTES[said[0]]}",route="${said[0]}",status="${said[1]}"} ${counts[key]}\n`;
    });
    r.headersOut["Content-Type"] = "text/plain; version=0.0.4";
    const help = "# HELP edge_responses_total Responses to clients, whoever made them.\n# TYPE edge_responses_total counter\n";
    r.return(200, help + lines.join(""));
}

export default { count, metrics };

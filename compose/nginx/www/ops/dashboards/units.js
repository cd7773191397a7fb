// How a value is written, by Grafana's names of units, and how an axis of it is divided.

const number = (value, digits) => value.toLocaleString("en-GB", { maximumFractionDigits: digits });
// Three significant digits: more of them nobody compares.
const digitsOf = (value) => (value === 0 ? 0 : Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))));
const plain = (value) => number(value, digitsOf(value));

function scaled(value, base, names) {
  let power = 0;
  while (Math.abs(value) >= base && power < names.length - 1) {
    value /= base;
    power += 1;
  }
  return `${plain(value)}${names[power]}`;
}

const SPANS = [[86400, "d", 86400], [3600, "h", 3600], [60, "min", 60]];

function seconds(value) {
  const size = Math.abs(value);
  if (size >= 365 * 86400) return `${number(value / (365 * 86400), 1)} y`;
  for (const [from, name, divisor] of SPANS) if (size >= from) return `${number(value / divisor, size < 10 * divisor ? 1 : 0)} ${name}`;
  if (size >= 1 || size === 0) return `${plain(value)} s`;
  return size >= 1e-3 ? `${plain(value * 1e3)} ms` : `${plain(value * 1e6)} µs`;
}

const short = (value) => scaled(value, 1000, ["", " k", " M", " G", " T"]);
const bytes = (value) => scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]);
// Two places are enough, but for what would be 0.
const percent = (value) => number(value, Math.abs(value) < 0.01 ? 7 : Math.min(2, digitsOf(value)));
const rate = (name) => (value) => `${short(value)}${name}`;

export const UNITS = {
  none: plain,
  short,
  percentunit: (value) => `${percent(value * 100)} %`,
  s: seconds,
  bytes,
  Bps: (value) => `${bytes(value)}/s`,
  reqps: rate(" req/s"),
  ops: rate(" ops/s"),
  "logs/s": rate(" lines/s"),
  bool_yes_no: (value) => (value ? "Yes" : "No"),
};

/** A value in words; a dash where there is none. */
export function format(value, unit) {
  return Number.isFinite(value) ? UNITS[unit](value) : "–";
}

const DECIMAL = Array.from({ length: 30 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** (power - 12))).flat();
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);
const TIME = [
  ...DECIMAL.filter((one) => one < 10), 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200,
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].map((days) => days * 86400),
];

/** Distances that two lines of an axis may have. */
export function increments(unit) {
  if (unit === "bytes" || unit === "Bps") return BINARY;
  return unit === "s" ? TIME : DECIMAL;
}

/** "bad", "warn", "good", or "" without thresholds. Less is worse where `warn` is greater than `bad`. */
export function grade(value, { warn, bad }) {
  if (!Number.isFinite(value) || (warn === undefined && bad === undefined)) return "";
  const over = warn > bad ? (limit) => value < limit : (limit) => value >= limit;
  if (bad !== undefined && over(bad)) return "bad";
  return warn !== undefined && over(warn) ? "warn" : "good";
}

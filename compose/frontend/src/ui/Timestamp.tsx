const UNITS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const absolute = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

export function age(then: Date, now: Date): string {
  const seconds = (then.getTime() - now.getTime()) / 1000;
  const unit = UNITS.find(([, length]) => Math.abs(seconds) >= length);
  return unit ? relative.format(Math.round(seconds / unit[1]), unit[0]) : "just now";
}

interface Props {
  readonly value: string;
  /** The date and the time themselves; by default how long ago that was. */
  readonly exact?: boolean;
}

export function Timestamp({ value, exact = false }: Props) {
  const then = new Date(value);
  const [date, ago] = [absolute.format(then), age(then, new Date())];
  return (
    <time dateTime={value} title={exact ? ago : date}>
      {exact ? date : ago}
    </time>
  );
}
